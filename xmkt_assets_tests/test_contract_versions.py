"""Versions of contracts: old drops find their version, their values become today's, the number moves as it must."""

import json
import re
from dataclasses import replace
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.contracts import Contract, ContractColumn, ContractError, contracts, read_contract
from xmkt_assets.contracts.door import header_hints, shown_name
from xmkt_assets.contracts.versions import (
    ContractVersion,
    VersionColumn,
    change_kind,
    in_force,
    moved_enough,
    version_for,
    versions,
)
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import load_feed
from xmkt_assets.warehouse import Lake

EVERY = list(contracts().values())
PLAIN = ["view_id", "user_id", "course_id", "viewed_at"]
DAY = date(2026, 3, 1)


def parkings() -> dict[str, Any]:
    """A contract with three earlier versions: a new column, another unit with another name, other values, other rules.

    1.0.0: fee_yuan, minutes, place codes, a column since dropped. 2.0.0: fee_fen, seconds. 2.1.0: has `note`.
    3.0.0: asks for the place and for stays of at most a day.
    """
    return {
        "id": "parkings",
        "version": "3.0.0",
        "description": "One row per parking.",
        "partners": ["insurer"],
        "team": {"name": "Parking"},
        "delivery": "events",
        "eventTime": "parked_at",
        "slaProperties": [
            {"property": "frequency", "value": 1, "unit": "d"},
            {"property": "retention", "value": 10, "unit": "d", "description": "Ten days"},
        ],
        "purposes": ["profiling"],
        "sharingMode": "aggregates only",
        "maxRefusedShare": 0.2,
        "history": [
            {
                "version": "2.1.0",
                "description": "The place could be left out.",
                "until": date(2026, 8, 31),
                "columns": {"place": {"required": False, "fill": "unknown"}, "stay_seconds": {"maximum": 172800}},
            },
            {"version": "2.0.0", "description": "There was no note.", "lacked": ["note"]},
            {
                "version": "1.0.0",
                "description": "Yuan, minutes and codes.",
                "until": date(2026, 6, 30),
                "dropped": ["gate"],
                "lacked": {"kind": "car"},
                "columns": {
                    "fee_fen": {"formerName": "fee_yuan", "logicalType": "number", "unit": "yuan", "factor": 100},
                    "stay_seconds": {"formerName": "stay_minutes", "unit": "minutes", "factor": 60},
                    "place": {"validValues": {"1": "street", "2": "garage", "unknown": "unknown"}},
                    "parked_at": {"formerName": "at"},
                },
            },
        ],
        "schema": [
            {"name": "parking_id", "logicalType": "string", "description": "x", "primaryKey": True, "required": True},
            {"name": "parked_at", "logicalType": "timestamp", "description": "x", "required": True},
            {"name": "fee_fen", "logicalType": "integer", "description": "x", "required": True, "unit": "fen"},
            {
                "name": "stay_seconds",
                "logicalType": "integer",
                "description": "x",
                "unit": "seconds",
                "minimum": 0,
                "maximum": 86400,
            },
            {
                "name": "place",
                "logicalType": "string",
                "description": "x",
                "required": True,
                "validValues": ["street", "garage", "unknown"],
            },
            {"name": "kind", "logicalType": "string", "description": "x", "required": True},
            {"name": "note", "logicalType": "string", "description": "x"},
        ],
    }


def read(folder: Path, terms: dict[str, Any]) -> Contract:
    path = folder / f"{terms['id']}.yaml"
    path.write_text(yaml.safe_dump(terms, sort_keys=False), encoding="utf-8")
    return read_contract(path)


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return read(tmp_path, parkings())


def numbered(contract: Contract, number: str) -> ContractVersion:
    return next(v for v in versions(contract) if v.version == number)


def column_of(version: ContractVersion, name: str) -> VersionColumn:
    return next(c for c in version.columns if c.column.name == name)


def value_of(version: ContractVersion, name: str, text: str | None) -> str | None:
    """Today's text of a text in a file, as DuckDB computes it."""
    sql = column_of(version, name).text("given_")
    row = duckdb.execute(f"select {sql} from (select cast($text as varchar) as given_)", {"text": text}).fetchone()
    assert row is not None
    return row[0]


# --- which version a file is of --------------------------------------------------------------------------------------


def test_a_contract_without_history_has_one_version_that_changes_nothing() -> None:
    contract = contracts()["claims"]
    (only,) = versions(contract)
    assert only.then == contract
    assert [(c.column, c.file_name, c.text("x")) for c in only.columns] == [(c, c.name, "x") for c in contract.columns]


FULL = ["parking_id", "parked_at", "fee_fen", "stay_seconds", "place", "kind", "note"]


@pytest.mark.parametrize(
    ("header", "version"),
    [
        (FULL, "3.0.0"),
        (["note", "kind", "place", "fee_fen", "parked_at", "parking_id"], "3.0.0"),
        (["parking_id", "parked_at", "fee_fen", "place", "kind"], "3.0.0"),
        (["parking_id", "parked_at", "fee_fen", "kind", "note"], "2.1.0"),
        (["parking_id", "parked_at", "fee_fen", "kind"], "2.1.0"),
        (["parking_id", "at", "fee_yuan", "stay_minutes", "place"], "1.0.0"),
        (["parking_id", "at", "fee_yuan", "place", "gate"], "1.0.0"),
        (["parking_id"], "3.0.0"),
        ([], "3.0.0"),
    ],
)
def test_a_file_is_read_by_the_newest_version_whose_required_columns_it_has(
    contract: Contract, header: list[str], version: str
) -> None:
    assert version_for(contract, header).version == version


def test_an_older_version_that_knows_more_of_the_columns_comes_before_a_newer_one(tmp_path: Path) -> None:
    terms = parkings()
    terms["version"] = "4.0.0"
    renamed = {"version": "3.0.0", "description": "x", "columns": {"note": {"formerName": "remark"}}}
    terms["history"] = [renamed, *terms["history"]]
    terms["history"][2]["lacked"] = ["remark"]  # each version is said in the words of the version after it
    contract = read(tmp_path, terms)
    full = ["parking_id", "parked_at", "fee_fen", "place", "kind"]
    assert version_for(contract, [*full, "note"]).version == "4.0.0"
    assert version_for(contract, [*full, "remark"]).version == "3.0.0"
    assert version_for(contract, full).version == "4.0.0"


def test_after_its_last_day_a_version_is_found_no_more(contract: Contract) -> None:
    old = ["parking_id", "at", "fee_yuan", "place"]
    assert version_for(contract, old, dt=date(2026, 6, 30)).version == "1.0.0"
    assert version_for(contract, old, dt=date(2026, 7, 1)).version == "3.0.0"
    assert in_force(numbered(contract, "2.0.0"), date(2099, 1, 1))


def test_columns_that_read_alike_are_told_apart_by_the_last_day(tmp_path: Path) -> None:
    terms = parkings()
    terms["version"] = "4.0.0"
    tenths = {"unit": "tenths of a fen", "factor": 0.1}
    alike = {"version": "3.0.0", "until": date(2026, 9, 30), "description": "x", "columns": {"fee_fen": tenths}}
    terms["history"] = [alike, *terms["history"]]
    contract = read(tmp_path, terms)
    header = list(contract.column_names)
    assert version_for(contract, header, dt=date(2026, 9, 30)).version == "3.0.0"
    assert version_for(contract, header, dt=date(2026, 10, 1)).version == "4.0.0"
    # of two versions that are over, the one that was over first
    assert version_for(contract, header, dt=DAY).version == "2.1.0"


def test_the_version_of_the_manifest_is_believed_and_an_unknown_one_refused(contract: Contract) -> None:
    header = list(contract.column_names)
    assert version_for(contract, header, promised="2.0.0").version == "2.0.0"
    said = r"names contract_version '9\.0\.0'; parkings has 3\.0\.0, 2\.1\.0, 2\.0\.0, 1\.0\.0\. Name one of these\."
    with pytest.raises(LookupError, match=said):
        version_for(contract, header, promised="9.0.0")


# --- what an old file's values are today -----------------------------------------------------------------------------


def test_names_of_every_version_are_those_of_its_files(contract: Contract) -> None:
    first = numbered(contract, "1.0.0")
    assert first.file_names == {
        "parking_id": "parking_id",
        "parked_at": "at",
        "fee_fen": "fee_yuan",
        "stay_seconds": "stay_minutes",
        "place": "place",
    }
    assert first.then.column_names == ("parking_id", "at", "fee_yuan", "stay_minutes", "place", "gate")
    assert first.then.event_time == "at"
    assert "note" not in numbered(contract, "2.0.0").file_names
    for version in versions(contract):
        assert tuple(c.column.name for c in version.columns) == contract.column_names


@pytest.mark.parametrize(
    ("number", "column", "text", "today"),
    [
        ("1.0.0", "fee_fen", "199", "19900"),
        ("1.0.0", "fee_fen", "19.90", "1990"),
        ("1.0.0", "fee_fen", "0.07", "7"),
        ("1.0.0", "fee_fen", "-3", "-300"),
        ("1.0.0", "stay_seconds", "2", "120"),
        ("1.0.0", "place", "1", "street"),
        ("1.0.0", "place", None, "unknown"),
        ("1.0.0", "kind", None, "car"),
        ("1.0.0", "note", None, None),
        ("1.0.0", "fee_fen", None, None),
        ("2.0.0", "place", "garage", "garage"),
        ("2.1.0", "place", None, "unknown"),
        ("3.0.0", "fee_fen", "199", "199"),
    ],
)
def test_a_value_of_an_old_file_becomes_what_it_means_today(
    contract: Contract, number: str, column: str, text: str | None, today: str | None
) -> None:
    found = value_of(numbered(contract, number), column, text)
    if today is not None and re.fullmatch(r"-?\d+", today):
        assert found is not None
        assert float(found) == float(today)
    else:
        assert found == today


@pytest.mark.parametrize("text", ["free", "1e40", "nan", "inf", "12 yuan", "9" * 30])
def test_a_text_that_is_no_number_then_is_none_today(contract: Contract, text: str) -> None:
    """Else 1e40 yuan, which is too large to be counted exactly, would be loaded as so many fen."""
    today = value_of(numbered(contract, "1.0.0"), "fee_fen", text)
    assert duckdb.execute("select try_cast($t as double)", {"t": today}).fetchone() == (None,)


def test_a_value_with_more_digits_than_the_new_unit_has_stays_a_fraction(contract: Contract) -> None:
    """19.905 yuan are no whole number of fen: the loader refuses the row, as it does 1990.5 fen."""
    found = value_of(numbered(contract, "1.0.0"), "fee_fen", "19.905")
    assert found is not None
    assert float(found) == 1990.5


def test_a_larger_new_unit_is_rounded_to_whole_ones(tmp_path: Path) -> None:
    terms = parkings()
    terms["history"][2]["columns"]["stay_seconds"] = {"formerName": "stay_ms", "unit": "ms", "factor": 0.001}
    version = numbered(read(tmp_path, terms), "1.0.0")
    for text, seconds in (("1499", 1), ("1501", 2), ("60000", 60)):
        found = value_of(version, "stay_seconds", text)
        assert found is not None
        assert float(found) == seconds


@given(fen=st.integers(min_value=0, max_value=10**13))
@settings(max_examples=50, deadline=None)
def test_yuan_with_two_digits_come_out_as_the_same_fen(fen: int) -> None:
    """The second method: the text is written from fen by whole-number division."""
    version = numbered(contracts()["course_orders"], "1.0.0")
    found = value_of(version, "paid_fen", f"{fen // 100}.{fen % 100:02d}")
    assert duckdb.execute("select cast($t as bigint)", {"t": found}).fetchone() == (fen,)


def test_old_rows_are_judged_by_the_rules_of_then_in_todays_unit(contract: Contract) -> None:
    first, newest = numbered(contract, "1.0.0"), numbered(contract, "3.0.0")
    stay = column_of(first, "stay_seconds").column
    assert (stay.minimum, stay.maximum, stay.unit, stay.logical_type) == (0, 172800, "seconds", "integer")
    assert column_of(newest, "stay_seconds").column.maximum == 86400
    # then two days were 2880 minutes
    (then,) = (c for c in first.then.columns if c.name == "stay_minutes")
    assert (then.maximum, then.unit) == (2880, "minutes")
    assert column_of(first, "place").column.valid_values == ("street", "garage", "unknown")
    assert not column_of(first, "kind").column.is_required
    assert column_of(newest, "place").column.is_required
    assert not column_of(numbered(contract, "2.1.0"), "place").column.is_required


def test_quotes_in_values_and_fills_stay_text(tmp_path: Path) -> None:
    terms = parkings()
    terms["schema"][4]["validValues"].append("it's")
    terms["history"][2]["columns"]["place"]["validValues"]["o'clock"] = "it's"
    terms["history"][2]["lacked"]["kind"] = "'; drop table x; --"
    version = numbered(read(tmp_path, terms), "1.0.0")
    assert value_of(version, "place", "o'clock") == "it's"
    assert value_of(version, "kind", None) == "'; drop table x; --"


# --- the version number ----------------------------------------------------------------------------------------------


VIEWS = contracts()["course_views"]


def with_column(contract: Contract, which: str, /, **terms: Any) -> Contract:
    return replace(contract, columns=tuple(replace(c, **terms) if c.name == which else c for c in contract.columns))


def without_column(contract: Contract, name: str) -> Contract:
    return replace(contract, columns=tuple(c for c in contract.columns if c.name != name))


def plus_column(contract: Contract, **terms: Any) -> Contract:
    return replace(contract, columns=(*contract.columns, ContractColumn("more", "string", "More", **terms)))


CHANGES = [
    ("none", VIEWS),
    ("patch", replace(VIEWS, description="One row per look at a page.")),
    ("patch", replace(VIEWS, owner="Somebody else")),
    ("patch", with_column(VIEWS, "source", description="Where the user came from")),
    ("minor", plus_column(VIEWS)),
    ("major", plus_column(VIEWS, is_required=True)),
    ("major", without_column(VIEWS, "source")),
    ("major", with_column(VIEWS, "source", name="origin")),
    ("major", with_column(VIEWS, "source", is_required=True)),
    ("minor", with_column(VIEWS, "dwell_seconds", is_required=False)),
    ("major", with_column(VIEWS, "dwell_seconds", logical_type="number")),
    ("major", with_column(VIEWS, "dwell_seconds", unit="ms")),
    ("major", with_column(VIEWS, "dwell_seconds", maximum=3600)),
    ("minor", with_column(VIEWS, "dwell_seconds", maximum=90000)),
    ("minor", with_column(VIEWS, "dwell_seconds", maximum=None)),
    ("major", with_column(VIEWS, "dwell_seconds", minimum=1)),
    ("minor", with_column(VIEWS, "dwell_seconds", minimum=-1)),
    ("major", with_column(VIEWS, "source", valid_values=("organic", "search"))),
    ("minor", with_column(VIEWS, "source", valid_values=("organic", "search", "campaign", "insurer_page", "mail"))),
    ("minor", with_column(VIEWS, "source", valid_values=())),
    ("major", with_column(VIEWS, "course_id", valid_values=("a",))),
    ("major", with_column(VIEWS, "course_id", pattern="c.*")),
    ("major", with_column(VIEWS, "user_id", classification="internal")),
    ("major", replace(VIEWS, purposes=(*VIEWS.purposes, "compliance"))),
    ("major", replace(VIEWS, sharing_mode="aggregates only")),
    ("minor", replace(VIEWS, partners=(*VIEWS.partners, "insurer"))),
    ("major", replace(VIEWS, undeclared_columns="refuse")),
]


@pytest.mark.parametrize(("kind", "changed"), CHANGES, ids=[f"{i}-{kind}" for i, (kind, _) in enumerate(CHANGES)])
def test_a_change_is_as_grave_as_what_it_breaks(kind: str, changed: Contract) -> None:
    assert change_kind(VIEWS, changed) == kind


def test_several_changes_are_as_grave_as_the_gravest() -> None:
    assert change_kind(VIEWS, plus_column(without_column(VIEWS, "source"))) == "major"


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("1.0.0", "2.0.0", "major minor patch none"),
        ("1.9.3", "2.0.0", "major minor patch none"),
        ("1.0.0", "1.1.0", "minor patch none"),
        ("1.0.3", "1.1.0", "minor patch none"),
        ("1.0.0", "1.0.1", "patch none"),
        ("1.9.0", "1.10.0", "minor patch none"),
        ("1.0.0", "1.0.0", "none"),
        ("1.1.0", "1.0.9", ""),
    ],
)
def test_the_number_moves_as_far_as_the_change_demands(old: str, new: str, fits: str) -> None:
    kinds = ("major", "minor", "patch", "none")
    assert [kind for kind in kinds if moved_enough(old, new, kind)] == fits.split()


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_the_numbers_of_every_contract_follow_its_changes(contract: Contract) -> None:
    for after, before in pairwise(versions(contract)):
        assert moved_enough(before.version, after.version, change_kind(before.then, after.then))


def test_the_history_in_use_is_read_as_the_partners_wrote_then() -> None:
    assert version_for(contracts()["course_views"], [*PLAIN, "dwell_seconds"]).version == "1.1.0"
    orders = contracts()["course_orders"]
    old = ["order_line_id", "order_id", "user_id", "course_id", "ordered_at", "paid_yuan", "status"]
    version = version_for(orders, old)
    assert version.version == "1.0.0"
    assert value_of(version, "status", "success") == "paid"
    assert version_for(orders, orders.column_names).version == orders.version
    assert version_for(contracts()["consents"], ["consent_id", "purpose"]).version == contracts()["consents"].version


# --- histories that are refused --------------------------------------------------------------------------------------


def entry(place: int, **terms: Any) -> Any:
    return lambda contract: contract["history"][place].update(terms)


def former(column: str, **terms: Any) -> Any:
    return lambda contract: contract["history"][2]["columns"].update({column: terms})


FAULTS = [
    (
        lambda t: t.update(version="2.2.0"),
        "history 2.1.0: version 2.2.0 follows it, but the change is major (stay_seconds: maximum was",
    ),
    (lambda t: t.update(version="2.0.9"), "history 2.1.0: version 2.0.9 follows it, but the change is major"),
    (
        entry(1, version="2.1.0"),
        "history 2.1.0: version 2.1.0 follows it, but the change is minor (note is a new option",
    ),
    (entry(1, version="two"), "history has the version 'two'; wanted three numbers such as 1.0.0."),
    (entry(1, since="x"), "history 2.0.0 uses the unknown terms ['since']. Known: ['columns',"),
    (entry(2, until="June"), "history 1.0.0 has until 'June'; wanted a day such as 2026-06-30."),
    (
        entry(1, lacked=["fee"]),
        "history 2.0.0: speaks of ['fee']; wanted columns of version 2.1.0: parking_id, parked_at",
    ),
    (entry(2, lacked={"fee_fen": "1", "kind": "car"}), "history 1.0.0: speaks of ['fee_fen'] twice."),
    (
        entry(2, lacked=["kind"]),
        "column 'kind' is required since; give the rows of then a value, in lacked or as fill.",
    ),
    (
        former("fee_fen", unit="yuan"),
        "column 'fee_fen': a former unit and the factor that makes it 'fen' belong together",
    ),
    (
        former("fee_fen", factor=100),
        "column 'fee_fen': a former unit and the factor that makes it 'fen' belong together",
    ),
    (former("fee_fen", unit="yuan", factor=0), "column 'fee_fen' has the factor 0; wanted a number above 0"),
    (
        former("fee_fen", unit="x", factor=1.23456789012),
        "has the factor 1.23456789012; wanted a number above 0 of at most",
    ),
    (former("fee_fen", unit="x", factor="100"), "factor of fee_fen is '100'; wanted a number."),
    (former("kind", unit="x", factor=2), "speaks of ['kind'] twice"),
    (former("note", was="x"), "history 1.0.0, column 'note' uses the unknown terms ['was']. Known: ['factor', 'fill',"),
    (former("place", validValues=["yard"]), "column 'place' makes values ['yard']; wanted one of ['street', 'garage',"),
    (former("place", validValues={"1": "yard"}), "column 'place' makes values ['yard']; wanted one of ['street',"),
    (former("parking_id", formerName="a note"), "column 'a note' is no plain name"),
    (former("place", formerName="parking_id"), "names the columns ['parking_id'] twice"),
    (
        former("parking_id", logicalType="text"),
        "column 'parking_id' has logicalType 'text'. Known: ['boolean', 'date',",
    ),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[said[:50] for _, said in FAULTS])
def test_a_faulty_history_is_refused_with_the_version_and_the_remedy(tmp_path: Path, fault: Any, said: str) -> None:
    terms = parkings()
    assert read(tmp_path, terms).version == "3.0.0"
    fault(terms)
    with pytest.raises(ContractError, match=re.escape(said)) as refusal:
        read(tmp_path, terms)
    assert str(refusal.value).startswith("parkings.yaml: ")


def test_another_unit_under_the_same_name_needs_a_last_day(tmp_path: Path) -> None:
    terms = parkings()
    terms["history"] = [
        {"version": "2.0.0", "description": "x", "columns": {"fee_fen": {"unit": "jiao", "factor": 10}}}
    ]
    with pytest.raises(ContractError, match="its files cannot be told from later ones by their columns; say until"):
        read(tmp_path, terms)
    terms["history"][0]["until"] = DAY
    assert versions(read(tmp_path, terms))[1].until == DAY


# --- what a header that does not fit was meant to be -----------------------------------------------------------------


def hints(contract: Contract, header: list[str], dt: date = DAY) -> tuple[str, ...]:
    return header_hints(contract, version_for(contract, header, dt=dt), header, dt=dt)


def test_a_header_as_agreed_needs_no_hint(contract: Contract) -> None:
    for version in versions(contract):
        assert hints(contract, list(version.then.column_names)) == ()
    assert hints(VIEWS, [*PLAIN, "phone"]) == ()


@pytest.mark.parametrize("written", ["UserID", "user id", "USER_ID", "userid", "user_ids"])
def test_a_column_written_otherwise_is_told_with_the_name_it_should_have(written: str) -> None:
    header = ["view_id", written, "course_id", "viewed_at", "dwell_seconds", "source"]
    assert hints(VIEWS, header) == (f"{written} looks like user_id: rename it.",)


def test_a_header_of_values_shows_none_of_them() -> None:
    header = ["view_id", "user_id13812345678", "course_id", "viewed_at", "dwell_seconds", "source"]
    assert not any("138" in hint for hint in hints(VIEWS, header))
    assert shown_name("13812345678") == shown_name("a@b.example") == "(name not shown)"
    assert shown_name("") == "(no name)"


def test_a_header_of_a_version_that_ran_out_says_so(contract: Contract) -> None:
    old = ["parking_id", "at", "fee_yuan", "place"]
    said = "The columns are those of version 1.0.0, which ran out on 2026-06-30."
    assert said in hints(contract, old, dt=date(2026, 7, 1))
    assert said not in hints(contract, old, dt=date(2026, 6, 30))


# --- old drops, loaded -----------------------------------------------------------------------------------------------


OLD_ORDERS = "order_line_id,order_id,user_id,course_id,ordered_at,paid_yuan,status"
ORDER_DAY = "2026-03-01"


def old_order(number: int, yuan: str, status: str) -> str:
    return f"l{number},o{number},u{number},c1,{ORDER_DAY} 10:00:00,{yuan},{status}"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """One day of orders in files of both versions and three formats, loaded."""
    home = tmp_path_factory.mktemp("versions")
    folder = home / "landing" / "course_platform" / "course_orders" / f"dt={ORDER_DAY}"
    folder.mkdir(parents=True)
    lines = [OLD_ORDERS, old_order(1, "199", "success"), old_order(2, "19.90", "refund")]
    lines += [old_order(3, "19.905", "success"), old_order(4, "free", "success"), old_order(5, "5", "paid")]
    (folder / "old.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = OLD_ORDERS.split(",")
    row = dict(zip(names, old_order(6, "0.07", "success").split(","), strict=True))
    (folder / "old.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    typed = pl.DataFrame([dict(zip(names, old_order(7, "88", "refund").split(","), strict=True))])
    typed.with_columns(pl.col("paid_yuan").cast(pl.Float64)).write_parquet(folder / "old.parquet")
    new = ",".join(contracts()["course_orders"].column_names)
    (folder / "new.csv").write_text(f"{new}\n{old_order(8, '19900', 'paid')}\n", encoding="utf-8")
    with Lake(home).session() as session:
        files = take_inventory(home / "landing", contracts(), only_feed="course_orders").files
        load_feed(session, contracts()["course_orders"], files, run_id="run", loaded_at=datetime(2026, 3, 2))
        return {
            table: session.read(f"select * from raw.{table} order by all")
            for table in ("course_orders", "file_ledger", "quarantine")
        }


def test_old_and_new_files_of_a_day_load_side_by_side_in_todays_terms(loaded: dict[str, pl.DataFrame]) -> None:
    """A word of today in an old file (l5) means what it means today."""
    rows = loaded["course_orders"].select("order_line_id", "paid_fen", "status").rows()
    assert sorted(rows) == [
        ("l1", 19900, "paid"),
        ("l2", 1990, "refunded"),
        ("l5", 500, "paid"),
        ("l6", 7, "paid"),
        ("l7", 8800, "refunded"),
        ("l8", 19900, "paid"),
    ]


def test_the_ledger_says_by_which_version_each_file_was_read(loaded: dict[str, pl.DataFrame]) -> None:
    ledger = {name.rpartition("/")[2]: v for name, v in loaded["file_ledger"]["source_file", "contract_version"].rows()}
    assert ledger == {"new.csv": "2.0.0", "old.csv": "1.0.0", "old.jsonl": "1.0.0", "old.parquet": "1.0.0"}


def test_old_rows_that_broke_the_contract_of_then_are_refused(loaded: dict[str, pl.DataFrame]) -> None:
    """19.905 yuan are no whole fen, and free is no number."""
    assert loaded["quarantine"]["source_row", "column_name"].rows() == [(3, "paid_fen"), (4, "paid_fen")]
    assert loaded["quarantine"]["reason"][1] == "paid_fen: found 'free', wanted a whole number"
