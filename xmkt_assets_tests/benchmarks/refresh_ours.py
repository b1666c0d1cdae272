"""Our side of ``refresh_dbt``: the ten models as Dagster assets on a lake with Dagster's persistent SQLite storage.

As a process (``python -m … refresh_ours HOME``): gets ready, then reads days from its input and prints seconds, and
those of a processor. One day: that day's partition of all models is refreshed in one Dagster run. Two: every day from
the first to the second of the event tables. The instance is the platform's own, ``dagster.yaml`` with the event log on
disk, not an ephemeral one.
"""

import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

import dagster as dg

from xmkt_assets.partitions import DAYS, range_tags
from xmkt_assets.resources import Warehouse, prepare_home
from xmkt_assets.sql_assets import Catalogue, sql_asset
from xmkt_assets.sql_models import SqlModel, load_models

MODELS: Final = Path(__file__).parent / "refresh_models"
RAW_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "raw.courses": ("course_id", "topic"),
    "raw.course_views": ("view_id", "person_id", "course_id", "viewed_at", "dwell_seconds", "source", "dt"),
    "raw.course_orders": ("order_line_id", "person_id", "course_id", "ordered_at", "paid_fen", "status", "dt"),
    "raw.product_views": ("view_id", "person_id", "product_id", "viewed_at", "dwell_seconds", "dt"),
}
_JOB: Final = "refresh"
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def models() -> dict[str, SqlModel]:
    return load_models(MODELS)


def definitions(home: Path) -> dg.Definitions:
    found = models()
    partitions: dict[str, dg.PartitionsDefinition[str] | None] = dict.fromkeys((*found, *RAW_COLUMNS), DAYS)
    partitions["raw.courses"] = None
    columns = {**RAW_COLUMNS, **{table: tuple(c.name for c in m.columns) for table, m in found.items()}}
    snapshots = frozenset(table for table, m in found.items() if m.is_snapshot)
    catalogue = Catalogue(partitions=partitions, snapshots=snapshots, columns=columns, empty={})
    raw = [dg.AssetSpec(table.split("."), partitions_def=partitions[table]) for table in RAW_COLUMNS]
    made = [sql_asset(model, catalogue) for model in found.values()]
    job = dg.define_asset_job(_JOB, selection=dg.AssetSelection.assets(*made), executor_def=dg.in_process_executor)
    return dg.Definitions(assets=[*raw, *made], jobs=[job], resources={"warehouse": Warehouse(home=str(home))})


class Refresher:
    """Definitions and instance of one home, ready to run."""

    def __init__(self, home: Path) -> None:
        prepare_home(home)
        self._job = definitions(home).resolve_job_def(_JOB)
        self._instance = dg.DagsterInstance.get()

    def refresh(self, day: date) -> None:
        """One run over the day's partition of every model."""
        self._run(partition_key=day.isoformat())

    def build_history(self, first: date, last: date) -> None:
        """One run over every day of the event tables. Snapshots describe the end of one day: `refresh`."""
        events = [dg.AssetKey(table.split(".")) for table, m in models().items() if not m.is_snapshot]
        self._run(tags=range_tags(first, last), asset_selection=events)

    def _run(self, **what: object) -> None:
        result = self._job.execute_in_process(instance=self._instance, run_config=_QUIET, **what)  # type: ignore[arg-type]
        assert result.success


if __name__ == "__main__":
    refresher = Refresher(Path(sys.argv[1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        days = [date.fromisoformat(day) for day in line.split()]
        started, used = time.perf_counter(), time.process_time()
        if len(days) == 1:
            refresher.refresh(days[0])
        else:
            refresher.build_history(days[0], days[1])
        sys.stdout.write(f"{time.perf_counter() - started} {time.process_time() - used}\n")
        sys.stdout.flush()
