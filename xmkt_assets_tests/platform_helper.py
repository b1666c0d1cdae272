"""A tiny platform for tests: two simulated firms of 400 people, loaded and run through Dagster in a temporary home.

`finished_platform` is made once per process and only read from; a test that changes anything makes its own with
`new_platform`. Days begin with the first partition, whatever this machine's settings say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from xmkt_assets import simulate
from xmkt_assets.automation.jobs import LOAD, PLAN, RETRAIN
from xmkt_assets.campaigns.plan import EXAMPLES
from xmkt_assets.contracts import contracts
from xmkt_assets.definitions import build_defs
from xmkt_assets.partitions import CAMPAIGNS_NAME, DAYS, range_tags
from xmkt_assets.resources import PartnerDrops, Tracking, Warehouse
from xmkt_assets.simulate import World

FIRST_DAY = date.fromisoformat(str(DAYS.get_first_partition_key()))
AS_OF = FIRST_DAY + timedelta(days=3)
LAUNCH = AS_OF + timedelta(days=1)
CAMPAIGN = "autumn_joint"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Platform:
    """One home with its definitions and a Dagster instance of its own."""

    home: Path
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @cached_property
    def resources(self) -> dict[str, Any]:
        return {
            "warehouse": Warehouse(home=str(self.home), threads=1),
            "drops": PartnerDrops(landing=str(self.landing), settle_seconds=0.0),
            "tracking": Tracking(home=str(self.home)),
        }

    @property
    def warehouse(self) -> Warehouse:
        found = self.resources["warehouse"]
        assert isinstance(found, Warehouse)
        return found

    @cached_property
    def defs(self) -> dg.Definitions:
        return build_defs(resource_overrides=self.resources)

    def read(self, query: str, **params: object) -> pl.DataFrame:
        return self.warehouse.read(query, **params)

    def run(
        self,
        job: str,
        *,
        partition: str | None = None,
        tags: Mapping[str, str] | None = None,
        only: Sequence[str] | None = None,
        config: Mapping[str, object] | None = None,
        must_succeed: bool = True,
    ) -> dg.ExecuteInProcessResult:
        """Run a job here; `only` names tables of it (``schema.table``)."""
        result = self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=partition,
            tags=tags,
            run_config={**QUIET, "ops": {k: {"config": v} for k, v in (config or {}).items()}},
            asset_selection=[dg.AssetKey(t.split(".")) for t in only] if only else None,
            raise_on_error=False,
        )
        assert result.success or not must_succeed, "\n".join(failures(result))
        return result

    def run_request(self, request: dg.RunRequest, *, job: str, only: Sequence[str] | None = None) -> dg.DagsterRun:
        """Do what the daemon does with a sensor's request: the same job, partition and tags, nothing more."""
        key = {"dagster/run_key": request.run_key} if request.run_key else {}
        result = self.run(job, partition=request.partition_key, tags={**request.tags, **key}, only=only)
        return result.dagster_run

    def deliver(self, feed: str, day: date, text: str, *, name: str = "rows.csv", partner: str = "") -> Path:
        """Write one partner file."""
        path = self.landing / (partner or contracts()[feed].partners[0]) / feed / f"dt={day.isoformat()}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What each failed step said itself."""
    said = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            if error and error.cls_name == "DagsterExecutionStepExecutionError" and error.cause:
                error = error.cause
            said.append(f"{event.step_key}: {error.message.strip() if error else 'no error recorded'}")
    return said


def checks(result: dg.ExecuteInProcessResult, table: str) -> dict[str, bool]:
    """Outcome of every asset check of a table in one run."""
    key = dg.AssetKey(table.split("."))
    return {c.check_name: c.passed for c in result.get_asset_check_evaluations() if c.asset_key == key}


def metadata(result: dg.ExecuteInProcessResult, table: str) -> list[Mapping[str, Any]]:
    """Metadata of every materialisation of a table in one run: one entry, or one per partition."""
    key = dg.AssetKey(table.split("."))
    made = [e.materialization for e in result.get_asset_materialization_events() if e.asset_key == key]
    return [{name: value.value for name, value in m.metadata.items()} for m in made]


def new_platform(home: Path) -> Platform:
    for folder in ("landing", "campaigns"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    return Platform(home)


def tiny_world() -> World:
    return simulate.build_world(people=400, days=12, start_on=FIRST_DAY)


_finished: list[Platform] = []


def finished_platform(factory: pytest.TempPathFactory) -> Platform:
    """Four days loaded in one run, models as of the fourth, one campaign list.

    Read from it only: every test of the process shares it.
    """
    if not _finished:
        platform = new_platform(factory.mktemp("platform"))
        simulate.write_days(tiny_world(), platform.landing, from_on=FIRST_DAY, until_on=AS_OF)
        write_plan(platform.home)
        platform.run(LOAD, tags=range_tags(FIRST_DAY, AS_OF))
        small = {"resamples": 20, "horizon_days": 2}
        boards = {f"recommenders__{target}_leaderboard": small for target in ("course", "product")}
        platform.run(RETRAIN, partition=AS_OF.isoformat(), config=boards)
        platform.instance.add_dynamic_partitions(CAMPAIGNS_NAME, [CAMPAIGN])
        platform.run(PLAN, partition=CAMPAIGN)
        _finished.append(platform)
    return _finished[0]


def write_plan(home: Path, *, name: str = CAMPAIGN, budget_fen: int = 300_000) -> Path:
    """The shipped example plan with the days of the tiny world."""
    text = (EXAMPLES / f"{CAMPAIGN}.yaml").read_text(encoding="utf-8")
    for found, wanted in (
        (f"id: {CAMPAIGN}", f"id: {name}"),
        ("as_of: 2026-09-28", f"as_of: {AS_OF}"),
        ("launch_on: 2026-09-29", f"launch_on: {LAUNCH}"),
        ("outcome_days: 30", "outcome_days: 5"),
        ("budget_fen: 300000", f"budget_fen: {budget_fen}"),
    ):
        assert text.count(found) == 1, f"the example plan no longer says {found!r}"
        text = text.replace(found, wanted)
    path = home / "campaigns" / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path
