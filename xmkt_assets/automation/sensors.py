"""Sensors: what a change starts. New partner files → load → (``retraining``) → evaluate and publish; new plans → lists.

Each run key carries the content that asked for it and the run it follows: the same files never run twice, corrected
ones run again, also when they go back to an earlier content (Dagster drops a run key it has ever seen).
"""

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from xmkt_assets.automation.jobs import EVALUATE, LOAD, PLAN, RETRAIN, SCORE, AssetJob
from xmkt_assets.partitions import CAMPAIGNS, DAYS, contiguous, range_tags
from xmkt_assets.raw.arrivals import Arrivals, find_arrivals, remembered
from xmkt_assets.raw.books import LEDGER
from xmkt_assets.raw.landing import Inventory
from xmkt_assets.resources import PartnerDrops, Warehouse, campaign_plans

ON = dg.DefaultSensorStatus.RUNNING
UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def drop_sensor(load: AssetJob) -> dg.SensorDefinition:
    """New or corrected partner files → one run per stretch of days they belong to."""

    @dg.sensor(job=load, name="new_partner_drops", minimum_interval_seconds=30, default_status=ON)
    def new_partner_drops(
        context: dg.SensorEvaluationContext, warehouse: Warehouse, drops: PartnerDrops
    ) -> dg.SensorResult | dg.SkipReason:
        """Looks through the landing folder; a day whose files differ from the ledger is loaded (again)."""
        ledger = _ledger(warehouse)
        inventory = drops.inventory()
        arrivals = _look(context, ledger, inventory, settle_seconds=drops.settle_seconds)
        if not arrivals.due:
            context.update_cursor(arrivals.memory.to_text())
            return dg.SkipReason(f"No new or corrected partner files for a day that is over.{_waits(inventory)}")
        spans = contiguous(list(arrivals.due))
        return dg.SensorResult(
            [_load_request(first, last, arrivals, ledger) for first, last in spans], cursor=arrivals.memory.to_text()
        )

    return new_partner_drops


def plan_sensor(plan: AssetJob) -> dg.SensorDefinition:
    """New or changed campaign plans → their campaign list."""

    @dg.sensor(job=plan, name="new_campaign_plans", minimum_interval_seconds=30, default_status=ON)
    def new_campaign_plans(
        context: dg.SensorEvaluationContext, warehouse: Warehouse
    ) -> dg.SensorResult | dg.SkipReason:
        """A plan file `campaigns/<id>.yaml` is a campaign; a changed file is planned again."""
        plans = {p.stem: content_mark(p) for p in campaign_plans(Path(warehouse.home) / "campaigns")}
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        changed = [name for name, content in plans.items() if seen.get(name) != content]
        if not changed:
            return dg.SkipReason("No new or changed campaign plan.")
        newest = {name: _newest_plan_run(context.instance, name) for name in changed}
        unplanned = [name for name in changed if not _was_made(newest[name], plan_tags(name, plans[name]))]
        if not unplanned:
            context.update_cursor(json.dumps(plans))
            return dg.SkipReason("Every plan has been made into a list as it stands.")
        requests = [_plan_request(name, plans[name], newest[name]) for name in unplanned]
        added = [CAMPAIGNS.build_add_request(unplanned)]
        return dg.SensorResult(requests, dynamic_partitions_requests=added, cursor=json.dumps(plans))

    return new_campaign_plans


def evaluate_sensor(after: list[AssetJob], evaluate: AssetJob) -> dg.SensorDefinition:
    """New models, new scores or a new campaign list → effects and the published file anew."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="evaluate_after_change",
        monitored_jobs=after,
        request_job=evaluate,
        default_status=ON,
        minimum_interval_seconds=30,
    )
    def evaluate_after_change(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        """Evaluates every campaign again and replaces the published file."""
        if any(under_way(context.instance, job) for job in (RETRAIN, SCORE, PLAN)):
            return dg.SkipReason("Another change is under way; its end will start the evaluation.")
        return dg.RunRequest(run_key=f"{EVALUATE}:{context.dagster_run.run_id}")

    return evaluate_after_change


@dg.run_failure_sensor(name="tell_of_failures", default_status=ON, minimum_interval_seconds=30)
def tell_of_failures(context: dg.RunFailureSensorContext, warehouse: Warehouse) -> None:
    """Every failed run adds one line to `alerts.jsonl` under the home: what failed, why, where to look."""
    run = context.dagster_run
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "job": run.job_name,
        "partition": _partition(run),
        "run_id": run.run_id,
        "error": context.failure_event.message,
        "step_errors": [step_error(event) for event in context.get_step_failure_events()],
    }
    add_alert(Path(warehouse.home), line)
    context.log.error("run %s of %s failed: %s", run.run_id, run.job_name, context.failure_event.message)


def sensors(made: dict[str, AssetJob]) -> list[dg.SensorDefinition]:
    """Every sensor of files, plans, results and failures."""
    return [
        drop_sensor(made[LOAD]),
        plan_sensor(made[PLAN]),
        evaluate_sensor([made[RETRAIN], made[SCORE], made[PLAN]], made[EVALUATE]),
        tell_of_failures,
    ]


def add_alert(home: Path, line: Mapping[str, object]) -> None:
    """One more line in the file that people and their tools watch."""
    with (home / "alerts.jsonl").open("a", encoding="utf-8") as alerts:
        alerts.write(json.dumps(line, ensure_ascii=False) + "\n")


def newest_day(warehouse: Warehouse) -> date | None:
    """The newest day of which partner rows have been loaded, or None."""
    if LEDGER not in warehouse.lake.tables():
        return None
    found = warehouse.read(f"select max(dt) as day from {LEDGER} where rows_loaded > 0")["day"]
    return found[0] if found.len() else None


def _ledger(warehouse: Warehouse) -> pl.DataFrame:
    """What has been loaded, and by which run: one row per file."""
    if LEDGER not in warehouse.lake.tables():
        return pl.DataFrame(schema={"dt": pl.Date, **dict.fromkeys(("source_file", "sha256", "run_id"), pl.String)})
    return warehouse.read(f"select dt, source_file, sha256, run_id from {LEDGER}")


def _waits(inventory: Inventory) -> str:
    """The first folder that is not whole yet, in words, or nothing."""
    if not inventory.waiting:
        return ""
    _, folder, lacks = inventory.waiting[0]
    return f" Not whole yet: {len(inventory.waiting)}. The first, {folder}: {lacks}."


def _look(
    context: dg.SensorEvaluationContext, ledger: pl.DataFrame, inventory: Inventory, *, settle_seconds: float
) -> Arrivals:
    """Days that are due among the partitions there are: not before the first, not before a day is over."""
    first_day, last_key = date.fromisoformat(str(DAYS.get_first_partition_key())), DAYS.get_last_partition_key()
    files, strays, waiting = inventory
    if strays:
        context.log.warning(
            f"{len(strays)} files belong to no feed and are not loaded. The first, {strays[0].name}: {strays[0].reason}"
        )
    if early := sorted({f.dt for f in files if f.dt < first_day}):
        context.log.warning(
            f"Partner files of {len(early)} days ({early[0]} to {early[-1]}) lie before {first_day}, the first day of "
            f"this home, and are not loaded. Set XMKT_START_ON, or start_on in settings.yaml, to {early[0]}; restart."
        )
    return find_arrivals(
        [f for f in files if f.dt >= first_day],
        ledger,
        memory=remembered(context.cursor),
        waiting=[folder.dt for folder in waiting],
        last_day=date.fromisoformat(last_key) if last_key else date.min,
        now_ns=time.time_ns(),
        settle_seconds=settle_seconds,
    )


def _load_request(first: date, last: date, arrivals: Arrivals, ledger: pl.DataFrame) -> dg.RunRequest:
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    follows = ledger.filter(pl.col("dt").is_in(days))["run_id"].unique().sort()
    content = _mark("".join([*(arrivals.due[d] for d in days), *follows]).encode())
    if first == last:
        return dg.RunRequest(run_key=f"{first}:{content}", partition_key=first.isoformat())
    return dg.RunRequest(run_key=f"{first}..{last}:{content}", tags=range_tags(first, last))


def under_way(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run of the job is queued, starts or runs."""
    return bool(instance.get_run_records(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1))


def step_error(event: dg.DagsterEvent) -> str:
    """What the step said itself: without Dagster's wrapping, and not the bare error behind a message for people."""
    error = event.step_failure_data.error
    if error is not None and error.cls_name == "DagsterExecutionStepExecutionError" and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'no error recorded'}"


def plan_tags(campaign: str, content: str) -> dict[str, str]:
    """Run tag that says which plan, with which content, a run made into a list."""
    return {"xmkt/plan": f"{campaign}:{content}"}


def content_mark(path: Path) -> str:
    """Short hash of a plan file's content."""
    return _mark(path.read_bytes())


def _newest_plan_run(instance: dg.DagsterInstance, campaign: str) -> dg.DagsterRun | None:
    found = instance.get_runs(dg.RunsFilter(job_name=PLAN, tags={"dagster/partition": campaign}), limit=1)
    return found[0] if found else None


def _was_made(newest: dg.DagsterRun | None, tags: dict[str, str]) -> bool:
    return newest is not None and tags.items() <= newest.tags.items()


def _plan_request(name: str, content: str, newest: dg.DagsterRun | None) -> dg.RunRequest:
    follows = newest.run_id if newest else "first"
    return dg.RunRequest(run_key=f"{name}:{content}:{follows}", partition_key=name, tags=plan_tags(name, content))


def _partition(run: dg.DagsterRun) -> str | None:
    """The partition of a run in words: a key, a range of days, or None."""
    first, last = (run.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return run.tags.get("dagster/partition") or (f"{first}..{last}" if first else None)


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
