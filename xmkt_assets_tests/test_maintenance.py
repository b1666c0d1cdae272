"""Maintenance keeps what anybody refers to, removes the rest, and nobody who reads notices it."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmkt_assets.assets.maintenance import lake_maintenance
from xmkt_assets.automation.jobs import MAINTAIN
from xmkt_assets.campaigns.tables import LIST_RUNS
from xmkt_assets.definitions import build_defs
from xmkt_assets.erasure.lake import purge
from xmkt_assets.maintenance import Maintained, Pin, Policy, find_pins, in_words, maintain, pins_frame
from xmkt_assets.published import publish
from xmkt_assets.resources import Warehouse
from xmkt_assets.snapshots import SnapshotError, read_as_of
from xmkt_assets.warehouse import Days, Delete, Lake, Replace, Update

DAY = date(2026, 7, 1)
NOW = datetime.now(UTC).replace(tzinfo=None)
LATER = NOW + timedelta(days=40)  # everything written by these tests is older than the retention then
AT_ONCE = Policy(keep_days=30, grace_hours=0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, threads=1)


def write(lake: Lake, day: int, value: int, *, table: str = "staging.orders", rows: int = 20) -> int:
    """Replace one day of a table; returns the snapshot id. Fewer than 10 rows stay in the catalogue, inlined."""
    on = DAY + timedelta(days=day)
    with lake.session() as session:
        session.stage_rows("staged", pl.DataFrame({"day": [on] * rows, "k": range(rows), "v": [value] * rows}))
        return session.commit([Replace(table, "staged", Days("day", on, on + timedelta(days=1)))])[0].snapshot_id


def states(lake: Lake, ids: Sequence[int], *, table: str = "staging.orders") -> dict[int, list[tuple[object, ...]]]:
    query = f"select * from {table} at (version => {{}}) order by all"
    return {i: lake.read(query.format(i)).rows() for i in ids}


def data_files(lake: Lake) -> set[Path]:
    return set(lake.root.glob("data/**/*.parquet"))


def clean(lake: Lake, *pins: int, policy: Policy = AT_ONCE, now: datetime = LATER, dry: bool = False) -> Maintained:
    named = [Pin(i, "model", f"model of {i}") for i in pins]
    return maintain(lake, policy, pins=named, now=now, is_dry_run=dry)


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pinned_snapshots_and_the_newest_stay_readable_and_the_others_go(lake: Lake) -> None:
    ids = [write(lake, day, value) for value in range(3) for day in range(3)]
    before = states(lake, ids)
    done = clean(lake, ids[1], ids[3])
    kept = [ids[1], ids[3], ids[8]]
    assert states(lake, kept) == {i: before[i] for i in kept}
    assert set(done.expired) == {0, *ids} - set(kept)
    assert {ids[1], ids[3]} <= done.kept
    assert done.pins_gone == []
    for gone in done.expired:
        with pytest.raises(SnapshotError, match="maintenance has expired it"):
            read_as_of(lake, "from staging.orders", gone)
    # Of nine files those stay that were there at ids[1] (days 1, 2), ids[3] (a new day 1, and day 3) or are there now.
    assert len(data_files(lake)) == 7
    assert done.after.snapshots < done.before.snapshots


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("histories"), threads=1)


STEPS = st.sampled_from(["few", "many", "many", "delete", "update", "maintain"])


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=4, max_size=7), pinned=st.sets(st.integers(0, 8)), number=st.integers(0, 2**40))
def test_whatever_the_history_every_kept_snapshot_holds_the_same_rows_after_maintenance(
    shared: Lake, steps: list[str], pinned: set[int], number: int
) -> None:
    table = f"staging.t{number}"
    before: dict[int, list[tuple[object, ...]]] = {}
    pins: set[int] = set()
    for place, step in enumerate(["many", *steps]):
        with shared.session() as session:
            if step in ("few", "many"):
                write(shared, place % 3, place, table=table, rows=5 if step == "few" else 15)
            elif step == "delete":
                session.commit([Delete(table, f"k % 4 = {place % 4}")])
            elif step == "update":
                session.commit([Update(table, {"v": "v + 1"}, f"k % 3 = {place % 3}")])
            else:
                clean(shared, *pins)
            newest = session.snapshot_id()
        pins |= {newest} if place in pinned else set()
        before |= states(shared, [newest], table=table)
    done = clean(shared, *pins)
    assert pins <= done.kept
    wanted = {i: rows for i, rows in before.items() if i in done.kept}
    assert wanted.keys() >= pins | {newest}
    assert states(shared, sorted(wanted), table=table) == wanted


def test_the_state_at_the_first_moment_of_the_retention_stays_readable(lake: Lake) -> None:
    first, second, third = (write(lake, 0, value) for value in (1, 2, 3))
    at = {
        i: lake.read(
            f"select snapshot_time at time zone 'UTC' from ducklake_snapshots('lake') where snapshot_id = {i}"
        ).item()
        for i in (second, third)
    }
    begins = at[second] + (at[third] - at[second]) / 2
    done = clean(lake, now=begins + timedelta(days=30))
    assert set(done.expired) == {0, first}
    assert read_as_of(lake, "select max(v) from staging.orders", begins).item() == 2


def test_young_snapshots_are_all_kept(lake: Lake) -> None:
    ids = [write(lake, 0, value) for value in range(3)]
    assert clean(lake, now=NOW + timedelta(days=29)).expired == ()
    assert len(states(lake, ids)) == 3


def test_a_dry_run_changes_nothing_and_says_what_would_go(lake: Lake) -> None:
    ids = [write(lake, 0, value) for value in range(3)]
    files = data_files(lake)
    done = clean(lake, ids[0], dry=True)
    assert done.expired == (0, ids[1])
    assert "would have expired 2 snapshots" in in_words(done)
    assert (data_files(lake), len(states(lake, ids)), done.after) == (files, 3, done.before)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_small_neighbours_become_one_file_and_older_snapshots_read_their_part(lake: Lake) -> None:
    def add(group: int) -> int:
        rows = pl.DataFrame({"g": [group] * 50, "k": range(50)})
        return lake.replace("staging.groups", rows, where={"g": group}).snapshot_id

    ids = [add(group) for group in range(6)]
    before = states(lake, ids, table="staging.groups")
    done = clean(lake, *ids)
    assert (done.before.files, done.after.files, done.files_merged) == (6, 1, 6)
    assert states(lake, ids, table="staging.groups") == before
    assert clean(lake, *ids).files_merged == 0, "a second time finds nothing to do"


def test_older_snapshots_keep_values_that_newer_ones_no_longer_have(lake: Lake) -> None:
    """Statistics must stay as wide as the oldest kept snapshot: rewriting files would narrow them."""
    first = write(lake, 0, 0)
    write(lake, 0, 5)
    with lake.session() as session:
        session.commit([Delete("staging.orders", "k < 18")])
    clean(lake, first)
    grouped = "select v, min(k) as k, count(*) as n from staging.orders group by v order by v"
    assert read_as_of(lake, grouped, first).rows() == [(0, 0, 20)]
    assert read_as_of(lake, "from staging.orders where k = 0", first).height == 1
    assert lake.read(grouped).rows() == [(5, 18, 2)]


def test_files_that_nothing_needs_go_only_after_the_grace_time(lake: Lake) -> None:
    for value in range(3):
        write(lake, 0, value)
    files = data_files(lake)
    patient = Policy(keep_days=0, grace_hours=24)
    done = clean(lake, policy=patient, now=NOW + timedelta(hours=1))
    assert done.expired
    assert done.files_removed == 0
    for hours in (6, 12, 18, 23):
        assert clean(lake, policy=patient, now=NOW + timedelta(hours=hours)).files_removed == 0
    assert data_files(lake) >= files
    assert clean(lake, policy=patient, now=NOW + timedelta(hours=49)).files_removed == 2


def test_the_file_of_a_killed_load_goes_after_the_grace_time_and_no_other(lake: Lake) -> None:
    write(lake, 0, 1)
    orphan = lake.root / "data" / "staging" / "orders" / "ducklake-killed.parquet"
    orphan.write_bytes(b"half a file")
    committed = data_files(lake) - {orphan}
    patient = Policy(grace_hours=24)
    assert clean(lake, policy=patient, now=NOW).orphans_removed == 0
    assert clean(lake, policy=patient, now=NOW + timedelta(hours=25)).orphans_removed == 1
    assert data_files(lake) == committed


# ── beside others ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reader_in_the_middle_of_a_transaction_reads_on_and_new_ones_never_fail(lake: Lake) -> None:
    for value in range(4):
        write(lake, value % 2, value)
    wrong: list[object] = []
    over = threading.Event()

    def keep_reading() -> None:
        while not over.is_set():
            try:
                rows = lake.read("select count(*), sum(v) from staging.orders").row(0)
                wrong.extend([rows] if rows != (40, 100) else [])
            except duckdb.Error as error:
                wrong.append(error)

    reader = threading.Thread(target=keep_reading)
    with lake.session() as session:
        session.connection.execute("begin transaction")
        count = "select count(*), sum(v) from staging.orders"
        before = session.connection.execute(count).fetchall()
        reader.start()
        clean(lake, policy=Policy(keep_days=0, grace_hours=24), now=NOW + timedelta(hours=1))
        write(lake, 1, 3)
        over.set()
        reader.join()
        assert session.connection.execute(count).fetchall() == before == [(40, 100)]
        session.connection.execute("rollback")
    assert wrong == []


def test_an_erasure_goes_before_every_pin(lake: Lake) -> None:
    first = write(lake, 0, 1)
    with lake.session() as session:
        session.commit([Delete("staging.orders", "k = 7")])
    purged = purge(lake, [])
    lake.replace(
        "staging.erasures", pl.DataFrame({"erased_at": [NOW], "first_readable_snapshot": [purged.first_readable]})
    )
    done = clean(lake, first)
    assert [pin.snapshot_id for pin in done.pins_gone] == [first]
    with pytest.raises(SnapshotError, match="an erasure at"):
        read_as_of(lake, "from staging.orders", first)
    held = [row for path in data_files(lake) for row in pl.read_parquet(path).rows() if row[1] == 7]
    assert held == []


# ── who refers to what ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with two versions and two runs, without the seconds MLflow needs."""

    class Registered:
        def __init__(self, _: Path) -> None: ...

        def versions(self) -> Iterator[object]:
            yield SimpleNamespace(name="course_recommender", version="3", tags={"warehouse_snapshot": "1"})
            yield SimpleNamespace(name="claim_risk", version="1", tags={})

        def runs_since(self, at: datetime) -> Iterator[object]:
            assert at == NOW - timedelta(days=90)
            tags = SimpleNamespace(tags={"warehouse_snapshot": "2"})
            yield SimpleNamespace(info=SimpleNamespace(run_name="course leaderboard"), data=tags)

    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").touch()
    monkeypatch.setattr("xmkt_assets.tracking.Tracker", Registered)


@pytest.mark.usefixtures("no_mlflow")
def test_models_runs_lists_evaluations_and_the_published_file_pin_their_snapshots(lake: Lake) -> None:
    write(lake, 0, 1)
    write(lake, 0, 2)
    made = pl.DataFrame({"campaign_id": ["autumn"], "snapshot_read": [1]})
    listed = lake.replace(LIST_RUNS, made).snapshot_id
    results = pl.DataFrame({"lift": [0.1]})
    lake.replace("evaluation.experiment_results", results, read_snapshot_id=1)
    evaluated = lake.replace("evaluation.experiment_results", results, read_snapshot_id=2).snapshot_id
    published = publish(lake.address, lake.home / "published" / "xmkt.duckdb").snapshot_id
    with lake.session() as session:
        pins = find_pins(session.connection, lake.home, now=NOW)
    assert pins == sorted(
        [
            Pin(1, "model", "course_recommender 3"),
            Pin(2, "run", "course leaderboard"),
            Pin(1, "campaign list", "autumn"),
            Pin(listed, "campaign list", "autumn"),
            Pin(2, "evaluation", "evaluation.experiment_results"),
            Pin(evaluated, "evaluation", "evaluation.experiment_results"),
            Pin(published, "published file", "xmkt.duckdb"),
        ]
    )
    shown = pins_frame(pins, kept=[2, evaluated])
    assert shown.filter(pl.col("snapshot_id") == 1)["is_kept"].to_list() == [False, False]
    assert shown["kind"].n_unique() == 5


def test_a_lake_without_lists_models_or_files_has_no_pins(lake: Lake) -> None:
    write(lake, 0, 1)
    with lake.session() as session:
        assert find_pins(session.connection, lake.home, now=NOW) == []


def test_a_negative_retention_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted numbers of at least 0"):
        Policy(keep_days=-1)


def test_the_nightly_job_tidies_up_and_shows_before_and_after_and_why_snapshots_stay(lake: Lake) -> None:
    for value in range(3):
        write(lake, 0, value)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [lake_maintenance],
            instance=instance,
            resources={"warehouse": Warehouse(home=str(lake.home), threads=1)},
            run_config={"ops": {"lake__maintenance": {"config": {"keep_days": 0, "grace_hours": 0}}}},
        )
    (made,) = result.asset_materializations_for_node("lake__maintenance")
    shown = {name: value.value for name, value in made.metadata.items()}
    assert str(shown["what_was_done"]).startswith("Maintenance expired 3 snapshots")
    assert shown["expired"] == "0-2"
    assert "| snapshots | 4 | 1 |" in str(shown["before_and_after"])
    assert lake.read("select max(v) from staging.orders").item() == 2


def test_maintenance_is_scheduled_every_night() -> None:
    defs = build_defs()
    schedule = defs.resolve_schedule_def("tidy_up_every_night")
    assert schedule.job_name == MAINTAIN
    assert schedule.cron_schedule == "30 4 * * *"
    assert defs.resolve_job_def(MAINTAIN).asset_layer.executable_asset_keys == {dg.AssetKey(["lake", "maintenance"])}
