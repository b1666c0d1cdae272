"""Several runs on one home at once: loads side by side on their own days, trainings one after the other."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter

from xmkt_assets import simulate
from xmkt_assets.assets.recommenders import course_champion, course_leaderboard, product_champion, product_leaderboard
from xmkt_assets.assets.segments.clusters import person_clusters
from xmkt_assets.assets.segments.scores import ASSETS as SCORES
from xmkt_assets.automation.jobs import LOAD
from xmkt_assets.resources import prepare_home, resources
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.platform_helper import FIRST_DAY, Platform, failures, new_platform, tiny_world

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:.*is currently in beta"),
]
SETTINGS = {
    **dict.fromkeys(("XMKT_HOME", "XMKT_LANDING", "XMKT_MAX_RUNS", "DAGSTER_HOME"), ""),
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DAGSTER_EVENT_BATCH_SIZE": "0",
}


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster as `make dev` runs it on this home."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)  # put back afterwards: preparing a home sets them
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path))) as found:
        yield found


def test_two_runs_at_once_load_their_own_days_and_lose_nothing(tmp_path: Path) -> None:
    platform = new_platform(tmp_path)
    days = [FIRST_DAY, FIRST_DAY + timedelta(days=1)]
    simulate.write_days(tiny_world(), platform.landing, from_on=days[0], until_on=days[1])
    tables = ["raw.course_orders", "staging.course_orders", "raw.users", "staging.users"]
    ended: dict[str, list[str]] = {}

    def run(day: str) -> None:
        with dg.DagsterInstance.ephemeral() as own:  # an instance of its own, as a run's process has
            result = Platform(platform.home, own).run(LOAD, partition=day, only=tables, must_succeed=False)
        ended[day] = failures(result)

    runs = [threading.Thread(target=run, args=(day.isoformat(),)) for day in days]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join(120)
    assert ended == {day.isoformat(): [] for day in days}
    told = "select feed, dt, sum(rows_loaded) as n from raw.file_ledger where feed in ('users', 'course_orders')"
    ledger = {(feed, dt): n for feed, dt, n in platform.read(f"{told} group by all").rows()}
    assert {dt for _, dt in ledger} == set(days)
    for feed in ("users", "course_orders"):
        held = platform.read(f"select dt, count(*) as n from raw.{feed} group by dt").rows()
        assert {(feed, dt): n for dt, n in held} == {k: n for k, n in ledger.items() if k[0] == feed and n}
    assert platform.read("select count(*) as n from staging.course_orders").item() > 0


def test_of_two_trainings_the_second_waits_and_a_load_does_not(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def loaded() -> None: ...

    trained = [course_leaderboard, course_champion, product_leaderboard, product_champion, person_clusters, *SCORES]
    jobs = [dg.define_asset_job("load", [loaded]), *(dg.define_asset_job(a.op.name, [a]) for a in trained)]
    defs = dg.Definitions(assets=[loaded, *trained], jobs=jobs, resources=resources())
    running = instance.create_run_for_job(
        defs.resolve_job_def(course_leaderboard.op.name), status=dg.DagsterRunStatus.STARTED
    )
    waiting = [instance.create_run_for_job(defs.resolve_job_def(job.name)) for job in jobs]
    started = instance.get_run_records(dg.RunsFilter(run_ids=[running.run_id]))

    def is_blocked(run: dg.DagsterRun, in_progress: object) -> bool:
        config = instance.get_concurrency_config().pool_config
        counter = GlobalOpConcurrencyLimitsCounter(
            instance,
            waiting,
            in_progress,  # type: ignore[arg-type]
            instance.event_log_storage.get_concurrency_keys(),
            instance.event_log_storage.get_pool_limits(),
            pool_granularity=config.pool_granularity,
        )
        return counter.is_blocked(run)

    assert not any(is_blocked(run, []) for run in waiting)  # here the daemon first meets the pool
    assert [is_blocked(run, started) for run in waiting] == [False, *(True for _ in trained)]


def test_the_platforms_own_words_stand_in_the_log_of_the_run(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """What the lake says through Python's logging is shown by Dagster."""

    @dg.op
    def open_lake() -> None:
        Lake(tmp_path, threads=1, memory_limit="300MB").tables()

    @dg.job
    def looking() -> None:
        open_lake()

    result = looking.execute_in_process(instance=instance)
    said = "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))
    assert "lake opened: SQLite, data in " in said
    assert "1 threads, 286.1 MiB of memory" in said  # 300 000 000 bytes
