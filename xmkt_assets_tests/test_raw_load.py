"""Loading partner files: every row is loaded, quarantined with a reason, or a duplicate; nothing else happens to it."""

import codecs
import csv
import gzip
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmkt_assets.contracts import ContractColumn, contracts
from xmkt_assets.raw import holding, reading
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import LEDGER, QUARANTINE, FeedLoad, empty_feed, load_feed
from xmkt_assets.warehouse import Lake, Session, WarehouseError

DAY = date(2026, 7, 1)
NOW = datetime(2026, 7, 2, 3)
VIEW = ("view_id", "user_id", "course_id", "viewed_at", "dwell_seconds", "source")
EXAMPLES = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Row = Mapping[str, str | None]


@dataclass
class Loaded:
    """What one load left behind: the ledger by file name, the feed's rows and quarantine of the loaded days."""

    load: FeedLoad
    ledger: dict[str, dict[str, Any]]
    rows: pl.DataFrame
    quarantine: pl.DataFrame

    @property
    def line(self) -> dict[str, Any]:
        """Ledger line of the only file."""
        assert len(self.ledger) == 1
        return next(iter(self.ledger.values()))

    @property
    def ids(self) -> list[str]:
        return sorted(self.rows[self.rows.columns[2]].to_list())

    def reasons(self) -> dict[int, str]:
        """Row number → reason, of the only file."""
        return dict(self.quarantine.select("source_row", "reason").iter_rows())


@dataclass
class Door:
    """A landing folder before a lake; every load is checked to add up."""

    lake: Lake
    landing: Path
    feed: str = "course_views"
    partner: str = "course_platform"

    def put(self, name: str, content: str | bytes, *, day: date = DAY, partner: str | None = None) -> Path:
        path = self.landing / (partner or self.partner) / self.feed / f"dt={day}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def load(self, *days: date, gone: Path | None = None) -> Loaded:
        """Load the days and read everything back; `gone` is deleted between the look and the load."""
        asked = days or (DAY,)
        files = take_inventory(self.landing, contracts(), only_feed=self.feed).of(self.feed, asked)
        if gone:
            gone.unlink()
        with self.lake.session() as session:
            load = load_feed(session, contracts()[self.feed], files, run_id="run", loaded_at=NOW)
        found = Loaded(load, self._ledger(asked), self.rows(*asked), self._of_days(QUARANTINE, asked))
        assert set(found.ledger) >= {f.name.rsplit("/", 1)[1] for f in files}
        assert_adds_up(found)
        return found

    def rows(self, *days: date) -> pl.DataFrame:
        return self._of_days(f"raw.{self.feed}", days or (DAY,), by="dt, partner, source_file, source_row")

    def _of_days(self, table: str, days: Sequence[date], *, by: str = "all") -> pl.DataFrame:
        """Rows of this feed, these days and the partners of this landing folder: tests share the lake."""
        partners = [folder.name for folder in self.landing.iterdir()]
        of_feed = "" if table == f"raw.{self.feed}" else f"feed = '{self.feed}' and"
        query = f"select * from {table} where {of_feed} dt in (select unnest($days)) "
        query += f"and partner in (select unnest($partners)) order by {by}"
        return self.lake.read(query, days=list(days), partners=partners)

    def _ledger(self, days: Sequence[date]) -> dict[str, dict[str, Any]]:
        lines = self._of_days(LEDGER, days).iter_rows(named=True)
        return {line["source_file"].rsplit("/", 1)[1]: line for line in lines}


def assert_adds_up(found: Loaded) -> None:
    """Per file: rows in = loaded + quarantined + duplicates, with loaded and quarantined counted in the tables."""
    in_table = dict(found.rows.group_by("source_file").len().iter_rows())
    refused = dict(
        found.quarantine.filter(pl.col("source_row").is_not_null()).group_by("source_file").len().iter_rows()
    )
    for line in found.ledger.values():
        name = line["source_file"]
        assert (line["rows_loaded"], line["rows_quarantined"]) == (in_table.get(name, 0), refused.get(name, 0))
        total = line["rows_loaded"] + line["rows_quarantined"] + line["rows_duplicate"]
        assert total == (line["rows_in"] or 0)
        assert (line["rows_in"] is None) == (line["status"] == "unreadable")


class MemorySession(Session):
    """A session on tables in memory, which have no snapshots and keep no notes."""

    def snapshot_id(self) -> int:
        return 0

    def _leave_note(self, note: str, origin: str | None) -> None:
        pass


class MemoryLake(Lake):
    """A lake in memory: what is loaded is the same, and a load takes a third of the time."""

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


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return MemoryLake(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def stored_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake as it is, for tests of what is stored and what stays."""
    return Lake(tmp_path_factory.mktemp("home"), threads=1)


@pytest.fixture(scope="module", autouse=True)
def no_day_is_held_back() -> Iterator[None]:
    """What becomes of each row is asked here; how many refused rows hold a day back is asked elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holding, "MIN_REFUSED_ROWS", 1_000_000)
        yield


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A door with a lake of its own: a file of which no row can be used keeps what it brought before."""
    return Door(MemoryLake(tmp_path / "home"), tmp_path / "landing")


@pytest.fixture
def stored_door(stored_lake: Lake, tmp_path: Path) -> Door:
    return Door(stored_lake, tmp_path / "landing")


def view(name: str = "v1", **changed: str | None) -> dict[str, str | None]:
    whole = {
        "view_id": name,
        "user_id": "u1",
        "course_id": "c1",
        "viewed_at": "2026-07-01T08:30:00Z",
        "dwell_seconds": "30",
        "source": "search",
    }
    return {**whole, **changed}


def as_csv(rows: Iterable[Row], columns: Sequence[str] = VIEW, *, delimiter: str = ",", end: str = "\n") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator=end, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_jsonl(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_parquet(frame: pl.DataFrame, **options: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **options)
    return buffer.getvalue()


def text_frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(VIEW, pl.String))


def written(kind: str, rows: Sequence[Row]) -> bytes:
    """The rows as a file of the kind."""
    if kind == "parquet":
        return as_parquet(text_frame(rows))
    if kind == "jsonl":
        return as_jsonl(rows).encode()
    return gzip.compress(as_csv(rows).encode(), mtime=0) if kind == "csv.gz" else as_csv(rows).encode()


KINDS = ("csv", "csv.gz", "parquet", "jsonl")


# --- good rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_typed_rows(stored_door: Door, kind: str) -> None:
    rows = [
        view("v1", viewed_at="2026-07-01T23:30:00+08:00", user_id="u,1"),
        view("v2", dwell_seconds="0", source=None, viewed_at="2026-07-01 00:00:00"),
        view("v3", dwell_seconds="3.0", user_id='she said "课程"\nand left', viewed_at="2026-07-01T23:59:59.999999Z"),
    ]
    stored_door.put(f"views.{kind}", written(kind, rows))
    found = stored_door.load()
    expected = [
        ("v1", "u,1", "c1", datetime(2026, 7, 1, 15, 30), 30, "search", 1),
        ("v2", "u1", "c1", datetime(2026, 7, 1), 0, None, 2),
        ("v3", 'she said "课程"\nand left', "c1", datetime(2026, 7, 1, 23, 59, 59, 999999), 3, "search", 3),
    ]
    assert list(found.rows.select(*VIEW, "source_row").iter_rows()) == expected
    typed = {"dwell_seconds": pl.Int64, "viewed_at": pl.Datetime("us"), "dt": pl.Date, "source_row": pl.Int64}
    assert {name: found.rows.schema[name] for name in typed} == typed
    assert (found.line["status"], found.line["note"]) == ("loaded", "")
    assert found.load.row_counts == {DAY: 3}
    assert found.load.written is not None
    assert found.load.written.row_count == 3


def test_parquet_with_types_of_its_own_gives_the_same_rows_as_text(door: Door) -> None:
    shanghai = pl.Datetime("ns", "Asia/Shanghai")
    frame = text_frame([view("v1"), view("v2")]).with_columns(
        pl.Series("viewed_at", [datetime(2026, 7, 1, 8, 30, tzinfo=UTC)] * 2).cast(shanghai),
        pl.Series("dwell_seconds", [30.0, None], dtype=pl.Float64),
        pl.Series("source", ["search", "organic"]).cast(pl.Categorical),
    )
    door.put("views.parquet", as_parquet(frame))
    found = door.load()
    assert found.rows.select("view_id", "viewed_at", "dwell_seconds", "source").rows() == [
        ("v1", datetime(2026, 7, 1, 8, 30), 30, "search")
    ]
    assert found.reasons() == {2: "dwell_seconds: empty, wanted a whole number"}


def test_a_fraction_in_one_parquet_file_is_not_rounded_to_the_whole_numbers_of_another(door: Door) -> None:
    whole = text_frame([view("v1")]).with_columns(pl.Series("dwell_seconds", [30], dtype=pl.Int64))
    halves = text_frame([view("v2")]).with_columns(pl.Series("dwell_seconds", [3.7], dtype=pl.Float64))
    door.put("a.parquet", as_parquet(whole))
    door.put("b.parquet", as_parquet(halves))
    found = door.load()
    assert found.ids == ["v1"]
    assert found.reasons() == {1: "dwell_seconds: found '3.7', wanted a whole number"}


def test_rows_keep_their_number_in_a_parquet_file_of_many_row_groups(door: Door) -> None:
    many = 12_000
    frame = pl.DataFrame(
        {**view(), "view_id": [f"v{i}" for i in range(1, many + 1)]}, schema=dict.fromkeys(VIEW, pl.String)
    )
    door.put("views.parquet", as_parquet(frame, row_group_size=500))
    found = door.load()
    assert found.rows.height == many
    assert found.rows.select((pl.lit("v") + pl.col("source_row").cast(pl.String) == pl.col("view_id")).all()).item()


def test_quoted_line_ends_and_cr_lf_do_not_split_rows(door: Door) -> None:
    rows = [view("v1", user_id="line one\nline two"), view("v2", user_id="x\r\ny"), view("v3")]
    door.put("views.csv", as_csv(rows, end="\r\n"))
    found = door.load()
    assert found.rows.select("view_id", "user_id", "source_row").rows() == [
        ("v1", "line one\nline two", 1),
        ("v2", "x\r\ny", 2),
        ("v3", "u1", 3),
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(door: Door, kind: str) -> None:
    door.put(f"views.{kind}", codecs.BOM_UTF8 + written(kind, [view("v1"), view("v2")]))
    found = door.load()
    assert found.ids == ["v1", "v2"]
    assert found.line["note"] == ""


def test_text_is_trimmed_and_an_empty_text_is_no_value(door: Door) -> None:
    door.put("views.csv", as_csv([view("  v1 ", source="  ", dwell_seconds=" 5 ")]))
    assert door.load().rows.select("view_id", "source", "dwell_seconds").rows() == [("v1", None, 5)]


def test_files_of_every_kind_are_loaded_together(door: Door) -> None:
    for kind in KINDS:
        door.put(f"views.{kind}", written(kind, [view(f"{kind}-{i}") for i in range(3)]))
    found = door.load()
    assert found.ids == sorted(f"{kind}-{i}" for kind in KINDS for i in range(3))
    assert {line["rows_loaded"] for line in found.ledger.values()} == {3}


@pytest.mark.parametrize(
    "name", ["o'brien.csv", "课程 浏览.csv", "a;drop table x--.csv", 'say "hi".csv', "a\\b.csv", "~.csv", "é\u0301.csv"]
)
def test_any_file_name_can_be_loaded(door: Door, name: str) -> None:
    door.put(name, as_csv([view("v1")]))
    found = door.load()
    assert found.ids == ["v1"]
    assert found.rows["source_file"].to_list() == [f"course_platform/course_views/dt=2026-07-01/{name}"]


@pytest.mark.parametrize("names", [("x1.csv", "x[1].csv"), ("x1.csv", "x*.csv"), ("x1.csv", "x?.csv", "[!y]1.csv")])
def test_a_name_that_looks_like_a_pattern_stands_for_its_own_file_only(door: Door, names: tuple[str, ...]) -> None:
    for name in names:
        door.put(name, as_csv([view(name)]))
    found = door.load()
    loaded = found.rows.select("view_id", pl.col("source_file").str.split("/").list.last())
    assert dict(loaded.iter_rows()) == {name: name for name in names}
    assert {line["rows_in"] for line in found.ledger.values()} == {1}


# --- bad rows ------------------------------------------------------------------------------------------------------

BAD_VIEWS = [
    ({"view_id": ""}, "view_id: empty, wanted text"),
    ({"view_id": "   "}, "view_id: empty, wanted text"),
    ({"viewed_at": ""}, "viewed_at: empty, wanted a UTC time such as 2026-07-01T08:30:00Z"),
    ({"dwell_seconds": ""}, "dwell_seconds: empty, wanted a whole number"),
    ({"dwell_seconds": "long"}, "dwell_seconds: found 'long', wanted a whole number"),
    ({"dwell_seconds": "it's"}, "dwell_seconds: found 'it's', wanted a whole number"),
    ({"dwell_seconds": "3.7"}, "dwell_seconds: found '3.7', wanted a whole number"),
    ({"dwell_seconds": "1,5"}, "dwell_seconds: found '1,5', wanted a whole number"),
    ({"dwell_seconds": "NaN"}, "dwell_seconds: found 'NaN', wanted a whole number"),
    ({"dwell_seconds": "inf"}, "dwell_seconds: found 'inf', wanted a whole number"),
    ({"dwell_seconds": "1e30"}, "dwell_seconds: found '1e30', wanted a whole number"),
    ({"dwell_seconds": "-1"}, "dwell_seconds: found '-1', wanted at least 0"),
    ({"dwell_seconds": "86401"}, "dwell_seconds: found '86401', wanted at most 86400"),
    ({"source": "billboard"}, "source: found 'billboard', wanted one of organic, search, campaign, insurer_page"),
    ({"source": "Search"}, "source: found 'Search', wanted one of organic, search, campaign, insurer_page"),
    ({"viewed_at": "soon"}, "viewed_at: found 'soon', wanted a UTC time such as 2026-07-01T08:30:00Z"),
    ({"viewed_at": "infinity"}, "viewed_at: found 'infinity', wanted a UTC time such as 2026-07-01T08:30:00Z"),
    ({"viewed_at": "26-07-01"}, "viewed_at: found '26-07-01', wanted a UTC time such as 2026-07-01T08:30:00Z"),
    ({"viewed_at": "1782000000"}, "viewed_at: found '1782000000', wanted a UTC time such as 2026-07-01T08:30:00Z"),
    (
        {"viewed_at": "2026-07-02T00:00:00Z"},
        "viewed_at: found 2026-07-02 (UTC), wanted 2026-07-01 or up to 3 days before; deliver the row in folder "
        "dt=2026-07-02",
    ),
    (
        {"viewed_at": "2026-06-28T06:00:00+08:00"},
        "viewed_at: found 2026-06-27 (UTC), wanted 2026-07-01 or up to 3 days before; deliver the row in folder "
        "dt=2026-06-27",
    ),
    (
        {"dwell_seconds": "-1", "source": "tv", "user_id": ""},
        "user_id: empty, wanted text; dwell_seconds: found '-1', wanted at least 0; "
        "source: found 'tv', wanted one of organic, search, campaign, insurer_page",
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def bad_views(request: pytest.FixtureRequest, lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """One file with a good row first and last and one row of every fault between."""
    door = Door(lake, tmp_path_factory.mktemp("landing"))
    faulty = [view(f"bad{i}", **changed) for i, (changed, _) in enumerate(BAD_VIEWS)]
    door.put(f"views.{request.param}", written(request.param, [view("first"), *faulty, view("last")]))
    return door.load()


def test_each_bad_row_goes_to_quarantine_with_column_found_and_wanted(bad_views: Loaded) -> None:
    assert bad_views.reasons() == {i: reason for i, (_, reason) in enumerate(BAD_VIEWS, start=2)}


def test_good_rows_around_bad_ones_are_loaded_with_their_own_number(bad_views: Loaded) -> None:
    assert bad_views.rows.select("view_id", "source_row").rows() == [("first", 1), ("last", len(BAD_VIEWS) + 2)]
    assert bad_views.line["status"] == "partly quarantined"


def test_quarantine_keeps_the_row_as_it_came_with_file_and_run(bad_views: Loaded) -> None:
    kept = bad_views.quarantine.filter(pl.col("source_row") == 14).row(0, named=True)
    assert json.loads(kept["raw_text"]) == view("bad12", dwell_seconds="86401")
    assert kept["source_file"] == bad_views.line["source_file"]
    assert (kept["partner"], kept["run_id"], kept["quarantined_at"]) == ("course_platform", "run", NOW)


OTHER_TYPES = [
    ("products", {"is_on_sale": "maybe"}, "is_on_sale: found 'maybe', wanted true or false"),
    ("consents", {"expires_on": "2026-02-30"}, "expires_on: found '2026-02-30', wanted a date"),
    ("consents", {"expires_on": "26-07-01"}, "expires_on: found '26-07-01', wanted a date"),
    ("consents", {"expires_on": "infinity"}, "expires_on: found 'infinity', wanted a date"),
    (
        "consents",
        {"expires_on": "2026-07-01 08:00:00"},
        "expires_on: found '2026-07-01 08:00:00', wanted a date",
    ),
    ("campaign_events", {"assignment_share": "1.5"}, "assignment_share: found '1.5', wanted at most 1"),
    ("campaign_events", {"score": "nan"}, "score: found 'nan', wanted a number"),
    ("campaign_events", {"score": "-inf"}, "score: found '-inf', wanted a number"),
    ("users", {"birth_year": "1889"}, "birth_year: found '1889', wanted at least 1900"),
]
COMPLETE = {
    "products": {"product_id": "p", "product_name": "n", "product_class": "life", "is_on_sale": "true"},
    "consents": {
        "consent_id": "k",
        "subject_id": "s",
        "purpose": "profiling",
        "decision": "granted",
        "notice_version": "1",
        "source": "app",
        "decided_at": "2026-07-01T08:00:00Z",
        "expires_on": "2027-07-01 00:00:00",
    },
    "campaign_events": {
        "event_id": "e",
        "campaign_id": "c",
        "subject_id": "s",
        "event": "exposure",
        "occurred_at": "2026-07-01T08:00:00Z",
        "score": "-1e-3",
        "assignment_share": "0.5",
    },
    "users": {"user_id": "u", "registered_at": "2020-01-01T00:00:00Z", "birth_year": "1990"},
}


def complete(feed: str) -> dict[str, str]:
    """A row of the feed without a fault, as text, with its version where it has one."""
    return COMPLETE[feed] | ({"updated_at": "2026-07-01T00:00:00Z"} if contracts()[feed].version_by else {})


@pytest.mark.parametrize(("feed", "changed", "reason"), OTHER_TYPES)
def test_every_type_refuses_what_is_not_of_it(
    lake: Lake, tmp_path: Path, feed: str, changed: dict[str, str], reason: str
) -> None:
    door = Door(lake, tmp_path / "landing", feed, "insurer" if feed != "users" else "course_platform")
    key = contracts()[feed].key[0]
    good = complete(feed)
    door.put("rows.csv", as_csv([good, {**good, key: "bad", **changed}], list({**good, **changed})))
    found = door.load()
    assert found.rows.height == 1
    assert found.reasons()[2].startswith(reason)


def test_what_should_be_a_hash_and_is_none_is_shown_nowhere(stored_lake: Lake, tmp_path: Path) -> None:
    door = Door(stored_lake, tmp_path / "landing", "users")
    rows = [
        complete("users") | {"user_id": "u1", "phone_hash": "ab" * 32, "birth_year": "x"},
        complete("users") | {"user_id": "u2", "phone_hash": "13812345678", "birth_year": "x"},
    ]
    columns = [*rows[0]]
    text = as_csv(rows, columns) + "u3,2020-01-01,13812345678\n"
    door.put("users.csv", text)
    found = door.load()
    assert found.quarantine.height == 3
    assert "value not shown" in found.reasons()[2]
    assert json.loads(found.quarantine["raw_text"][0])["phone_hash"] == "ab" * 32
    assert "13812345678" not in str(found.quarantine.to_dicts())
    assert not holds(stored_lake.home, b"13812345678")


def holds(home: Path, text: bytes) -> bool:
    """Whether any file below the home holds the bytes."""
    return any(text in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_the_scan_for_stored_text_finds_what_is_stored(stored_door: Door) -> None:
    stored_door.put("views.csv", as_csv([view("v1", user_id="u-findable-8461")]))
    stored_door.load()
    assert holds(stored_door.lake.home, b"u-findable-8461")


# --- lines that cannot be split ------------------------------------------------------------------------------------


def test_a_line_with_too_few_or_too_many_values_goes_to_quarantine_as_it_came(door: Door) -> None:
    lines = as_csv([view("v1"), view("v4")]).splitlines()
    lines[2:2] = ["v2,u1", "v3,u1,c1,2026-07-01T08:30:00Z,30,search,more"]
    door.put("views.csv", "\n".join(lines))
    found = door.load()
    assert found.rows.select("view_id", "source_row").rows() == [("v1", 1), ("v4", 4)]
    assert found.quarantine.select("source_row", "raw_text").rows() == [(2, lines[2]), (3, lines[3])]
    assert found.reasons()[2] == "malformed line: Expected Number of Columns: 6 Found: 2"
    assert found.reasons()[3] == "malformed line: Expected Number of Columns: 6 Found: 7"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_swallowed_by_an_open_quote_are_each_accounted_for(door: Door, end: str) -> None:
    lines = as_csv([view(f"v{i}") for i in range(1, 8)], end=end).split(end)
    lines[3] = lines[3].replace("u1", '"u1', 1)
    lines[5] = lines[5].replace("c1", '"c1"', 1)  # here the next quote ends the swallowing, amid the line
    door.put("views.csv", end.join(lines))
    found = door.load()
    assert found.rows.select("view_id", "source_row").rows() == [("v1", 1), ("v2", 2), ("v6", 6), ("v7", 7)]
    assert found.quarantine.select("source_row", "raw_text").rows() == [(i, lines[i]) for i in (3, 4, 5)]
    assert found.reasons()[5] == "malformed line: swallowed by the open quote of row 3"


def test_a_quote_that_is_never_closed_hides_no_row(door: Door) -> None:
    lines = as_csv([view(f"v{i}") for i in range(1, 501)]).splitlines()
    lines[300] = lines[300].replace("u1", '"u1', 1)
    door.put("views.csv", "\n".join(lines) + "\n")
    found = door.load()
    assert (found.line["rows_in"], found.line["rows_loaded"], found.line["rows_quarantined"]) == (500, 299, 201)


def test_a_line_that_is_not_utf_8_keeps_no_other_line_out(door: Door) -> None:
    for kind in ("csv", "jsonl"):
        good = written(kind, [view(f"{kind}1")]), written(kind, [view(f"{kind}3")]).split(b"\n", kind == "csv")[-1]
        bad = written(kind, [view(f"{kind}2", user_id="课程")]).decode().split("\n")[1 if kind == "csv" else 0]
        door.put(f"views.{kind}", good[0] + bad.encode("gb18030") + b"\xff\n" + good[1])
    found = door.load()
    assert found.rows.select("view_id", "source_row").sort("view_id").rows() == [
        ("csv1", 1),
        ("csv3", 3),
        ("jsonl1", 1),
        ("jsonl3", 3),
    ]
    assert found.quarantine["source_row"].to_list() == [2, 2]
    assert all("not utf-8" in reason for reason in found.quarantine["reason"])


def test_a_line_that_is_not_utf_8_beside_an_undeclared_column_keeps_no_other_line_out(door: Door) -> None:
    """Found by changing bytes at random: DuckDB 1.5.5 breaks down for good when it may skip a column of such a file."""
    text = as_csv([view("v1", extra="x"), view("v2", extra="y")], ("view_id", "extra", *VIEW[1:]))
    door.put("views.csv", text.encode().rstrip(b"\n")[:-2] + b"\x8f\xffh")
    found = door.load()
    assert found.ids == ["v1"]
    assert "not utf-8" in found.reasons()[2]


def test_a_file_that_breaks_the_reader_down_is_named(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> str:
        raise duckdb.FatalException("Failed: database has been invalidated")

    door.put("views.csv", as_csv([view("v1")]))
    monkeypatch.setattr(reading, "_insert_sql", break_down)
    with pytest.raises(
        WarehouseError, match=r"broke down while it read course_platform/.*/views\.csv: Failed: database"
    ):
        door.load()


def test_a_garbage_line_in_json_lines_goes_to_quarantine_as_it_came(door: Door) -> None:
    garbage = ["no json", "[1, 2]", '"text"', '{"view_id": "v9"', "7", "[" * 5000]
    door.put("views.jsonl", as_jsonl([view("v1")]) + "\n".join(garbage) + "\n" + as_jsonl([view("v2")]))
    found = door.load()
    assert found.rows.select("view_id", "source_row").rows() == [("v1", 1), ("v2", 8)]
    assert found.quarantine.select("source_row", "raw_text").rows() == list(enumerate(garbage, start=2))
    assert set(found.reasons().values()) == {"the line is no JSON object; wanted one object per line"}


def test_json_lines_may_mix_line_ends_and_order_of_fields(door: Door) -> None:
    backwards = dict(reversed(view("v2").items()))
    lines = [json.dumps(view("v1")), json.dumps(backwards), json.dumps(view("v3", dwell_seconds=None))]
    door.put("views.jsonl", f"{lines[0]}\r\n{lines[1]}\n{lines[2]}")
    found = door.load()
    assert found.ids == ["v1", "v2"]
    assert found.reasons() == {3: "dwell_seconds: empty, wanted a whole number"}


CSV_RECORDS = {
    "good": "{id},u1,c1,2026-07-01T08:30:00Z,30,search",
    "two lines": '{id},"u{end}1",c1,2026-07-01T08:30:00Z,30,search',
    "empty line in quotes": '{id},"u{end}{end}1, ""x""",c1,2026-07-01T08:30:00Z,30,search',
    "quote inside": '{id},u"1,c1,2026-07-01T08:30:00Z,30,search',
    "bad value": "{id},u1,c1,2026-07-01T08:30:00Z,lots,search",
    "short": "{id},u1",
    "long": "{id},u1,c1,2026-07-01T08:30:00Z,30,search,more,and more",
    "text after quote": '{id},"u1"x,c1,2026-07-01T08:30:00Z,30,search',
    "not utf-8": "{id},\xff,c1,2026-07-01T08:30:00Z,30,search",
    "empty": "",
}
LOADABLE = {"good", "two lines", "empty line in quotes", "quote inside"}


@EXAMPLES
@given(
    records=st.lists(st.sampled_from(sorted(CSV_RECORDS)), min_size=1, max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    is_packed=st.booleans(),
)
def test_every_row_has_its_true_number_whatever_stands_before_it(
    tmp_path: Path, records: list[str], end: str, is_packed: bool
) -> None:
    door = fresh_door(tmp_path)
    lines = [CSV_RECORDS[kind].format(id=f"v{i}", end=end) for i, kind in enumerate(records)]
    content = end.join([",".join(VIEW), *lines, ""]).encode("latin-1")
    door.put("views.csv.gz" if is_packed else "views.csv", gzip.compress(content, mtime=0) if is_packed else content)
    found = door.load()
    numbers = {i: n for n, i in enumerate((i for i, kind in enumerate(records) if kind != "empty"), start=1)}
    assert dict(found.rows.select("view_id", "source_row").iter_rows()) == {
        f"v{i}": n for i, n in numbers.items() if records[i] in LOADABLE
    }
    assert found.quarantine["source_row"].to_list() == [n for i, n in numbers.items() if records[i] not in LOADABLE]
    assert (found.line["rows_in"], found.line["rows_duplicate"]) == (len(numbers), 0)


JSON_RECORDS = {
    "good": json.dumps(view("{id}")).encode(),
    "bad value": json.dumps(view("{id}", dwell_seconds="lots")).encode(),
    "garbage": b"{id} no json",
    "not utf-8": json.dumps(view("{id}")).encode().replace(b"u1", b"\xff"),
    "empty": b"",
}


@EXAMPLES
@given(records=st.lists(st.sampled_from(sorted(JSON_RECORDS)), min_size=1, max_size=30))
def test_every_json_line_has_its_true_number(tmp_path: Path, records: list[str]) -> None:
    door = fresh_door(tmp_path)
    lines = [JSON_RECORDS[kind].replace(b"{id}", b"v%d" % i) for i, kind in enumerate(records)]
    content = b"\n".join([*lines, b""])
    door.put("views.jsonl", content)
    numbers = {i: n for n, i in enumerate((i for i, kind in enumerate(records) if kind != "empty"), start=1)}
    found = door.load()
    assert dict(found.rows.select("view_id", "source_row").iter_rows()) == {
        f"v{i}": n for i, n in numbers.items() if records[i] == "good"
    }
    assert found.quarantine["source_row"].to_list() == [n for i, n in numbers.items() if records[i] != "good"]


_folders = itertools.count()


def fresh_door(tmp_path: Path, feed: str = "course_views") -> Door:
    """A door and a lake of its own for one example of a property test."""
    folder = tmp_path / str(next(_folders))
    return Door(MemoryLake(folder / "home"), folder / "landing", feed)


# --- headers and whole files ---------------------------------------------------------------------------------------


def test_a_missing_required_column_sends_every_row_to_quarantine_by_name(door: Door) -> None:
    columns = [c for c in VIEW if c != "course_id"]
    door.put("views.csv", as_csv([view("v1"), view("v2")], columns))
    found = door.load()
    assert found.line["status"] == "rejected"
    assert "lacks the required column course_id" in found.line["note"]
    wanted = (
        "the file lacks column course_id; wanted view_id, user_id, course_id, viewed_at, dwell_seconds, source; "
        "found view_id, user_id, viewed_at, dwell_seconds, source"
    )
    assert found.reasons() == {1: wanted, 2: wanted}
    assert json.loads(found.quarantine["raw_text"][0])["view_id"] == "v1"


def test_a_missing_optional_column_is_loaded_as_empty_and_said(door: Door) -> None:
    door.put("views.csv", as_csv([view("v1")], [c for c in VIEW if c != "source"]))
    found = door.load()
    assert found.rows["source"].to_list() == [None]
    assert found.line["note"] == "lacks the optional columns source, loaded as empty."


@pytest.mark.parametrize("kind", KINDS)
def test_an_undeclared_column_is_named_and_stored_nowhere(stored_door: Door, kind: str) -> None:
    secret = f"undeclared-secret-{kind}"
    columns = [*VIEW, "phone"]
    rows = [view("v1", phone=secret), view("v2", phone=secret, dwell_seconds="many")]
    if kind == "parquet":
        stored_door.put("views.parquet", as_parquet(pl.DataFrame(rows)))
    elif kind == "jsonl":
        stored_door.put("views.jsonl", as_jsonl(rows) + f'{{"view_id": "v3", "phone": "{secret}"\n')
    else:
        text = as_csv(rows, columns) + f"v3,{secret}\n"
        stored_door.put(f"views.{kind}", gzip.compress(text.encode(), mtime=0) if kind == "csv.gz" else text)
    found = stored_door.load()
    assert found.line["note"] == "brings undeclared columns phone, which were not loaded."
    assert "phone" not in found.rows.columns
    assert found.line["rows_quarantined"] == (1 if kind == "parquet" else 2)
    assert secret not in str(found.quarantine.to_dicts())
    assert not holds(stored_door.lake.home, secret.encode())


def test_undeclared_columns_may_have_no_name_or_one_that_differs_in_case(door: Door) -> None:
    lines = as_csv([view("v1")]).splitlines()
    door.put("views.csv", f"{lines[0]},VIEW_ID,filename,,\n{lines[1]},x,y,z,\n")
    found = door.load()
    assert found.ids == ["v1"]
    assert (
        found.line["note"]
        == "brings undeclared columns VIEW_ID, filename, (no name), (no name), which were not loaded."
    )


def test_columns_in_another_order_are_matched_by_name(door: Door) -> None:
    door.put("views.csv", as_csv([view("v1")], VIEW[::-1]))
    assert door.load().rows.select(VIEW[:3]).rows() == [("v1", "u1", "c1")]


@pytest.mark.parametrize("delimiter", ["^", "~"])
def test_a_wrong_delimiter_is_shown_as_the_header_that_was_found(door: Door, delimiter: str) -> None:
    door.put("views.csv", as_csv([view("v1"), view("v2")], delimiter=delimiter))
    found = door.load()
    assert (found.line["status"], found.line["rows_quarantined"]) == ("rejected", 2)
    assert f"found view_id{delimiter}user_id{delimiter}course_id" in found.reasons()[1]


def test_a_header_that_is_a_row_of_values_shows_no_contact(door: Door) -> None:
    door.put("views.csv", "v1,13812345678,a@b.example,2026-07-01,3,search\nv2,u,c,2026-07-01,3,search\n")
    found = door.load()
    assert "found v1, (not shown), (not shown), " in found.reasons()[1]
    assert "13812345678" not in str(found.ledger) + str(found.quarantine.to_dicts())


MANY_VIEWS = as_csv([view(f"v{i}") for i in range(60_000)]).encode()  # more than any reader takes at a gulp
UNREADABLE = [
    ("a.csv", as_csv([view()]).replace("source", "view_id", 1).encode(), "names view_id twice in its header"),
    ("a.csv", b"\n" + as_csv([view()]).encode(), "begins with an empty line"),
    ("a.csv", as_csv([view()]).encode().replace(b"source", b"caf\xe9", 1), "is neither UTF-8 text nor GB18030"),
    ("a.csv", as_csv([view()]).encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ("a.csv", b"x" * (1 << 20), "has no line end in its first 1048576 bytes"),
    ("a.csv.gz", gzip.compress(MANY_VIEWS, 1, mtime=0)[:-5000], "cannot be read"),
    ("a.csv.gz", gzip.compress(as_csv([view()]).encode(), mtime=0)[:-8] + b"12345678", "cannot be read"),
    ("a.csv.gz", as_csv([view()]).encode(), "cannot be read"),
    ("a.parquet", b"PAR1 no parquet PAR1", "cannot be read"),
    ("a.parquet", as_csv([view()]).encode(), "cannot be read"),
    ("a.parquet", as_parquet(text_frame([view()]))[:-9], "cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "said"), UNREADABLE, ids=[f"{n}: {said}" for n, _, said in UNREADABLE])
def test_a_file_that_cannot_be_read_is_named_with_the_remedy_and_keeps_no_other_out(
    door: Door, name: str, content: bytes, said: str
) -> None:
    door.put(name, content)
    door.put("good.csv", as_csv([view("v1")]))
    found = door.load()
    assert found.ids == ["v1"]
    line = found.ledger[name]
    assert line["status"] == "unreadable"
    assert said in line["note"]
    assert str(door.landing) not in line["note"]
    refused = found.quarantine.row(0, named=True)
    assert (refused["source_row"], refused["reason"]) == (None, f"the file {line['note']}")
    assert found.quarantine.height == 1


def test_one_file_that_fails_while_it_is_read_keeps_none_of_its_group_out(door: Door) -> None:
    """Its footer is sound, so it is read in one statement with all the others."""
    for i in range(7):
        door.put(f"good{i}.csv", as_csv([view(f"v{i}")]))
        door.put(f"good{i}.parquet", as_parquet(text_frame([view(f"p{i}")])))
    whole = bytearray(as_parquet(text_frame([view(f"x{i}") for i in range(2000)]), compression="zstd"))
    whole[200:3000] = bytes(2800)
    door.put("good3-bad.parquet", bytes(whole))
    found = door.load()
    assert found.ids == sorted(f"{kind}{i}" for kind in "vp" for i in range(7))
    assert {name for name, line in found.ledger.items() if line["status"] == "unreadable"} == {"good3-bad.parquet"}


EMPTY = [
    ("a.csv", b"", "is empty (0 bytes)"),
    ("a.parquet", b"", "is empty (0 bytes)"),
    ("a.jsonl", b"", "is empty (0 bytes)"),
    ("a.csv", b"\n\r\n\n", "holds no header line"),
    ("a.csv.gz", gzip.compress(b"", mtime=0), "holds no header line"),
    ("a.csv.gz", gzip.compress(b"\n" * 3_000_000, mtime=0), "holds no header line"),
]


@pytest.mark.parametrize(("name", "content", "said"), EMPTY)
def test_an_empty_file_is_said_to_be_empty(door: Door, name: str, content: bytes, said: str) -> None:
    door.put(name, content)
    found = door.load()
    assert (found.line["status"], found.line["rows_in"]) == ("empty", 0)
    assert said in found.line["note"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", ",".join(VIEW).encode()),
        ("a.csv", as_csv([]).encode()),
        ("a.csv.gz", gzip.compress(as_csv([]).encode(), mtime=0)),
        ("a.parquet", as_parquet(text_frame([]))),
        ("a.jsonl", b"\n\n"),
    ],
)
def test_a_header_without_rows_loads_nothing_and_is_no_fault(door: Door, name: str, content: bytes) -> None:
    door.put(name, content)
    found = door.load()
    assert (found.line["status"], found.line["rows_in"], found.quarantine.height) == ("loaded", 0, 0)
    assert found.load.row_counts == {DAY: 0}


def test_a_gzip_of_several_members_is_read_whole(door: Door) -> None:
    head, tail = as_csv([view("v1")]), as_csv([view("v2")]).split("\n", 1)[1]
    door.put("views.csv.gz", gzip.compress(head.encode(), mtime=0) + gzip.compress(tail.encode(), mtime=0))
    assert door.load().ids == ["v1", "v2"]


def test_a_file_that_goes_away_before_it_is_read_is_said_to_be_unreadable(door: Door) -> None:
    gone = door.put("a.csv", as_csv([view("v1")]))
    door.put("b.csv", as_csv([view("v2")]))
    found = door.load(gone=gone)
    assert found.ids == ["v2"]
    assert (found.ledger["a.csv"]["status"], found.ledger["a.csv"]["sha256"]) == ("unreadable", "")


# --- the same row more than once -----------------------------------------------------------------------------------


def test_a_row_repeated_word_for_word_is_counted_as_duplicate_without_a_note(door: Door) -> None:
    door.put("views.csv", as_csv([view("v1"), view("v2"), view("v1")]))
    found = door.load()
    assert found.rows.select("view_id", "source_row").rows() == [("v2", 2), ("v1", 3)]
    assert (found.line["rows_duplicate"], found.line["note"]) == (1, "")


def test_the_same_file_under_two_names_is_loaded_once(door: Door) -> None:
    content = as_csv([view("v1"), view("v2")])
    door.put("a.csv", content)
    door.put("b.csv", content)
    found = door.load()
    assert found.ids == ["v1", "v2"]
    assert [found.ledger[n]["rows_duplicate"] for n in ("a.csv", "b.csv")] == [2, 0]
    assert {line["note"] for line in found.ledger.values()} == {""}


def test_a_key_with_different_contents_is_noted_and_the_last_is_kept(door: Door) -> None:
    door.put("a.csv", as_csv([view("v1", dwell_seconds="1"), view("v2", source=None), view("v3"), view("v4")]))
    door.put("b.csv", as_csv([view("v1", dwell_seconds="2"), view("v2"), view("v3"), view("v1", dwell_seconds="2")]))
    found = door.load()
    kept = {row["view_id"]: (row["dwell_seconds"], row["source"]) for row in found.rows.iter_rows(named=True)}
    assert kept == {"v1": (2, "search"), "v2": (30, "search"), "v3": (30, "search"), "v4": (30, "search")}
    said = "keys delivered with different contents: 2; the last of each was kept."
    assert [found.ledger[n]["note"] for n in ("a.csv", "b.csv")] == [said, said]
    assert [found.ledger[n]["status"] for n in ("a.csv", "b.csv")] == ["loaded", "loaded"]


def test_a_bad_row_disputes_no_good_one(door: Door) -> None:
    door.put("views.csv", as_csv([view("v1"), view("v1", dwell_seconds="-5")]))
    found = door.load()
    assert found.ids == ["v1"]
    assert (found.line["rows_quarantined"], found.line["rows_duplicate"], found.line["note"]) == (1, 0, "")


def test_of_several_versions_the_newest_is_kept_and_only_a_tie_is_noted(lake: Lake, tmp_path: Path) -> None:
    door = Door(lake, tmp_path / "landing", "users")

    def user(name: str, hour: int, occupation: str) -> dict[str, str]:
        return complete("users") | {
            "user_id": name,
            "updated_at": f"2026-07-01T{hour:02}:00:00Z",
            "occupation": occupation,
        }

    rows = [user("u1", 9, "new"), user("u1", 8, "old"), user("u2", 8, "first"), user("u2", 8, "second")]
    door.put("users.csv", as_csv(rows, [*rows[0]]))
    found = door.load()
    assert dict(found.rows.select("user_id", "occupation").iter_rows()) == {"u1": "new", "u2": "second"}
    assert found.line["note"].endswith("keys delivered with different contents: 1; the last of each was kept.")


def test_a_corrected_file_replaces_its_day_and_no_other(stored_door: Door) -> None:
    other = DAY + timedelta(days=1)
    stored_door.put("views.csv", as_csv([view("v1"), view("wrong")]))
    stored_door.put("views.csv", as_csv([view("v9", viewed_at=f"{other}T08:00:00Z")]), day=other)
    before = stored_door.load(DAY, other)
    stored_door.put("views.csv", as_csv([view("v1", dwell_seconds="31")]))
    after = stored_door.load(DAY)
    assert before.ids == ["v1", "v9", "wrong"]
    assert after.rows.select("view_id", "dwell_seconds").rows() == [("v1", 31)]
    assert stored_door.rows(other)["view_id"].to_list() == ["v9"]
    assert after.line["sha256"] != before.ledger["views.csv"]["sha256"]


def test_the_same_load_again_changes_no_row(door: Door) -> None:
    door.put("views.csv", as_csv([view("v1"), view("v2", dwell_seconds="x")]))
    first, second = door.load(), door.load()
    assert first.rows.equals(second.rows)
    assert first.quarantine.equals(second.quarantine)
    assert first.ledger == second.ledger


def test_a_deleted_landing_file_leaves_its_rows_standing(stored_door: Door) -> None:
    path = stored_door.put("views.csv", as_csv([view("v1")]))
    stored_door.load()
    path.unlink()
    found = stored_door.load()
    assert found.load.written is None
    assert found.load.ledger.is_empty()
    assert found.ids == ["v1"]
    assert found.line["rows_loaded"] == 1


def test_a_partner_that_cleared_its_folder_keeps_its_rows_when_the_other_corrects_its_own(
    stored_lake: Lake, tmp_path: Path
) -> None:
    door = Door(stored_lake, tmp_path / "landing", "consents")
    row = complete("consents")
    for partner in ("course_platform", "insurer"):
        door.put("consents.csv", as_csv([row | {"consent_id": partner}], [*row]), partner=partner)
    both = door.load()
    next((door.landing / "insurer").rglob("*.csv")).unlink()
    door.put("consents.csv", as_csv([row | {"consent_id": "corrected"}], [*row]))
    found = door.load()
    assert sorted(both.rows["consent_id"]) == ["course_platform", "insurer"]
    assert found.rows.select("partner", "consent_id").rows() == [
        ("course_platform", "corrected"),
        ("insurer", "insurer"),
    ]
    assert both.load.written is not None
    assert both.load.written.row_count == 2


def test_the_same_key_of_two_partners_is_two_rows(lake: Lake, tmp_path: Path) -> None:
    door = Door(lake, tmp_path / "landing", "consents")
    row = complete("consents")
    for partner in ("course_platform", "insurer"):
        door.put("consents.csv", as_csv([row], [*row]), partner=partner)
    assert door.load().rows["partner"].to_list() == ["course_platform", "insurer"]


@dataclass
class Oracle:
    """The rules of loading in plain Python, for rows of small integers."""

    loaded: dict[str, tuple[str, int, str]]  # key → file, row, dwell
    counts: dict[str, tuple[int, int, int, int]]  # file → in, loaded, quarantined, duplicate
    disputed: dict[str, int]  # file → keys with different contents


def predict(files: Mapping[str, Sequence[tuple[str, str]]]) -> Oracle:
    """What loading (key, dwell) rows must give: in order of file names, the last good row of a key is kept."""
    loaded: dict[str, tuple[str, int, str]] = {}
    contents, seen_in = defaultdict(set), defaultdict(set)
    for name in sorted(files):
        for number, (key, dwell) in enumerate(files[name], start=1):
            if dwell.isdigit():
                loaded[key] = (name, number, dwell)
                contents[key].add(dwell)
                seen_in[key].add(name)
    counts = {}
    for name, rows in files.items():
        kept = sum(place[0] == name for place in loaded.values())
        refused = sum(not dwell.isdigit() for _, dwell in rows)
        counts[name] = (len(rows), kept, refused, len(rows) - kept - refused)
    disputed = {name: sum(len(contents[k]) > 1 for k in contents if name in seen_in[k]) for name in files}
    return Oracle(loaded, counts, disputed)


SOME_ROWS = st.lists(
    st.tuples(st.sampled_from([f"v{i}" for i in range(8)]), st.sampled_from(["1", "2", "-1", "x", ""])),
    min_size=1,
    max_size=15,
)


@EXAMPLES
@given(files=st.dictionaries(st.sampled_from([f"{n}.{kind}" for n in "ab" for kind in KINDS]), SOME_ROWS, min_size=1))
def test_any_mix_of_good_bad_and_repeated_rows_is_loaded_as_plain_python_says(
    tmp_path: Path, files: dict[str, list[tuple[str, str]]]
) -> None:
    door = fresh_door(tmp_path)
    for name, rows in files.items():
        door.put(name, written(name.split(".", 1)[1], [view(key, dwell_seconds=dwell) for key, dwell in rows]))
    found, expected = door.load(), predict(files)
    loaded = {
        row["view_id"]: (row["source_file"].rsplit("/", 1)[1], row["source_row"], str(row["dwell_seconds"]))
        for row in found.rows.iter_rows(named=True)
    }
    assert loaded == expected.loaded
    counted = {
        name: (line["rows_in"], line["rows_loaded"], line["rows_quarantined"], line["rows_duplicate"])
        for name, line in found.ledger.items()
    }
    assert counted == expected.counts
    for name, disputed in expected.disputed.items():
        said = f"keys delivered with different contents: {disputed}; the last of each was kept."
        assert found.ledger[name]["note"] == (said if disputed else "")


def test_a_feed_without_files_gets_an_empty_table_with_the_columns_of_its_contract(lake: Lake) -> None:
    with lake.session() as session:
        empty_feed(session, contracts()["claims"])
        columns = session.columns("new_rows")
        rows = session.read("select * from new_rows")
    assert rows.is_empty()
    assert list(columns) == [
        *("partner", "dt", *contracts()["claims"].column_names, "source_file", "source_row", "loaded_at")
    ]
    assert (columns["claimed_fen"], columns["claimed_at"], columns["source_row"]) == ("BIGINT", "TIMESTAMP", "BIGINT")


def test_a_feed_may_name_its_columns_as_the_loader_might_name_its_own(lake: Lake, tmp_path: Path) -> None:
    words = [
        "reason",
        "line",
        "position",
        "content",
        "place",
        "path",
        "record",
        "raw_text",
        "filename",
        "lines",
        "i",
        "m",
    ]
    named = [ContractColumn(word, "string", word, is_required=True) for word in words]
    feed = replace(contracts()["claims"], columns=(*contracts()["claims"].columns, *named))
    good = {"claim_id": "a", "policy_id": "p", "customer_id": "c", "claimed_at": f"{DAY}", "claimed_fen": "1"}
    good |= {"status": "open", **{word: word for word in words}}
    folder = tmp_path / "insurer" / "claims" / f"dt={DAY}"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text(as_csv([good, {**good, "claim_id": "b", "line": ""}], [*good]) + "x,y\n")
    (folder / "b.jsonl").write_text(as_jsonl([{**good, "claim_id": "c"}]))
    files = take_inventory(tmp_path, contracts()).files
    with lake.session() as session:
        ledger = load_feed(session, feed, files, run_id="run", loaded_at=NOW).ledger
        rows = session.read("select * from new_rows order by claim_id")
    assert rows.select("claim_id", *words).rows() == [("a", *words), ("c", *words)]
    assert ledger["rows_quarantined"].to_list() == [2, 0]
