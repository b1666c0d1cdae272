"""Sensors: what a change starts. New partner files → load → retrain → evaluate and publish; new plans → lists.

Each run key carries the content that asked for it: the same files never run twice, corrected ones run again.
"""

import hashlib
import json
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from xmkt_assets.automation.jobs import EVALUATE, LOAD, PLAN, RETRAIN, AssetJob
from xmkt_assets.contracts import contracts
from xmkt_assets.partitions import CAMPAIGNS, DAYS, contiguous, range_tags
from xmkt_assets.raw.arrivals import Arrivals, find_arrivals
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import LEDGER
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
        arrivals = _look(context.cursor, warehouse, drops)
        if not arrivals.due:
            context.update_cursor(json.dumps(arrivals.seen))
            return dg.SkipReason("No new or corrected partner files for a day that is over.")
        spans = contiguous(list(arrivals.due))
        return dg.SensorResult(
            [_load_request(first, last, arrivals) for first, last in spans], cursor=json.dumps(arrivals.seen)
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
        unplanned = [name for name in changed if not _has_run(context.instance, plan_tags(name, plans[name]))]
        if not unplanned:
            context.update_cursor(json.dumps(plans))
            return dg.SkipReason("Every plan has been made into a list as it stands.")
        requests = [
            dg.RunRequest(run_key=f"{name}:{plans[name]}", partition_key=name, tags=plan_tags(name, plans[name]))
            for name in unplanned
        ]
        added = [CAMPAIGNS.build_add_request(unplanned)]
        return dg.SensorResult(requests, dynamic_partitions_requests=added, cursor=json.dumps(plans))

    return new_campaign_plans


def retrain_sensor(load: AssetJob, retrain: AssetJob) -> dg.SensorDefinition:
    """Loaded days → models as of the newest day, once no other load is under way."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="retrain_after_load",
        monitored_jobs=[load],
        request_job=retrain,
        default_status=ON,
        minimum_interval_seconds=30,
    )
    def retrain_after_load(context: dg.RunStatusSensorContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
        """Retrains as of the newest loaded day; several loads in a row are followed by one retraining."""
        if _under_way(context.instance, LOAD):
            return dg.SkipReason("Another load is under way; its end will start the retraining.")
        as_of = newest_day(warehouse)
        if as_of is None:
            return dg.SkipReason("Nothing has been loaded yet.")
        return dg.RunRequest(run_key=f"retrain:{as_of}:{context.dagster_run.run_id}", partition_key=as_of.isoformat())

    return retrain_after_load


def evaluate_sensor(after: list[AssetJob], evaluate: AssetJob) -> dg.SensorDefinition:
    """New models or a new campaign list → effects and the published file anew."""

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
        if _under_way(context.instance, RETRAIN) or _under_way(context.instance, PLAN):
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
        "partition": run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start"),
        "run_id": run.run_id,
        "error": context.failure_event.message,
        "step_errors": [_step_error(event) for event in context.get_step_failure_events()],
    }
    with (Path(warehouse.home) / "alerts.jsonl").open("a", encoding="utf-8") as alerts:
        alerts.write(json.dumps(line, ensure_ascii=False) + "\n")
    context.log.error("run %s of %s failed: %s", run.run_id, run.job_name, context.failure_event.message)


def sensors(made: dict[str, AssetJob]) -> list[dg.SensorDefinition]:
    """Every sensor."""
    return [
        drop_sensor(made[LOAD]),
        plan_sensor(made[PLAN]),
        retrain_sensor(made[LOAD], made[RETRAIN]),
        evaluate_sensor([made[RETRAIN], made[PLAN]], made[EVALUATE]),
        tell_of_failures,
    ]


def newest_day(warehouse: Warehouse) -> date | None:
    """The newest day of which partner rows have been loaded, or None."""
    if LEDGER not in warehouse.lake.tables():
        return None
    found = warehouse.read(f"select max(dt) as day from {LEDGER} where rows_loaded > 0")["day"]
    return found[0] if found.len() else None


def _look(cursor: str | None, warehouse: Warehouse, drops: PartnerDrops) -> Arrivals:
    ledger = pl.DataFrame(schema={"dt": pl.Date, "source_file": pl.String, "sha256": pl.String})
    if LEDGER in warehouse.lake.tables():
        ledger = warehouse.read(f"select dt, source_file, sha256 from {LEDGER}")
    last_key = DAYS.get_last_partition_key()
    return find_arrivals(
        take_inventory(drops.folder, contracts()).files,
        ledger,
        seen=json.loads(cursor or "{}"),
        last_day=date.fromisoformat(last_key) if last_key else date.min,
        settled_before_ns=time.time_ns() - int(drops.settle_seconds * 1e9),
    )


def _load_request(first: date, last: date, arrivals: Arrivals) -> dg.RunRequest:
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    content = hashlib.sha256("".join(arrivals.due[d] for d in days).encode()).hexdigest()[:16]
    if first == last:
        return dg.RunRequest(run_key=f"{first}:{content}", partition_key=first.isoformat())
    return dg.RunRequest(run_key=f"{first}..{last}:{content}", tags=range_tags(first, last))


def _under_way(instance: dg.DagsterInstance, job: str) -> bool:
    return bool(instance.get_run_records(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1))


def _step_error(event: dg.DagsterEvent) -> str:
    """What the step said itself: the innermost cause, not Dagster's wrapping of it."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'no error recorded'}"


def plan_tags(campaign: str, content: str) -> dict[str, str]:
    """Run tag that says which plan, with which content, a run made into a list."""
    return {"xmkt/plan": f"{campaign}:{content}"}


def _has_run(instance: dg.DagsterInstance, tags: dict[str, str]) -> bool:
    return bool(instance.get_run_records(dg.RunsFilter(tags=tags), limit=1))


def content_mark(path: Path) -> str:
    """Short hash of a plan file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
