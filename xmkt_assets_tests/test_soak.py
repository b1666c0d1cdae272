"""Seconds of the soak, and proof that it would notice what must not be. ``make soak`` goes on for three minutes."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from xmkt_assets.warehouse import Lake, Session
from xmkt_assets_tests.chaos.soak import History, look_back, report, run_soak
from xmkt_assets_tests.chaos.soak_reader import Looking
from xmkt_assets_tests.chaos.soak_scene import (
    DAYS_PER_WRITER,
    FIRST,
    STATE_SQL,
    Batch,
    State,
    days_of,
    judge,
    went_back,
    write_batch,
)
from xmkt_assets_tests.chaos.soak_writer import Note, is_in_commit, read_log, write_on

DAYS = days_of(1)
ALL = [Batch(0, number) for number in range(DAYS_PER_WRITER)]


def test_readers_see_whole_batches_only_while_writers_are_killed(tmp_path: Path) -> None:
    found = run_soak(tmp_path, seconds=4.0, writers=2, readers=2, kills=1, seed=7)
    assert report(found)[5:] == ["sound"]
    assert len(found.kills) == 3  # and both writers at the end
    assert found.history.acknowledged >= 2 * DAYS_PER_WRITER
    assert len(found.reading.seconds) > 0


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The first batches of one writer; tests that need others write them on top."""
    lake = Lake(tmp_path_factory.mktemp("home"), threads=1)
    with lake.session() as session:
        for batch in ALL:
            write_batch(session, batch)
    return lake


def seen(session: Session) -> tuple[State, list[str]]:
    return judge(session.connection.execute(STATE_SQL.format(at="")).fetchall(), days=DAYS)


def test_the_first_batches_of_a_writer_make_each_of_its_days_once(lake: Lake) -> None:
    with lake.session() as session:
        assert seen(session) == ({batch.held_on: batch for batch in ALL}, [])
    assert [batch.held_on for batch in ALL] == DAYS
    assert {Batch(1, number).held_on for number in range(200)} == set(days_of(2)) - set(DAYS)


@pytest.mark.parametrize(
    "harm",
    [
        "delete from soak.lines where held_on = '{day}' and line = 0",
        "delete from soak.lines where held_on = '{day}'",
        "delete from soak.totals where held_on = '{day}'",
        "insert into soak.totals select * from soak.totals where held_on = '{day}'",
        "insert into soak.lines select * from soak.lines where held_on = '{day}' and line = 0",
        "update soak.lines set number = 99 where held_on = '{day}' and line = 0",
        "update soak.lines set number = 99 where held_on = '{day}'",
        "update soak.totals set number = 99 where held_on = '{day}'",
        "update soak.lines set amount_fen = amount_fen + 1 where held_on = '{day}' and line = 0",
        "delete from soak.lines where held_on = '{day}'; delete from soak.totals where held_on = '{day}'",
    ],
)
def test_half_a_batch_is_noticed_whichever_half(lake: Lake, harm: str) -> None:
    with lake.session() as session:
        session.connection.execute("begin transaction")
        session.connection.execute(harm.format(day=DAYS[1]))
        _, complaints = seen(session)
        session.connection.execute("rollback")
        assert seen(session)[1] == []
    assert complaints
    assert all(str(DAYS[1]) in complaint for complaint in complaints)


def test_an_earlier_batch_seen_after_a_later_one_is_noticed() -> None:
    assert went_back({FIRST: Batch(0, 4)}, {FIRST: Batch(0, 5)}) == []
    assert went_back({FIRST: Batch(0, 5)}, {FIRST: Batch(0, 4)}) == [
        f"{FIRST}: {Batch(0, 4)} after {Batch(0, 5)} was seen"
    ]


def test_a_reader_notices_two_states_within_one_transaction(lake: Lake) -> None:
    class TwoFaced:
        """A connection that commits half a batch between the two questions of one look."""

        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self._connection, self._asked = connection, 0

        def execute(self, query: str) -> Any:
            self._asked += query == STATE_SQL.format(at="")
            if self._asked == 2:
                return self._connection.execute(f"{STATE_SQL.format(at='')} limit 1")
            return self._connection.execute(query)

    looking = Looking(1)
    with lake.session() as session:
        looking.look(session.connection)
        assert looking.inconsistent == []
        looking.look(TwoFaced(session.connection))  # type: ignore[arg-type]
    assert looking.inconsistent == ["one transaction saw two states"]


# ── what is found afterwards ─────────────────────────────────────────────────────────────────────────────────────────


def wrote(lake: Lake, *batches: Batch) -> list[Note]:
    """Write batches; what their writer notes."""
    with lake.session() as session:
        return [Note(batch, write_batch(session, batch), 0.1) for batch in batches]


def test_what_the_snapshots_say_is_compared_with_what_writers_noted(tmp_path: Path) -> None:
    lake = Lake(tmp_path, threads=1)
    begun = wrote(lake, *ALL)
    first = lake.snapshot_id()
    later, unsaid = wrote(lake, Batch(0, 10), Batch(0, 11)), wrote(lake, Batch(0, 12))

    def looked(*notes: Note) -> History:
        return look_back(tmp_path, [*begun, *notes], first=first, days=DAYS)

    silent = [Note(unsaid[0].batch, None, None), Note(Batch(0, 13), None, None)]
    found = looked(*later, *silent)
    assert (found.snapshots, found.acknowledged, found.survived, found.lost, found.broken) == (4, 5, 1, 1, ())
    assert looked(*later).broken == (f"{unsaid[0].batch} is there and nobody meant to write it",)
    wrong = later[1]._replace(snapshot_id=first)
    assert looked(later[0], wrong, *silent).broken == (
        f"{wrong.batch} was acknowledged as snapshot {first}, which shows another",
    )
    with lake.session() as session:  # a commit of another kind than a batch's
        session.connection.execute(f"delete from soak.totals where held_on = '{DAYS[0]}'")
    broken = looked(*later, *silent).broken
    assert any("0 days changed at once" in said for said in broken)
    assert any(f"{DAYS[0]}: " in said and "wanted" in said for said in broken)


def test_a_log_says_what_was_meant_and_what_was_done_and_a_line_cut_off_says_nothing(tmp_path: Path) -> None:
    log = tmp_path / "writer-0.log"
    write_on(tmp_path, 0, log, until=2)
    done = read_log(log, writer=0)
    assert [(note.batch, (note.seconds or 0) > 0) for note in done] == [(ALL[0], True), (ALL[1], True)]
    assert not is_in_commit(log)
    with log.open("a", encoding="utf-8") as lines:
        lines.write("\nintent 2\n")
    assert is_in_commit(log)
    with log.open("a", encoding="utf-8") as lines:
        lines.write("ack 2 9")
    assert read_log(log, writer=0) == [*done, Note(ALL[2], None, None)]
    write_on(tmp_path, 0, log, until=4)  # a writer goes on behind what was meant, and ends the line that was cut off
    assert [note.batch.number for note in read_log(log, writer=0) if note.snapshot_id] == [0, 1, 3]
