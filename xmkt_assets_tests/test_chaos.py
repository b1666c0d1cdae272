"""kill -9 during a load, twice; proof that the looking would notice half a load. ``make chaos`` kills thirty times."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from xmkt_assets.raw.books import LEDGER_SCHEMA, QUARANTINE_SCHEMA
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.chaos.kills import run_chaos
from xmkt_assets_tests.chaos.looking import Look, look, mixed, orphans

DAY = date(2026, 7, 1)


def test_a_killed_load_leaves_nothing_half_and_the_next_one_makes_it_whole(tmp_path: Path) -> None:
    *_, found = run_chaos(tmp_path, kills=2, people=100, seed=7, way="models")
    for kill in found.kills:
        assert kill.differing == ()
        assert kill.halves == ()
        assert kill.looks > 0
        assert kill.failed_looks == ()
    assert found.rows > 100
    assert not all(kill.had_ended for kill in found.kills)


def put(lake: Lake, keys: Sequence[str], *, told: int, at: datetime = datetime(2026, 7, 2)) -> None:
    """Rows of course_views on one day, and a ledger that tells of `told` rows."""
    rows = pl.DataFrame({"dt": [DAY] * len(keys), "view_id": list(keys), "loaded_at": [at] * len(keys)})
    lake.replace("raw.course_views", rows, where={"dt": DAY})
    line = {"feed": "course_views", "dt": DAY, "rows_loaded": told, "run_id": str(at), "loaded_at": at}
    lake.replace("raw.file_ledger", pl.DataFrame([line], schema=LEDGER_SCHEMA), where={"dt": DAY})


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with every watched table, two rows of one day in one of them."""
    found = Lake(tmp_path_factory.mktemp("home"), threads=1)
    feeds = {f"raw.{feed}": {"dt": pl.Date} for feed in ("users", "consents", "course_orders", "product_views")}
    staging = {"staging.users": "user_id", "staging.consents": "decided_on", "staging.course_views": "viewed_on"}
    staging |= {"staging.course_orders": "ordered_on", "staging.product_views": "viewed_on"}
    empty = {**feeds, "raw.quarantine": QUARANTINE_SCHEMA, **{t: {c: pl.Date} for t, c in staging.items()}}
    for table, schema in empty.items():
        found.replace(table, pl.DataFrame(schema=schema))
    return found


def seen_after(lake: Lake, keys: Sequence[str], *, told: int) -> list[str]:
    """What a reader complains of, for whom the old rows are a and b, the new ones b and c."""
    put(lake, ["a", "b"], told=2)
    old = look(lake.home)
    put(lake, ["c", "b"], told=2)
    new = look(lake.home)
    put(lake, keys, told=told)
    return mixed(look(lake.home), old=old.states, new=new.states)


@pytest.mark.parametrize("keys", [["a", "b"], ["b", "a"], ["b", "c"]])
def test_a_reader_takes_the_old_rows_or_the_new_ones_in_any_order(lake: Lake, keys: list[str]) -> None:
    assert seen_after(lake, keys, told=2) == []


@pytest.mark.parametrize("keys", [["a", "c"], ["b", "b"], ["a", "d"]])
def test_a_reader_notices_as_many_rows_that_are_others(lake: Lake, keys: list[str]) -> None:
    (complaint,) = seen_after(lake, keys, told=2)
    assert complaint == "raw.course_views 2026-07-01: 2 rows, neither the old nor the new ones"


def test_a_reader_notices_rows_without_their_ledger(lake: Lake) -> None:
    assert "course_views 2026-07-01: the ledger says 2 rows, the table holds 3" in seen_after(lake, "bcd", told=2)


def test_a_part_that_vanished_is_noticed(lake: Lake) -> None:
    put(lake, ["a", "b"], told=2)
    old: Look = look(lake.home)
    gone = {**old.states, "raw.course_views": {}}
    assert mixed(old._replace(states=gone), old=old.states, new=old.states) == [
        "raw.course_views 2026-07-01: 0 rows, neither the old nor the new ones"
    ]


def test_when_a_row_was_loaded_is_no_difference(lake: Lake) -> None:
    put(lake, ["a", "b"], told=2)
    before = look(lake.home)
    put(lake, ["a", "b"], told=2, at=datetime(2026, 7, 3))
    after = look(lake.home)
    assert (after.states, after.snapshot_id > before.snapshot_id) == (before.states, True)


def test_a_data_file_the_catalog_does_not_know_is_an_orphan(lake: Lake) -> None:
    many = pl.DataFrame({"dt": [DAY] * 5000})  # few rows lie in the catalog itself, in no file
    lake.replace("raw.users", many)
    assert orphans(lake.home) == []
    known = next((lake.root / "data").rglob("*.parquet"))
    stray = known.with_name("ducklake-stray.parquet")
    stray.write_bytes(known.read_bytes())
    assert orphans(lake.home) == [stray]
