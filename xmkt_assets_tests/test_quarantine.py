"""Quarantine: too many refused rows hold a day back, useless files keep what was there, mended rows come in."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmkt_assets import console, quarantine
from xmkt_assets.automation.jobs import LOAD
from xmkt_assets.contracts import Contract, contracts
from xmkt_assets.erasure.requests import Account
from xmkt_assets.erasure.suppression import REASON as ERASED
from xmkt_assets.erasure.suppression import suppress
from xmkt_assets.raw.fixes import (
    FIXES,
    FixError,
    judge_sheet,
    open_rows,
    sheets_folder,
    take_over,
    waiting_sheets,
    write_sheet,
)
from xmkt_assets.raw.holding import HELD, MIN_REFUSED_ROWS
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import load_feed
from xmkt_assets.spreadsheet import FORMULA_SIGNS, spreadsheet_safe, spreadsheet_text
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.platform_helper import Platform, checks, metadata, new_platform

DAY = date(2026, 7, 1)
NOW = datetime(2026, 7, 3)
HEADER = "view_id,user_id,course_id,viewed_at,dwell_seconds,source"
VIEWS = contracts()["course_views"]


def rows(names: Sequence[str], *, dwell: str = "60") -> str:
    return "".join(f"{name},u1,c1,2026-07-01 10:00:00,{dwell},search\n" for name in names)


@dataclass
class Door:
    """A landing folder before a lake."""

    home: Path
    contract: Contract = VIEWS

    def put(self, text: str, *, name: str = "a.csv", day: date = DAY) -> Path:
        path = self.home / "landing" / "course_platform" / "course_views" / f"dt={day}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEADER}\n{text}", encoding="utf-8")
        return path

    def load(self) -> dict[str, dict[str, Any]]:
        """Ledger line by file name, after a load that adds up."""
        files = take_inventory(self.home / "landing", contracts(), only_feed="course_views").files
        with Lake(self.home).session() as session:
            ledger = load_feed(session, self.contract, files, run_id="r", loaded_at=NOW).ledger
        for line in ledger.iter_rows(named=True):
            if line["rows_in"] is not None:
                assert line["rows_in"] == line["rows_loaded"] + line["rows_quarantined"] + line["rows_duplicate"]
        return {Path(line["source_file"]).name: line for line in ledger.iter_rows(named=True)}

    def read(self, query: str) -> list[Any]:
        return Lake(self.home).read(query).rows()

    def ids(self) -> list[str]:
        return [view_id for (view_id,) in self.read("select view_id from raw.course_views order by view_id")]

    def sheet(self, **mended: str) -> Path:
        """A sheet of all open rows; `mended` maps the view_id to its new dwell_seconds, or to 'given up'."""
        path = self.home / "sheet.csv"
        with Lake(self.home).session() as session:
            write_sheet(session, self.contract, path)
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = list(csv.DictReader(handle))
        for line in lines:
            value = mended.get(line["view_id"])
            line["decision"] = "" if value is None else "given up" if value == "given up" else "fixed"
            if value not in (None, "given up"):
                line["dwell_seconds"] = str(value)
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        return path

    def replay(self, sheet: Path) -> dict[str, dict[str, Any]]:
        with Lake(self.home).session() as session:
            folder = sheets_folder(self.home) / "wang"
            folder.mkdir(parents=True, exist_ok=True)
            sheet.rename(folder / "sheet.csv")
            (taken,) = take_over(session, contracts(), waiting_sheets(self.home), run_id="r2", decided_at=NOW)
        assert not taken.refused
        return self.load()


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


# ── holding a day back ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_day_with_too_many_refused_rows_is_held_back_and_the_lake_keeps_the_day_as_it_was(door: Door) -> None:
    door.put(rows(["old1", "old2"]))
    door.load()
    door.put(rows([f"n{i}" for i in range(10)]) + rows([f"b{i}" for i in range(MIN_REFUSED_ROWS)], dwell="long"))
    line = door.load()["a.csv"]
    assert (line["status"], line["rows_in"], line["rows_loaded"], line["rows_quarantined"]) == (HELD, 15, 0, 15)
    assert "5 of 15 rows (33.3%) were refused, at most 20.0% may be" in line["note"]
    assert door.ids() == ["old1", "old2"]
    assert door.read("select count(*) filter (where reason like 'held back%'), count(*) from raw.quarantine") == [
        (10, 15)
    ]


def test_a_share_at_the_limit_is_loaded(door: Door) -> None:
    door.put(rows([f"n{i}" for i in range(20)]) + rows([f"b{i}" for i in range(5)], dwell="long"))
    line = door.load()["a.csv"]
    assert (line["status"], line["rows_loaded"], line["rows_quarantined"]) == ("partly quarantined", 20, 5)


def test_a_few_bad_rows_of_a_tiny_file_hold_nothing_back(door: Door) -> None:
    door.put(rows(["n1"]) + rows(["b1", "b2"], dwell="long"))
    assert door.load()["a.csv"]["rows_loaded"] == 1


def test_only_the_day_concerned_is_held_back(door: Door) -> None:
    door.put(rows([f"b{i}" for i in range(6)], dwell="long") + rows(["n1"]))
    other = date(2026, 7, 2)
    door.put("m1,u1,c1,2026-07-02 10:00:00,60,search\n", name="b.csv", day=other)
    lines = door.load()
    assert (lines["a.csv"]["status"], lines["b.csv"]["status"]) == (HELD, "loaded")
    assert door.ids() == ["m1"]


def test_refused_rows_are_counted_once_whatever_the_number_of_files(door: Door) -> None:
    for number in range(4):
        name = f"f{number}.csv"
        door.put(rows([f"n{number}{i}" for i in range(8)]) + rows([f"b{number}a"], dwell="long"), name=name)
    assert {line["status"] for line in door.load().values()} == {"partly quarantined"}


def test_the_limit_is_the_contracts(door: Door) -> None:
    door.contract = replace(VIEWS, max_refused_share=0.9)
    door.put(rows(["n1"]) + rows([f"b{i}" for i in range(6)], dwell="long"))
    assert door.load()["a.csv"]["rows_loaded"] == 1


def test_an_accepted_delivery_releases_the_day(door: Door) -> None:
    door.put(rows(["n1"]) + rows([f"b{i}" for i in range(6)], dwell="long"))
    door.load()
    door.put(rows(["n1", "n2"]))
    assert door.load()["a.csv"]["status"] == "loaded"
    assert door.ids() == ["n1", "n2"]
    assert door.read("select count(*) from raw.quarantine") == [(0,)]


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 no csv at all\0\0", b"user_id,course_id\nu1,c1\n"], ids=["unreadable", "rejected"]
)
def test_a_useless_file_keeps_the_rows_of_its_earlier_delivery(door: Door, content: bytes) -> None:
    path = door.put(rows(["v1", "v2"]))
    door.put(rows(["w1"]), name="b.csv")
    door.load()
    path.write_bytes(content)
    door.put(rows(["w1", "w2"]), name="b.csv")
    lines = door.load()
    assert (lines["a.csv"]["rows_loaded"], lines["a.csv"]["rows_kept"]) == (0, 2)
    assert "2 rows of its earlier delivery stay" in lines["a.csv"]["note"]
    assert door.ids() == ["v1", "v2", "w1", "w2"]


def test_a_row_that_moved_to_another_file_is_not_kept_twice(door: Door) -> None:
    path = door.put(rows(["v1", "v2"]))
    door.load()
    path.write_bytes(b"")
    path.write_text("user_id,course_id\nu1,c1\n", encoding="utf-8")
    door.put(rows(["v1"], dwell="90"), name="b.csv")
    door.load()
    assert door.read("select view_id, dwell_seconds from raw.course_views order by view_id") == [("v1", 90), ("v2", 60)]


@pytest.mark.parametrize("contact", ["13800138000", "+86 138-0013-8000", "wang@mail.example", "11010519491231002X"])
def test_a_contact_in_place_of_an_id_is_refused_and_never_stored(door: Door, contact: str) -> None:
    door.put(rows(["n1"]) + f"n2,{contact},c1,2026-07-01 10:00:00,60,search\n")
    assert door.load()["a.csv"]["rows_quarantined"] == 1
    ((reason, raw_text),) = door.read("select reason, raw_text from raw.quarantine")
    assert "user_id: found what looks like a phone, e-mail address or ID number (value not shown)" in reason
    assert contact not in raw_text


def test_a_number_that_is_no_contact_may_be_an_id(door: Door) -> None:
    door.put(
        "".join(
            f"n{i},{user},c1,2026-07-01 10:00:00,60,search\n" for i, user in enumerate(["7", "123456789012", "0138"])
        )
    )
    assert door.load()["a.csv"]["rows_loaded"] == 3


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_rows_of_many_files_keep_their_places_with_many_cores(door: Door, suffix: str) -> None:
    """More files than DuckDB reads side by side, each longer than the 2,048 rows it passes on at once."""
    columns = HEADER.split(",")
    for number in range(10):
        lines = [[f"v{number}_{i}", "u1", "c1", f"{DAY} 10:00:00", "60", "search"] for i in range(1, 2_101)]
        path = door.put("", name=f"{number:02}.{suffix}")
        frame = pl.DataFrame(lines, schema=columns, orient="row")
        frame.write_csv(path) if suffix == "csv" else frame.write_ndjson(path)
    files = take_inventory(door.home / "landing", contracts(), only_feed="course_views").files
    with Lake(door.home, threads=4).session() as session:
        load_feed(session, VIEWS, files, run_id="r", loaded_at=NOW)
    misplaced = "split_part(view_id, '_', 2)::bigint <> source_row or view_id not like 'v' || "
    misplaced += "regexp_extract(source_file, '([0-9]+)[.]', 1)::int || '\\_%' escape '\\'"
    assert door.read(f"select count(*), count(*) filter (where {misplaced}) from raw.course_views") == [(21_000, 0)]


# ── mending ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mended_row_is_loaded_in_its_place_and_leaves_quarantine(door: Door) -> None:
    door.put(rows(["n1"]) + rows(["b1"], dwell="soon"))
    door.load()
    line = door.replay(door.sheet(b1="75"))["a.csv"]
    assert (line["rows_loaded"], line["rows_quarantined"], line["status"]) == (2, 0, "loaded")
    assert "1 row was loaded as people mended it" in line["note"]
    assert door.read("select view_id, dwell_seconds, source_row from raw.course_views order by 1") == [
        ("b1", 75, 2),
        ("n1", 60, 1),
    ]
    assert door.read("select count(*) from raw.quarantine") == [(0,)]


def test_a_mended_row_is_judged_like_any_other(door: Door) -> None:
    door.put(rows(["n1"]) + rows(["b1"], dwell="soon"))
    door.load()
    line = door.replay(door.sheet(b1="-5"))["a.csv"]
    assert line["rows_quarantined"] == 1
    assert door.read("select reason from raw.quarantine") == [("dwell_seconds: found '-5', wanted at least 0",)]


def test_a_mended_row_may_turn_out_to_be_a_duplicate(door: Door) -> None:
    door.put(rows(["n1"]) + rows(["n1"], dwell="soon"))
    door.load()
    line = door.replay(door.sheet(n1="60"))["a.csv"]
    assert (line["rows_loaded"], line["rows_duplicate"], line["rows_quarantined"]) == (1, 1, 0)


def test_a_row_given_up_stays_out_and_no_longer_holds_its_day_back(door: Door) -> None:
    bad = [f"b{i}" for i in range(5)]
    door.put(rows(["n1", "n2"]) + rows(bad, dwell="soon"))
    assert door.load()["a.csv"]["status"] == HELD
    line = door.replay(door.sheet(**dict.fromkeys(bad, "given up")))["a.csv"]
    assert (line["status"], line["rows_loaded"], line["rows_quarantined"]) == ("partly quarantined", 2, 5)
    assert door.ids() == ["n1", "n2"]


def erase(door: Door, *subjects: str) -> None:
    accounts = [Account("course_platform", subject) for subject in subjects]
    with Lake(door.home).session() as session:
        suppress(session, door.home, accounts, request_id="e1", erased_at=NOW)


def row_of(view_id: str, user_id: str, dwell: str = "60") -> str:
    return f"{view_id},{user_id},c1,2026-07-01 10:00:00,{dwell},search\n"


def test_a_fix_lets_no_erased_person_back_in_and_keeps_nothing_of_them(door: Door) -> None:
    door.put(row_of("v1", "u1") + row_of("b1", "gone1", "long"))
    door.load()
    sheet = door.sheet(b1="30")
    erase(door, "gone1")
    line = door.replay(sheet)["a.csv"]
    assert (door.ids(), line["rows_quarantined"], line["note"]) == (["v1"], 1, "")
    assert door.read("select reason, raw_text from raw.quarantine") == [(ERASED, None)]


def test_rows_of_erased_people_cannot_be_mended_and_hold_no_day_back(door: Door) -> None:
    erase(door, "gone1")
    gone = "".join(row_of(f"g{i}", "gone1") for i in range(MIN_REFUSED_ROWS))
    door.put(row_of("v1", "u1") + gone)
    line = door.load()["a.csv"]
    assert (line["status"], line["rows_loaded"]) == ("partly quarantined", 1)
    with Lake(door.home).session() as session:
        assert open_rows(session).is_empty()


def test_fixes_hold_for_every_later_load_of_the_same_text_and_not_for_another(door: Door) -> None:
    door.put(rows(["b1"], dwell="soon"))
    door.load()
    door.replay(door.sheet(b1="75"))
    assert door.load()["a.csv"]["rows_loaded"] == 1
    door.put(rows(["b1"], dwell="later"))
    assert door.load()["a.csv"]["rows_quarantined"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision": "maybe"}, "decision is 'maybe'; wanted one of fixed, given up"),
        ({"decision": "fixed"}, "no value was changed"),
        ({"decision": "fixed", "source_row": "7"}, "row 7 of"),
        ({"decision": "fixed", "feed": "views"}, "feed is 'views', which has no contract"),
    ],
)
def test_a_line_that_cannot_be_taken_over_says_why(door: Door, change: dict[str, str], said: str) -> None:
    door.put(rows(["b1"], dwell="soon"))
    door.load()
    sheet = door.sheet()
    with sheet.open(encoding="utf-8-sig", newline="") as handle:
        (line,) = csv.DictReader(handle)
    pl.DataFrame([{**line, **change}]).write_csv(sheet)
    with Lake(door.home).session() as session:
        judged = judge_sheet(session, contracts(), sheet, decided_by="wang", decided_at=NOW)
    assert judged.fixes.is_empty()
    assert [refused.line for refused in judged.refused] == [2]
    assert said in judged.refused[0].reason


def test_a_file_that_is_no_sheet_is_refused_with_the_remedy(door: Door, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with Lake(door.home).session() as session, pytest.raises(FixError, match="Start from a sheet made by"):
        judge_sheet(session, contracts(), tmp_path / "x.csv", decided_by="wang", decided_at=NOW)


# ── through Dagster ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return new_platform(tmp_path_factory.mktemp("quarantine"))


def test_one_run_takes_the_sheet_over_and_loads_the_mended_day(platform: Platform) -> None:
    text = f"{HEADER}\n{rows(['n1'])}{rows([f'b{i}' for i in range(5)], dwell='soon')}"
    platform.deliver("course_views", DAY, text)
    only = ["raw.quarantine_fixes", "raw.course_views"]
    first = platform.run(LOAD, partition=DAY.isoformat(), only=only)
    assert checks(first, "raw.course_views")["few_rows_refused"] is False
    door = Door(platform.home)
    sheet = door.sheet(**{f"b{i}": "30" for i in range(5)})
    target = sheets_folder(platform.home) / "wang" / "mended.csv"
    target.parent.mkdir(parents=True)
    sheet.rename(target)
    second = platform.run(LOAD, partition=DAY.isoformat(), only=only)
    assert checks(second, "raw.course_views") == dict.fromkeys(checks(second, "raw.course_views"), True)
    assert platform.read("select count(*) as n from raw.course_views").item() == 6
    assert metadata(second, "raw.quarantine_fixes")[0]["sheets_taken_over"] == 1
    assert platform.read(f"select distinct decided_by from {FIXES}").item() == "wang"
    assert not target.exists()


# ── from the command line ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own_home(door: Door, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process's home is the door's, and what a command sets in the environment is undone."""
    for name in ("DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XMKT_HOME", str(door.home))
    monkeypatch.delenv("XMKT_LANDING", raising=False)
    return door.home


def test_the_commands_list_export_and_load_again_what_was_mended(
    door: Door, own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    door.put(rows(["n1"]) + rows(["b1", "b2"], dwell="soon"))
    door.load()
    assert quarantine.main([]) == 0
    assert "Open rows in quarantine: 2" in capsys.readouterr().out

    sheet, mended = own_home / "sheet.csv", own_home / "mended.csv"
    assert quarantine.main(["export", "course_views", str(sheet)]) == 0
    assert f"2 refused rows of course_views are in {sheet}" in capsys.readouterr().out
    exported = pl.read_csv(sheet, infer_schema=False)
    is_b1 = pl.col("view_id") == "b1"
    values = {"decision": "fixed", "dwell_seconds": "75"}
    exported.with_columns(
        pl.when(is_b1).then(pl.lit(new)).otherwise(pl.col(name)).alias(name) for name, new in values.items()
    ).write_csv(mended)

    run_whole = console.run_job
    only = [dg.AssetKey(table.split(".")) for table in ("raw.quarantine_fixes", "raw.course_views")]
    monkeypatch.setattr(console, "run_job", lambda *what, **how: run_whole(*what, **how, only=only))
    assert quarantine.main(["replay", str(mended), "--by", "wang"]) == 0
    said = capsys.readouterr().out
    assert f"Loading {DAY} … {DAY} again" in said
    assert f"2 rows were open in quarantine, 1 are now; decisions are in {FIXES}" in said
    assert door.ids() == ["b1", "n1"]
    assert door.read(f"select decided_by, decision from {FIXES}") == [("wang", "fixed")]


def test_the_commands_refuse_an_unknown_feed_and_a_sheet_without_a_decision(
    door: Door, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"There is no feed 'views'; wanted one of .*course_views"):
        quarantine.main(["export", "views", str(own_home / "sheet.csv")])
    door.put(rows(["b1"], dwell="soon"))
    door.load()
    with pytest.raises(SystemExit, match="holds no decision that can be taken over; nothing was loaded"):
        quarantine.main(["replay", str(door.sheet()), "--by", "wang"])
    with pytest.raises(SystemExit):
        quarantine.main(["replay", str(door.sheet())])
    assert "--by" in capsys.readouterr().err


# ── spreadsheets ─────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.text(alphabet=[*FORMULA_SIGNS, "a", "1", " ", "中"], max_size=6), min_size=1, max_size=8))
def test_no_cell_begins_like_a_formula_and_every_text_comes_back(texts: list[str]) -> None:
    safe = spreadsheet_safe(pl.DataFrame({"text": texts, "number": [-1] * len(texts)}))
    assert not [cell for cell in safe["text"] if cell.startswith(tuple(FORMULA_SIGNS[:-1]))]
    assert [spreadsheet_text(cell) for cell in safe["text"]] == texts
    assert safe["number"].to_list() == [-1] * len(texts)
