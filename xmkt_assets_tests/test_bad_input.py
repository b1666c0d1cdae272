"""Bad input: every kind of it is handled and explained, good rows beside it are loaded, rows add up; also what chance
makes of sound files."""

import gzip
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.bad_input_run import CorpusRun, _complaints, print_corpus, run_corpus
from xmkt_assets.contracts import contracts
from xmkt_assets.raw import load as loading
from xmkt_assets.raw.arrivals import find_arrivals
from xmkt_assets.raw.books import LEDGER, QUARANTINE
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import load_feed
from xmkt_assets.simulate.bad_input import CORPUS, BadInput, Slot, place
from xmkt_assets.simulate.bad_input.__main__ import main as write_corpus
from xmkt_assets.simulate.bad_input.kinds import as_csv, as_jsonl, as_parquet, gzipped, loaded, several
from xmkt_assets.warehouse import Lake, Session
from xmkt_assets_tests.platform_helper import FIRST_DAY

FEEDS = sorted({kind.feed for kind in CORPUS})
TABLES = ["raw.landing_strays", "staging.course_views", "staging.users", *(f"raw.{feed}" for feed in FEEDS)]
SLOT = Slot(date(2026, 7, 1), 7)
NOW = datetime(2026, 7, 2, 3)


# --- the corpus ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus_run(tmp_path_factory: pytest.TempPathFactory) -> CorpusRun:
    """Every kind through the load job, once for all tests."""
    home = tmp_path_factory.mktemp("bad_input")
    return run_corpus(home, instance=dg.DagsterInstance.ephemeral(), first_on=FIRST_DAY, tables=TABLES)


@pytest.mark.parametrize("kind", CORPUS, ids=lambda kind: kind.name)
def test_what_must_become_of_a_kind_becomes_of_it_and_is_said(corpus_run: CorpusRun, kind: BadInput) -> None:
    (verdict,) = (v for v in corpus_run.verdicts if v.placed.kind.name == kind.name)
    assert verdict.complaints == (), verdict.found


def test_sound_files_beside_bad_ones_are_loaded_and_the_same_bytes_change_nothing(corpus_run: CorpusRun) -> None:
    assert corpus_run.complaints == ()


def test_every_kind_that_is_not_sound_is_explained(corpus_run: CorpusRun) -> None:
    silent = {v.placed.kind.name for v in corpus_run.verdicts if v.found.status not in ("loaded", "waits")} - {
        v.placed.kind.name for v in corpus_run.verdicts if len(v.found.said) > 40
    }
    assert silent == set()


def test_a_kind_that_is_not_handled_as_it_must_be_is_told(
    corpus_run: CorpusRun, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = next(v for v in corpus_run.verdicts if v.placed.kind.name == "a row twice")
    wrong = replace(verdict.placed.kind, expected=loaded(3), must_say=("never said",), planted=("123",))
    said = list(_complaints(wrong, verdict.found, {"123": "some.log (bytes)"}))
    assert said == [
        "rows in, loaded, refused, repeated, kept are (3, 2, 0, 1, 0), must be (3, 3, 0, 0, 0)",
        "nobody says 'never said'",
        "what was planted lies in some.log (bytes)",
    ]
    assert print_corpus(CorpusRun((verdict._replace(complaints=tuple(said)),), ())) == 1
    assert "1 of them not handled as they must be" in capsys.readouterr().out
    assert print_corpus(CorpusRun((verdict._replace(complaints=()),), ())) == 0


def test_the_corpus_has_many_kinds_each_with_a_name_and_a_cause_of_its_own() -> None:
    assert len(CORPUS) >= 100
    assert len({kind.name for kind in CORPUS}) == len(CORPUS)
    assert all(kind.why.endswith(".") for kind in CORPUS)
    of_suffix = Counter(Path(name).suffix for kind in CORPUS for name in kind.files(SLOT))
    assert {".csv", ".gz", ".jsonl", ".parquet", ".tsv"} <= of_suffix.keys()


def test_no_two_kinds_write_the_same_file_and_the_same_seed_writes_the_same_bytes() -> None:
    names = Counter(name for one in place(CORPUS, first_on=FIRST_DAY, seed=7) for name in one.names)
    small = [kind for kind in CORPUS if not kind.alone]
    first, again, other = (place(small, first_on=FIRST_DAY, seed=seed) for seed in (7, 7, 8))
    assert [name for name, times in names.items() if times > 1] == []
    contents = [[dict(one.kind.files(one.slot)) for one in placed] for placed in (first, again, other)]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_the_command_writes_the_corpus_into_a_new_folder_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_corpus(["--into", str(tmp_path / "new")]) == 0
    assert f"{len(CORPUS)} kinds of bad input" in capsys.readouterr().out
    landing = tmp_path / "new"
    assert (landing / "course_platform/course_views/dt=2026-07-01/cut-off.csv.gz").stat().st_size > 1000
    assert write_corpus(["--into", str(landing)]) == 2
    assert "is not empty" in capsys.readouterr().err


# --- what chance makes of sound files ------------------------------------------------------------------------------


class MemorySession(Session):
    """A session on tables in memory, which have no snapshots and keep no notes."""

    def snapshot_id(self) -> int:
        return 0

    def _leave_note(self, note: str, origin: str | None) -> None:
        pass


class MemoryLake(Lake):
    """A lake in memory, for loads by the hundred. One thread, as a run on a small machine has."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._connection = duckdb.connect(config={"threads": "1"})
        self._connection.execute("attach ':memory:' as lake")

    @contextmanager
    def session(self) -> Iterator[Session]:
        connection = self._connection.cursor()
        connection.execute("use lake; set TimeZone = 'UTC'")
        yield MemorySession(connection, self.root)
        connection.close()


def sound_file(feed: str, kind: str, *, prefix: str, rows_in: int = 6) -> bytes:
    """A file of good rows."""
    rows = several(feed, SLOT, prefix, rows_in)
    if kind == "parquet":
        return as_parquet(rows)
    if kind == "jsonl":
        return as_jsonl(rows).encode()
    text = as_csv(rows, delimiter="\t" if kind == "tsv" else ",")
    return gzipped(text) if kind == "csv.gz" else text.encode("gb18030" if kind == "gbk.csv" else "utf-8")


KINDS = ("csv", "csv.gz", "gbk.csv", "tsv", "jsonl", "parquet")
SOUND = {
    (feed, kind): sound_file(feed, kind, prefix="changed") for feed in ("course_reviews", "users") for kind in KINDS
}
BESIDE = ("csv", "parquet")
MANY = 60  # so many good rows that a few bad ones do not hold the day back
# Bytes that mean something to some format, and any others.
PIECES = st.one_of(
    st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"\r\n", b"\t", b";", b"\\", b"{", b"}", b"[", b"\0", b"\xff"]),
    st.sampled_from([b"PAR1", b"\x1f\x8b", b"\xef\xbb\xbf", "课".encode(), "课".encode("gbk"), b'""', b"null", b"-1"]),
    st.binary(max_size=8),
)
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 12), PIECES), min_size=1, max_size=4)


def mutated(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """`content` with, at each place (as a share of its length), some bytes taken out and others put in."""
    for share, taken, piece in changes:
        at = int(share * len(content))
        content = content[:at] + piece + content[at + taken :]
    return content


def unpacked_and_mutated(kind: str, content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """A gzip is changed inside half of the time: outside, nearly every change makes it unreadable."""
    if kind == "csv.gz" and len(changes) % 2:
        return gzip.compress(mutated(gzip.decompress(content), changes), mtime=0)
    return mutated(content, changes)


def load_folder(lake: Lake, landing: Path, feed: str) -> dict[str, Mapping[str, Any]]:
    """Load what lies there; the ledger by file name, held against the tables."""
    files = take_inventory(landing, contracts(), only_feed=feed).files
    with lake.session() as session:
        load_feed(session, contracts()[feed], files, run_id="run", loaded_at=NOW)
    in_table = counts(lake, f"raw.{feed}", "true")
    refused = counts(lake, QUARANTINE, f"feed = '{feed}' and source_row is not null")
    ledger = lake.read(f"select * from {LEDGER} where feed = $feed", feed=feed)
    for line in ledger.iter_rows(named=True):
        name, rows = line["source_file"], line["rows_in"] or 0
        assert (line["rows_loaded"], line["rows_quarantined"]) == (
            in_table.get(name, 0) - line["rows_kept"],
            refused.get(name, 0),
        )
        assert rows == line["rows_loaded"] + line["rows_quarantined"] + line["rows_duplicate"]
    return {line["source_file"].rsplit("/", 1)[1]: line for line in ledger.iter_rows(named=True)}


def counts(lake: Lake, table: str, condition: str) -> dict[str, int]:
    rows = lake.read(f"select source_file, count(*) as n from {table} where {condition} group by source_file")
    return dict(rows.iter_rows())


def content_of(lake: Lake, feed: str) -> list[pl.DataFrame]:
    tables = (f"raw.{feed}", QUARANTINE, LEDGER)
    return [lake.read(f"select * from {table} order by all") for table in tables]


# More of them, drawn anew each time: FUZZ_EXAMPLES=3000 pytest xmkt_assets_tests/test_bad_input.py -k chance
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))


@settings(max_examples=EXAMPLES or 12, deadline=None, derandomize=not EXAMPLES, database=None)
@given(which=st.sampled_from(sorted(SOUND)), changes=CHANGES)
def test_a_file_changed_by_chance_is_accounted_for_and_keeps_no_sound_one_out(
    which: tuple[str, str], changes: list[tuple[float, int, bytes]]
) -> None:
    feed, kind = which
    with tempfile.TemporaryDirectory() as home:
        landing = Path(home) / "landing"
        folder = landing / "course_platform" / feed / f"dt={SLOT.day}"
        folder.mkdir(parents=True)
        (folder / f"changed.{kind}").write_bytes(unpacked_and_mutated(kind, SOUND[which], changes))
        for other in BESIDE:
            (folder / f"sound.{other}").write_bytes(sound_file(feed, other, prefix=other, rows_in=MANY))
        lake = MemoryLake(Path(home))
        first, before = load_folder(lake, landing, feed), content_of(lake, feed)
        load_folder(lake, landing, feed)
        assert all(a.equals(b) for a, b in zip(before, content_of(lake, feed), strict=True))
    assert {first[f"sound.{other}"]["rows_loaded"] for other in BESIDE} == {MANY}


@pytest.mark.parametrize(("feed", "kind"), sorted(SOUND))
def test_the_file_that_chance_changes_is_sound_before(tmp_path: Path, feed: str, kind: str) -> None:
    folder = tmp_path / "landing" / "course_platform" / feed / f"dt={SLOT.day}"
    folder.mkdir(parents=True)
    (folder / f"changed.{kind}").write_bytes(SOUND[feed, kind])
    line = load_folder(MemoryLake(tmp_path), tmp_path / "landing", feed)[f"changed.{kind}"]
    assert (line["status"], line["rows_loaded"]) == ("loaded", 6)


# --- a file that changes while it is read --------------------------------------------------------------------------


def test_a_file_replaced_while_it_is_read_is_due_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read may be of either version; the ledger has the hash from before, so that the next look sees it."""
    folder = tmp_path / "course_platform" / "users" / f"dt={SLOT.day}"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(sound_file("users", "csv", prefix="old"))
    read_files = loading.read_files

    def replaced_before_reading(session: Session, *arguments: Any) -> Any:
        (folder / "a.csv").write_bytes(sound_file("users", "csv", prefix="new"))
        return read_files(session, *arguments)

    lake = MemoryLake(tmp_path)
    for replacing in (replaced_before_reading, read_files):
        monkeypatch.setattr(loading, "read_files", replacing)
        ledger = load_folder(lake, tmp_path, "users")
        found = take_inventory(tmp_path, contracts()).files
        due = find_arrivals(
            found, lake.read(f"select * from {LEDGER}"), last_day=SLOT.day, now_ns=1 << 62, settle_seconds=0.0
        ).due
        assert ledger["a.csv"]["rows_loaded"] == 6
        assert list(due) == ([SLOT.day] if replacing is replaced_before_reading else [])
