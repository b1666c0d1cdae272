"""Taking turns: who waits is told for whom, nobody waits for ever, and no dead process is waited for."""

import logging
import os
import random
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest

from xmkt_assets import locks
from xmkt_assets.locks import Turn, Turns, is_conflict
from xmkt_assets.warehouse import Lake, Replace, Session, WarehouseError, Whole, write_lock
from xmkt_assets_tests.lake_helper import BACKENDS, LOCAL, SHARED, new_lake, python, told

TIMEOUT_SECONDS = 120
CONFLICT = "TransactionContext Error: Transaction conflict - attempting to insert into table with index 1"


@pytest.fixture(scope="module", params=BACKENDS)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return new_lake(request.param, tmp_path_factory.mktemp("home"))


def impatient(lake: Lake, *, seconds: float = 0.3) -> Lake:
    """The same lake, for somebody who does not wait long."""
    return Lake(lake.address, threads=1, lock_wait_seconds=seconds)


HOLDER = """
import sys
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.lake_helper import of_command_line
with Lake(of_command_line(sys.argv[1]), threads=1).session() as session, session.alone("tidying up"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(lake: Lake) -> Iterator["subprocess.Popen[str]"]:
    """Another process holds the lock of the lake while the block runs."""
    holder = python(HOLDER, told(lake.address))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield holder
    holder.communicate("", timeout=TIMEOUT_SECONDS)


def test_who_waits_is_told_for_whom_then_gives_up_and_a_killed_holder_holds_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lake.replace("w.before", pl.DataFrame({"a": [1]}))
    monkeypatch.setattr(locks, "TELL_EVERY_SECONDS", 0.1)
    with held(lake) as holder:
        by = rf"{holder.pid}(@\S+)?( since \S+ UTC,)? tidying up"
        with caplog.at_level(logging.INFO, logger="xmkt_assets.locks"), pytest.raises(WarehouseError) as refusal:
            impatient(lake).replace("w.waiting", pl.DataFrame({"a": [1]}))
        assert re.search(rf"waiting 0 s for the lake's write lock, held by (process|xmkt) {by}", caplog.text)
        assert re.search(rf"was held for 0 s by (process|xmkt) {by}", str(refusal.value))
        assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d UTC", str(refusal.value))
        assert "Wait for that run to end or stop it, then run again (XMKT_LOCK_WAIT_SECONDS" in str(refusal.value)
        assert lake.read("select * from w.before").height == 1  # readers need no lock,
        assert Lake(lake.address, threads=2).read("select * from w.before").height == 1  # nor who opens the lake
        assert "w.waiting" not in lake.tables()
        holder.send_signal(signal.SIGKILL)
        holder.wait(TIMEOUT_SECONDS)
        impatient(lake, seconds=20).replace("w.after", pl.DataFrame({"a": [1]}))
    assert "w.after" in lake.tables()


def test_a_lock_is_given_back_when_its_holder_fails(lake: Lake) -> None:
    with pytest.raises(ZeroDivisionError), lake.session() as session, session.alone("dividing"):
        raise ZeroDivisionError
    with impatient(lake).session() as session, session.alone("looking"):
        pass


def test_writers_of_different_tables_share_a_postgres_catalogue_and_take_turns_on_a_file(tmp_path: Path) -> None:
    """One stands amid its transaction while the other writes: possible only where they share."""
    done = {}
    for backend in BACKENDS:
        lake = new_lake(backend, tmp_path / backend)
        lake.replace("w.other", pl.DataFrame({"a": [1]}))
        amid, may_end = threading.Event(), threading.Event()
        writer = threading.Thread(target=_write_slowly, args=(lake, amid, may_end))
        writer.start()
        assert amid.wait(TIMEOUT_SECONDS)
        try:
            impatient(lake).replace("w.other", pl.DataFrame({"a": [2]}))
            done[backend] = True
        except WarehouseError:
            done[backend] = False
        may_end.set()
        writer.join(TIMEOUT_SECONDS)
        assert lake.read("select * from w.slow")["a"].to_list() == [1]
    assert done == {LOCAL: False, SHARED: True}


def _write_slowly(lake: Lake, amid: threading.Event, may_end: threading.Event) -> None:
    def write() -> None:
        session.connection.execute("create table w.slow as select 1 as a")
        amid.set()
        may_end.wait(TIMEOUT_SECONDS)

    with lake.session() as session:
        session._transact(write, purpose="writing slowly")


# --- trying again --------------------------------------------------------------------------------------------------


class Refused:
    """A connection whose first commits fail as those of a Postgres catalogue do."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, times: int, words: str = CONFLICT) -> None:
        self._connection = connection
        self.cursor = connection.cursor
        self.left, self.words = times, words
        self.is_writing = False  # a transaction that only reads is never refused

    def execute(self, query: str, *args: object) -> duckdb.DuckDBPyConnection:
        if query == "commit" and self.is_writing and self.left:
            self.left -= 1
            self._connection.execute("rollback")
            raise duckdb.TransactionException(self.words)
        return self._connection.execute(query, *args)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses are noted and not made."""
    pauses: list[float] = []
    monkeypatch.setattr(locks.time, "sleep", pauses.append)
    return pauses


def commit_refused(lake: Lake, *, times: int, words: str = CONFLICT) -> tuple[list[object], str]:
    """The rows of a table after a commit that is refused so often, and the kind of turn each try had."""
    kinds: list[bool] = []

    class Watched(Session):
        def _turn(self, *, is_alone: bool, purpose: str):  # type: ignore[no-untyped-def]
            kinds.append(is_alone)
            self.connection.is_writing = True  # type: ignore[attr-defined]
            return super()._turn(is_alone=is_alone, purpose=purpose)

    with lake.session() as opened:
        session = Watched(opened.connection, lake.address)
        session.stage_rows("rows", pl.DataFrame({"a": [1, 2]}))
        session.connection = Refused(opened.connection, times=times, words=words)  # type: ignore[assignment]
        assert session.commit([Replace("w.refused", "rows", Whole())])[0].row_count == 2
    return lake.read("select a from w.refused order by a")["a"].to_list(), "".join("A" if k else "t" for k in kinds)


def test_a_refused_transaction_is_tried_again_with_a_word_and_at_last_alone(
    lake: Lake, quick: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="xmkt_assets.locks"):
        rows, kinds = commit_refused(lake, times=4)
    assert (rows, kinds) == ([1, 2], "tttAA")
    assert len(quick) == 4
    said = r"writing w\.refused: another writer changed the same tables; trying again in 0\.\d\d s \(try 2 of 6\)"
    assert re.search(said, caplog.text)


def test_after_the_last_turn_the_error_says_what_to_do_and_nothing_was_written(lake: Lake, quick: list[float]) -> None:
    lake.replace("w.refused", pl.DataFrame({"a": [7]}))
    said = r"writing w\.refused: refused 6 times because others write the same tables .* Nothing was written\."
    with pytest.raises(WarehouseError, match=said):
        commit_refused(lake, times=6)
    assert lake.read("select a from w.refused")["a"].to_list() == [7]
    assert len(quick) == 5


def test_an_error_that_is_no_conflict_is_raised_at_once(lake: Lake, quick: list[float]) -> None:
    with pytest.raises(duckdb.TransactionException, match="disk is full"):
        commit_refused(lake, times=1, words="disk is full")
    assert quick == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (CONFLICT, True),
        ("Failed to commit DuckLake transaction. Exceeded the maximum retry count of 10", True),
        ("ERROR:  could not serialize access due to concurrent update", True),
        ("Failed to flush changes into DuckLake: database is locked", True),
        ("Conversion Error: Could not convert string 'conflict of interest' to INT32", False),
        ("Constraint Error: NOT NULL constraint failed", False),
    ],
)
def test_only_what_another_transaction_did_is_a_conflict(words: str, expected: bool) -> None:
    assert is_conflict(duckdb.Error(words)) is expected
    assert not is_conflict(RuntimeError(words))


def test_pauses_double_up_to_a_bound_and_part_two_writers_by_chance() -> None:
    turns = [Turns("writing", chance=random.Random(seed)) for seed in (1, 2)]
    for number in range(1, 12):
        whole = min(3.0, 0.05 * 2 ** (number - 1))
        first, second = (t.pause_seconds(Turn(number, is_alone=False)) for t in turns)
        assert whole / 2 <= first <= whole
        assert whole / 2 <= second <= whole
        assert first != second


def test_the_file_of_the_lock_says_who_holds_it(tmp_path: Path) -> None:
    with write_lock(tmp_path, purpose="writing staging.orders"):
        said = (tmp_path / "write.lock").read_text(encoding="utf-8")
    assert re.fullmatch(rf"process {os.getpid()} since \S+ UTC, writing staging\.orders\n", said)
