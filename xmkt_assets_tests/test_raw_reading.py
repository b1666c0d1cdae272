"""Reading text files as firms deliver them: encodings, delimiters, line ends, strict values, physical lines, masks."""

import codecs
import gzip
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmkt_assets.contracts import contracts
from xmkt_assets.raw import holding
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import load_feed
from xmkt_assets.raw.text_files import look_through
from xmkt_assets.raw.values import masked
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.test_raw_load import (
    DAY,
    EXAMPLES,
    NOW,
    VIEW,
    Door,
    MemoryLake,
    as_csv,
    as_jsonl,
    as_parquet,
    view,
)

_folders = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def no_day_is_held_back() -> Iterator[None]:
    """What is read is asked here; how many refused rows hold a day back is asked elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holding, "MIN_REFUSED_ROWS", 1_000_000)
        yield


@pytest.fixture
def drop(tmp_path: Path) -> Door:
    return drop_of(tmp_path)


def drop_of(tmp_path: Path, feed: str = "course_views", partner: str = "course_platform") -> Door:
    """A door and a lake of its own: a file of which no row can be used keeps what it brought before."""
    folder = tmp_path / f"door{next(_folders)}"
    return Door(MemoryLake(folder / "home"), folder / "landing", feed, partner)


# --- encodings -------------------------------------------------------------------------------------------------------

CHINESE = [view("v1", user_id="张三"), view("v2", user_id="李四，“课程”|；"), view("v3")]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("gbk", "was read as GB18030 (GBK)."),
        ("gb18030", "was read as GB18030 (GBK)."),
        ("utf-16", "was read as UTF-16."),
    ],
)
def test_chinese_text_is_the_same_in_every_encoding(drop: Door, encoding: str, said: str, packed: bool) -> None:
    content = as_csv(CHINESE).encode(encoding)
    drop.put("views.csv.gz" if packed else "views.csv", gzip.compress(content, mtime=0) if packed else content)
    found = drop.load()
    expected = [(row["view_id"], row["user_id"]) for row in CHINESE]
    assert found.rows.select("view_id", "user_id").rows() == expected
    assert (found.line["status"], found.line["note"]) == ("loaded", said)


def test_a_utf_8_file_with_a_broken_line_is_not_read_as_gb18030(drop: Door) -> None:
    """All of its bytes are GB18030, as text nobody wrote: the even number of bytes of two Chinese characters is."""
    lines = as_csv([view(f"v{i}", user_id="课程") for i in range(3)]).encode().split(b"\n")
    lines[2] = lines[2].replace("课程".encode(), "课程".encode()[:4])
    lines[2].decode("gb18030")  # or the test would show nothing
    drop.put("views.csv", b"\n".join(lines))
    found = drop.load()
    assert found.rows.select("view_id", "user_id").rows() == [("v0", "课程"), ("v2", "课程")]
    assert "neither UTF-8 nor GB18030 throughout" in found.line["note"]


def test_bytes_of_no_encoding_are_told_by_place_and_keep_no_other_line_out(drop: Door) -> None:
    content = as_csv([view("v1"), view("v2", user_id="x")]).encode().replace(b",x,", b",\xff,")
    drop.put("views.csv", content)
    found = drop.load()
    assert found.ids == ["v1"]
    place = content.index(b"\xff") + 1
    assert f"first at byte {place} of the file, in line 3" in found.line["note"]
    row = found.quarantine.row(0, named=True)
    assert (row["source_row"], row["source_line"]) == (2, 3)
    assert row["next_step"] == "Write the file in UTF-8 throughout and deliver it again."


def test_a_character_is_not_cut_where_the_reader_takes_a_breath(tmp_path: Path) -> None:
    for before in range(4):
        path = tmp_path / f"{before}.csv"
        path.write_bytes(b"x" * ((1 << 20) - before) + "课\r\n😀".encode() * 3)
        look = look_through(path)
        assert (look.encoding, look.fault, look.lines, look.has_mixed_line_ends) == ("utf-8", "", 4, False)


def test_the_copy_of_a_file_in_another_encoding_is_not_kept(
    drop: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    drop.put("views.csv", as_csv(CHINESE).encode("gbk"))
    assert drop.load().ids == ["v1", "v2", "v3"]
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (codecs.BOM_UTF8, "empty"),
        (codecs.BOM_UTF8 + b"\r\n\n", "empty"),
        (codecs.BOM_UTF16_LE, "empty"),
        ("\u3000\n".encode(), "empty"),
        ("\u3000\n".encode() + as_csv([view("v1")]).encode(), "unreadable"),
        (codecs.BOM_UTF16_LE + b"a", "unreadable"),
    ],
)
def test_a_file_without_a_header_is_told_from_an_empty_one(drop: Door, content: bytes, status: str) -> None:
    drop.put("views.csv", content)
    assert drop.load().line["status"] == status


# --- delimiters and line ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("a.csv", ","), ("a.csv", "\t"), ("a.csv", ";"), ("a.csv.gz", "|"), ("a.tsv", "\t"), ("a.tsv.gz", ",")],
)
def test_the_delimiter_is_told_by_the_names_of_the_header(drop: Door, name: str, delimiter: str) -> None:
    rows = [view("v1", user_id="a,b;c|d\te"), view("v2", user_id="line one\nline two"), view("v3", dwell_seconds="x")]
    content = as_csv(rows, delimiter=delimiter).encode()
    drop.put(name, gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    found = drop.load()
    assert found.rows["user_id"].to_list() == ["a,b;c|d\te", "line one\nline two"]
    assert found.quarantine.select("source_row", "source_line").rows() == [(3, 5)]


def test_files_with_different_delimiters_are_loaded_together(drop: Door) -> None:
    for i, delimiter in enumerate(",\t;|"):
        drop.put(f"{i}.csv", as_csv([view(f"v{i}")], delimiter=delimiter))
    assert drop.load().ids == ["v0", "v1", "v2", "v3"]


RECORD = st.tuples(
    st.sampled_from(["u1", "a\nb", "a\r\nb", 'say ""x""', "", "x\ry"]),
    st.sampled_from(["30", "lots"]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(0, 2),
)


@EXAMPLES
@given(records=st.lists(RECORD, min_size=1, max_size=12), is_packed=st.booleans())
def test_mixed_line_ends_split_no_value_and_lose_no_row(
    tmp_path: Path, records: list[tuple[str, str, str, int]], is_packed: bool
) -> None:
    """The expected lines are counted while the file is written; empty lines stand between the rows."""
    text, line, expected, refused = ",".join(VIEW) + "\n", 2, {}, {}
    for i, (user, dwell, end, empty) in enumerate(records):
        text += f'v{i},"{user}",c1,2026-07-01T08:30:00Z,{dwell},search{end}{end * empty}'
        if dwell == "30" and user:
            expected[f"v{i}"] = user.replace('""', '"')
        else:
            refused[i + 1] = line
        line += 1 + len(user.splitlines()[1:]) + empty
    drop = drop_of(tmp_path)
    content = text.encode()
    drop.put("views.csv.gz" if is_packed else "views.csv", gzip.compress(content, mtime=0) if is_packed else content)
    found = drop.load()
    assert dict(found.rows.select("view_id", "user_id").iter_rows()) == expected
    assert dict(found.quarantine.select("source_row", "source_line").iter_rows()) == refused


@EXAMPLES
@given(
    kinds=st.lists(st.sampled_from(["good", "lots", "two lines", "short", "open quote", "empty"]), min_size=1),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_every_refused_row_is_found_in_the_line_where_it_begins(tmp_path: Path, kinds: list[str], end: str) -> None:
    drop = drop_of(tmp_path)
    records = {
        "good": "{id},u1,c1,2026-07-01T08:30:00Z,30,search",
        "lots": "{id},u1,c1,2026-07-01T08:30:00Z,lots,search",
        "two lines": '{id},"u' + end + '1",c1,2026-07-01T08:30:00Z,lots,search',
        "short": "{id},u1",
        "open quote": '{id},"u1"x,c1,2026-07-01T08:30:00Z,30,search',
        "empty": "",
    }
    lines = [records[kind].format(id=f"v{i}") for i, kind in enumerate(kinds)]
    content = end.join([",".join(VIEW), *lines, ""])
    drop.put("views.csv", content)
    found = drop.load()
    physical = content.split(end)
    for row in found.quarantine.iter_rows(named=True):
        name = f"v{[i for i, kind in enumerate(kinds) if kind != 'empty'][row['source_row'] - 1]},"
        assert physical[row["source_line"] - 1].startswith(name)
    assert found.quarantine.height == sum(kind not in ("good", "empty") for kind in kinds)


def test_lines_swallowed_by_an_open_quote_have_lines_of_their_own(drop: Door) -> None:
    lines = as_csv([view(f"v{i}") for i in range(1, 8)]).splitlines()
    lines[3] = lines[3].replace("u1", '"u1', 1)
    lines[5] = lines[5].replace("c1", '"c1"', 1)
    lines[7] = lines[7].replace("30", "lots", 1)
    drop.put("views.csv", "\n".join([lines[0], "", *lines[1:], ""]))
    quarantine = drop.load().quarantine
    assert quarantine.select("source_row", "source_line").rows() == [(3, 5), (4, 6), (5, 7), (7, 9)]


def test_a_row_of_json_lines_is_found_by_its_line_and_a_row_of_parquet_has_none(drop: Door) -> None:
    rows = [view("v1"), view("v2", dwell_seconds="x")]
    drop.put("a.jsonl", "\n\n" + as_jsonl(rows))
    drop.put("b.parquet", as_parquet(pl.DataFrame([view("v3", dwell_seconds="x")])))
    found = drop.load().quarantine.sort("source_file")
    assert found.select("source_row", "source_line").rows() == [(2, 4), (1, None)]


def test_rows_keep_their_place_where_several_cores_read(tmp_path: Path) -> None:
    """Enough bytes for DuckDB to share the file among its threads; the row's number is part of its key."""
    path = tmp_path / "landing" / "course_platform" / "course_views" / f"dt={DAY}" / "views.csv"
    path.parent.mkdir(parents=True)
    row = "'v' || i as view_id, repeat('u', 60) as user_id, 'c' as course_id, '2026-07-01 08:00:00' as viewed_at"
    rows = duckdb.sql(f"select {row}, '30' as dwell_seconds, 'search' as source from range(1, 300001) as r(i)")
    rows.write_csv(str(path), header=True)
    files = take_inventory(tmp_path / "landing", contracts()).files
    with Lake(tmp_path / "home", threads=4).session() as session:
        load_feed(session, contracts()["course_views"], files, run_id="run", loaded_at=NOW)
        query = "select count(*) as n, bool_and(view_id = 'v' || source_row) as agrees from raw.course_views"
        assert session.read(query).row(0) == (300_000, True)


# --- JSON lines ------------------------------------------------------------------------------------------------------


def test_an_undeclared_field_is_found_in_the_last_of_many_lines(drop: Door) -> None:
    rows = [view(f"v{i}") for i in range(1500)] + [{**view("last"), "phone": "x"}]
    drop.put("views.jsonl.gz", gzip.compress(as_jsonl(rows).encode(), mtime=0))
    found = drop.load()
    assert found.line["note"] == "brings undeclared columns phone, which were not loaded."
    assert found.line["rows_loaded"] == 1501


def test_a_nested_value_is_told_and_a_text_in_brackets_is_none(drop: Door) -> None:
    rows = [{**view("v1"), "user_id": {"id": 1}}, {**view("v2"), "user_id": [1]}, {**view("v3"), "user_id": "[1]"}]
    drop.put("views.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = drop.load()
    assert found.ids == ["v3"]
    assert set(found.reasons().values()) == {"user_id: found a nested value, wanted one plain value"}


def test_nested_values_of_a_parquet_file_are_told(drop: Door) -> None:
    drop.put("views.parquet", as_parquet(pl.DataFrame([{**view("v1"), "user_id": ["a", "b"]}])))
    found = drop.load()
    assert found.reasons() == {1: "the file holds nested values in column user_id; wanted one value per row"}


# --- strict values ---------------------------------------------------------------------------------------------------

CLAIM = {"claim_id": "k", "policy_id": "p", "customer_id": "c", "claimed_at": f"{DAY}", "status": "open"}
AMOUNTS = {
    "199.00": " of fen; a decimal point looks like yuan, times 100 gives fen",
    "199.": " of fen; a decimal point looks like yuan, times 100 gives fen",
    "1,999": " without thousands separators",
    "12,345,678": " without thousands separators",
    "1 999": " without thousands separators",
    "1_999": " without thousands separators",
    "１９９": " in half-width characters (0-9), without full-width ones",
    "1，999": " in half-width characters (0-9), without full-width ones",
    "0x1F": "",
    "1e3": "",
    "19.5.3": "",
}


def test_an_amount_of_fen_is_a_plain_whole_number(tmp_path: Path) -> None:
    drop = drop_of(tmp_path, "claims", "insurer")
    rows = [{**CLAIM, "claim_id": f"k{i}", "claimed_fen": text} for i, text in enumerate([*AMOUNTS, "007", "+5", "0"])]
    drop.put("claims.csv", as_csv(rows, [*rows[0]]))
    found = drop.load()
    wanted = {f"claimed_fen: found '{text}', wanted a whole number{hint}" for text, hint in AMOUNTS.items()}
    assert set(found.reasons().values()) == wanted
    assert found.rows["claimed_fen"].to_list() == [7, 5, 0]


@pytest.mark.parametrize("text", ["1_0", "1,000", "３０", "0x1e"])
def test_a_number_is_written_in_plain_digits(drop: Door, text: str) -> None:
    drop.put("views.csv", as_csv([view("v1", dwell_seconds=text)]))
    assert drop.load().line["rows_quarantined"] == 1


CONTROLS = ["\0", "\x01", "\x07", "\x0b", "\x0e", "\x1b", "\x1f", "\x7f", "\x80", "\x85"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_text_with_control_characters_is_refused(drop: Door, kind: str) -> None:
    rows = [view(f"v{i}", user_id=f"u{character}1") for i, character in enumerate(CONTROLS)]
    rows += [view("good", user_id="a\tb"), view("last", dwell_seconds="3\0")]
    content = {"csv": as_csv(rows).encode(), "jsonl": as_jsonl(rows).encode()}
    drop.put(f"views.{kind}", content[kind] if kind in content else as_parquet(pl.DataFrame(rows)))
    found = drop.load()
    assert found.ids == ["good"]
    said = "user_id: found control characters (such as NUL), wanted text without them"
    expected = dict.fromkeys(range(1, len(CONTROLS) + 1), said)
    assert found.reasons() == {**expected, len(rows): "dwell_seconds: found '3?', wanted a whole number"}


BLANKS = [" ", "\t", "\u3000", "\u00a0", "\u200b", "\ufeff", " \u3000\t"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("blanks", [BLANKS[:1], BLANKS[:2], BLANKS])
def test_what_looks_empty_is_empty_and_what_looks_trimmed_is_trimmed(drop: Door, kind: str, blanks: list[str]) -> None:
    rows = []
    for blank in blanks:
        rows += [view(source=blank), view(source=f"{blank}search{blank}"), view(user_id=f"a{blank}b")]
    rows = [{**row, "view_id": f"v{i:02}"} for i, row in enumerate(rows)]
    content = {"csv": as_csv(rows), "jsonl": as_jsonl(rows)}
    drop.put(f"views.{kind}", content[kind] if kind in content else as_parquet(pl.DataFrame(rows)))
    expected = [pair for blank in blanks for pair in [(None, "u1"), ("search", "u1"), ("search", f"a{blank}b")]]
    assert drop.load().rows.select("source", "user_id").rows() == expected


def test_line_ends_within_quotes_are_trimmed_too(drop: Door) -> None:
    drop.put("views.csv", as_csv([view("v1", user_id="\nu1\r\n", source=" \n")]))
    assert drop.load().rows.select("user_id", "source").rows() == [("u1", None)]


@EXAMPLES
@given(
    moments=st.lists(
        st.tuples(
            st.datetimes(datetime(2026, 7, 1), datetime(2026, 7, 1, 23, 59, 59)),
            st.sampled_from([None, 0, 8, -5, 5.5]),
            st.sampled_from(["T", " "]),
            st.sampled_from(["seconds", "microseconds"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_a_time_without_a_zone_is_utc_and_an_offset_is_converted(
    tmp_path: Path, moments: list[tuple[datetime, float | None, str, str]]
) -> None:
    """Python's own reading of ISO times is the oracle."""
    texts = []
    for moment, hours, separator, precision in moments:
        zone = None if hours is None else timezone(timedelta(hours=hours))
        local = moment if zone is None else moment.replace(tzinfo=UTC).astimezone(zone)
        text = local.isoformat(separator, precision)
        texts.append(text.replace("+00:00", "Z"))
    parsed = [datetime.fromisoformat(text) for text in texts]
    expected = [t if t.tzinfo is None else t.astimezone(UTC).replace(tzinfo=None) for t in parsed]
    drop = drop_of(tmp_path)
    drop.put("views.csv", as_csv([view(f"v{i:02}", viewed_at=text) for i, text in enumerate(texts)]))
    assert drop.load().rows["viewed_at"].to_list() == expected


# --- what quarantine says --------------------------------------------------------------------------------------------


def test_quarantine_names_the_first_column_at_fault_and_what_to_do(drop: Door) -> None:
    rows = [view("v1", user_id="", source="tv"), view("v2", viewed_at="2026-07-02T00:00:00Z"), view("v3", source="tv")]
    drop.put("views.csv", as_csv(rows) + "v4,u1\n")
    found = drop.load().quarantine
    assert found.select("source_row", "column_name", "next_step").rows() == [
        (1, "user_id", "Fill in the value at its source, or leave the row out; deliver again."),
        (2, "viewed_at", "Deliver the row in a file of the folder that is named."),
        (3, "source", "Correct the value at its source and deliver the file again."),
        (4, None, "Mend the line (its quotes and number of values) and deliver the file again."),
    ]


def test_a_contact_in_a_refused_value_or_line_is_shown_nowhere(drop: Door) -> None:
    rows = [view("v1", dwell_seconds="13812345678"), view("v2", source="a.b@mail.example")]
    drop.put("views.csv", as_csv(rows) + "v3,13812345678\n")
    found = drop.load()
    stored = str(found.quarantine.to_dicts()) + str(found.ledger)
    assert found.quarantine.height == 3
    assert "13812345678" not in stored
    assert "mail.example" not in stored
    assert json.loads(found.quarantine["raw_text"][0])["dwell_seconds"] == "[phone]"


# --- contacts in free text -------------------------------------------------------------------------------------------

MASKED = {
    "call 13812345678": "call [phone]",
    "电话13812345678，谢谢": "电话[phone]，谢谢",
    "138 1234 5678 or 138-1234-5678": "[phone] or [phone]",
    "+8613812345678": "[phone]",
    "(+86) 138 1234 5678": "[phone]",
    "0086-13812345678": "[phone]",
    "１３８１２３４５６７８": "[phone]",
    "13812345678,13912345678 15012345678": "[phone],[phone] [phone]",
    "write a.b+c@mail.example.cn!": "write [e-mail]!",
    "13812345678@qq.com": "[e-mail]",
    "ID 11010519491231002X": "ID [id number]",
    "身份证110105194912310021。": "身份证[id number]。",
    "110105 19491231 0021": "[id number]",
    "order 20260701123456789012 is late": "order 20260701123456789012 is late",
    "pages 12345678901": "pages 12345678901",
    "1782000000000 ms": "1782000000000 ms",
    "meet @ noon": "meet @ noon",
    "讲得好": "讲得好",
    "": "",
}


@pytest.mark.parametrize("text", MASKED)
def test_phone_numbers_addresses_and_id_numbers_are_masked(text: str) -> None:
    query = f"select {masked('t')} from (select $text as t)"
    assert duckdb.connect().execute(query, {"text": text}).fetchone() == (MASKED[text],)


def test_contacts_in_free_text_are_masked_and_counted_and_other_columns_are_left_alone(tmp_path: Path) -> None:
    drop = drop_of(tmp_path, "course_reviews")
    base = {"user_id": "u1", "course_id": "13812345678", "reviewed_at": f"{DAY}", "rating": "5"}
    texts = ["good", "call 13812345678", "a@b.example or 13812345678", None]
    rows = [{"review_id": f"r{i}", **base, "review_text": text} for i, text in enumerate(texts)]
    rows.append({**rows[1], "review_id": "r9", "rating": "9"})
    drop.put("reviews.csv", as_csv(rows, [*rows[0]]))
    found = drop.load()
    assert found.rows["review_text"].to_list() == ["good", "call [phone]", "[e-mail] or [phone]", None]
    assert set(found.rows["course_id"]) == {"13812345678"}
    assert json.loads(found.quarantine["raw_text"][0])["review_text"] == "call [phone]"
    said = "free texts in which a phone number, e-mail address or ID number was masked: 3."
    assert found.line["note"] == said


# --- earlier versions ------------------------------------------------------------------------------------------------


def test_a_file_of_an_earlier_version_loads_as_todays_rows(tmp_path: Path) -> None:
    """Orders of version 1.0.0 came in yuan, with other words for the status."""
    drop = drop_of(tmp_path, "course_orders")
    columns = contracts()["course_orders"].columns
    plain = {"string": "x", "integer": "1", "number": "1", "boolean": "true", "timestamp": f"{DAY}", "date": f"{DAY}"}
    row = {c.name: (c.valid_values or (plain[c.logical_type],))[0] for c in columns}
    old = {"paid_yuan" if name == "paid_fen" else name: value for name, value in row.items()}
    old |= {"paid_yuan": "199.90", "status": "success"}
    drop.put("orders.csv", as_csv([old], [*old]))
    found = drop.load()
    assert found.line["contract_version"] == "1.0.0"
    assert found.rows.select("paid_fen", "status").rows() == [(19990, "paid")]


def test_the_same_keys_on_every_day_are_no_repeats_of_one_another(drop: Door) -> None:
    """Of two days of one file each with the same keys nothing is a duplicate, and a real one of either day is."""
    later = DAY + timedelta(days=1)
    drop.put("views.csv", as_csv([view("v1"), view("v2"), view("v1")]))
    drop.put("views.csv", as_csv([view(f"v{i}", viewed_at=f"{later}T08:00:00Z") for i in (1, 2)]), day=later)
    load = drop.load(DAY, later).load  # the ledger by file name would know one of the two
    rows = drop.rows(DAY, later)
    assert rows.select("dt", "view_id").rows() == [(DAY, "v2"), (DAY, "v1"), (later, "v1"), (later, "v2")]
    assert load.ledger.sort("dt")["rows_duplicate"].to_list() == [1, 0]


def test_a_contract_may_refuse_a_file_with_undeclared_columns(drop: Door) -> None:
    strict = replace(contracts()["course_views"], undeclared_columns="refuse")
    drop.put("views.csv", as_csv([{**view("v1"), "extra": "x"}], (*VIEW, "extra")))
    files = take_inventory(drop.landing, contracts()).files
    with drop.lake.session() as session:
        line = load_feed(session, strict, files, run_id="run", loaded_at=NOW).ledger.row(0, named=True)
        reasons = session.read("select reason from new_quarantine")["reason"].to_list()
    assert (line["status"], line["rows_quarantined"]) == ("rejected", 1)
    assert reasons == [f"the file brings undeclared columns extra; wanted {', '.join(VIEW)}"]
