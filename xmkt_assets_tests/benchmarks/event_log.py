"""A long range of days through Dagster with our event log beside the stock one, assets that do nothing."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import dagster as dg

from xmkt_assets.partitions import range_tags
from xmkt_assets_tests.benchmarks.measure import Comparison, seconds_of, take_turns

SIZES: Final = {"days": 120, "assets": 5}
FIRST: Final = date(2026, 1, 1)
OURS: Final = {"module": "xmkt_assets.event_log", "class": "BatchingSqliteEventLogStorage"}
STOCK: Final = {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"}
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    def work(days: int, storage: Mapping[str, str], batch_size: int) -> None:
        with tempfile.TemporaryDirectory() as folder, _batches_of(batch_size), _instance(Path(folder), storage) as home:
            tags = range_tags(FIRST, FIRST + timedelta(days=days - 1))
            assert job.execute_in_process(instance=home, run_config=_QUIET, tags=tags).success
            seen = [home.get_materialized_partitions(key) for key in job.asset_layer.executable_asset_keys]
            assert [len(found) for found in seen] == [days] * sizes["assets"]

    job = _job(sizes["assets"])
    for storage, batch_size in ((OURS, 1000), (STOCK, 0)):
        work(1, storage, batch_size)  # the first run of a process pays for imports
    turns = 1 + repeats // 3  # a turn of the stock log takes as long as all others together
    seconds = take_turns(
        seconds_of(lambda: work(sizes["days"], OURS, 1000)),
        seconds_of(lambda: work(sizes["days"], STOCK, 0)),
        repeats=turns,
        warm_up=False,
    )
    what = f"{sizes['assets']} assets × {sizes['days']} days in one run"
    return [Comparison(what, "stock log as shipped", *seconds, note=f"{turns} turns")]


def _job(count: int) -> dg.JobDefinition:
    days = dg.DailyPartitionsDefinition(start_date=FIRST.isoformat())
    names = [f"asset_{i}" for i in range(count)]

    def nothing(name: str, before: list[str]) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=before, partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
        def asset() -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata={"dagster/row_count": 1})

        return asset

    assets = [nothing(name, names[max(i - 1, 0) : i]) for i, name in enumerate(names)]
    job = dg.define_asset_job("benchmark", selection=names, executor_def=dg.in_process_executor)
    return dg.Definitions(assets=assets, jobs=[job]).resolve_job_def("benchmark")


@contextmanager
def _instance(folder: Path, storage: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    lines = [f"  {name}: {value}" for name, value in storage.items()]
    settings = [
        "telemetry:",
        "  enabled: false",
        "event_log_storage:",
        *lines,
        "  config:",
        f"    base_dir: {folder}/runs",
    ]
    (folder / "dagster.yaml").write_text("\n".join(settings) + "\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


@contextmanager
def _batches_of(size: int) -> Iterator[None]:
    before = os.environ.get("DAGSTER_EVENT_BATCH_SIZE")
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = str(size)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DAGSTER_EVENT_BATCH_SIZE"]
        else:
            os.environ["DAGSTER_EVENT_BATCH_SIZE"] = before
