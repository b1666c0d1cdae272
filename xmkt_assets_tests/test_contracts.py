"""Contracts: every feed's file is whole and safe, and a faulty one is refused with the remedy."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from xmkt_assets.contracts import (
    DUCKDB_TYPES,
    FOLDER,
    IN_WORDS,
    PARTNERS,
    Contract,
    ContractColumn,
    ContractError,
    contracts,
    read_contract,
)

EVERY = list(contracts().values())
ABOUT_A_PERSON = {
    *("user_id", "customer_id", "subject_id", "gender", "birth_year", "occupation", "city_tier", "interests"),
    *("review_text", "covariates", "phone_hash", "email_hash"),
}
IDENTIFYING = {
    "phone",
    "mobile",
    "tel",
    "email",
    "mail",
    "wechat",
    "passport",
    "idcard",
    "address",
    "surname",
    "birthday",
}


def test_there_is_one_contract_per_file_and_partner_feed() -> None:
    assert set(contracts()) == {path.stem for path in FOLDER.glob("*.yaml")}
    assert {partner for contract in EVERY for partner in contract.partners} == set(PARTNERS)


def test_the_feeds_of_the_platform_are_all_there() -> None:
    """The list of issue 2: what the two firms deliver."""
    wanted = {"users", "courses", "course_views", "course_orders", "course_reviews", "customers", "products"}
    wanted |= {"product_views", "policies", "claims", "consents", "contact_optouts", "campaign_events"}
    assert wanted <= set(contracts())


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_a_contract_says_what_one_row_is_its_version_and_its_key(contract: Contract) -> None:
    assert contract.description.startswith("One row per ")
    assert re.fullmatch(r"\d+\.\d+\.\d+", contract.version)
    assert contract.key
    assert set(contract.key) <= {column.name for column in contract.columns if column.is_required}


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_events_have_their_time_and_snapshots_their_version(contract: Contract) -> None:
    column = contract.event_time if contract.delivery == "events" else contract.version_by
    found = {c.name: c for c in contract.columns}[column or ""]
    assert (found.logical_type, found.is_required) == ("timestamp", True)


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_units_and_kinds_live_in_names(contract: Contract) -> None:
    for column in contract.columns:
        kinds = {"_fen": "integer", "_at": "timestamp", "_on": "date", "_share": "number", "_seconds": "integer"}
        for suffix, kind in kinds.items():
            if column.name.endswith(suffix):
                assert column.logical_type == kind
        if column.name.startswith(("is_", "has_")):
            assert column.logical_type == "boolean"
        if column.name.endswith("_share"):
            assert (column.minimum, column.maximum) == (0, 1)
        if column.name.endswith(("_fen", "_seconds")):
            assert column.minimum == 0
            assert column.unit


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_a_column_that_is_about_a_person_says_so(contract: Contract) -> None:
    """What identifies, describes or was written by one person; income and claims are of the higher grade."""
    for column in contract.columns:
        is_of_claim = contract.feed == "claims" and column.name in ("claimed_fen", "paid_fen")
        if column.name == "annual_income_fen" or is_of_claim:
            assert column.classification == "sensitive"
        elif column.name in ABOUT_A_PERSON:
            assert column.classification == "personal"


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_no_column_holds_a_contact_a_name_or_an_id_number_in_clear(contract: Contract) -> None:
    for column in contract.columns:
        words = set(column.name.split("_"))
        if words & IDENTIFYING:
            assert column.name.endswith("_hash")
        if column.name.endswith("_hash"):
            assert column.pattern is not None
            assert re.fullmatch(column.pattern, "ab" * 32)
            for clear in ("13812345678", "a@b.example", "AB" * 32, "ab" * 31, "ab" * 32 + "\n", " " + "ab" * 32):
                assert not re.fullmatch(column.pattern, clear)
        if "name" in words:
            assert column.name == "product_name"


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_every_column_says_more_than_its_name(contract: Contract) -> None:
    for column in contract.columns:
        assert column.description.lower().replace(" ", "_") != column.name
        assert len(column.description.split()) > 1
        assert column.meaning.startswith(f"{column.description}.")
        assert not column.description.endswith(".")


def test_every_type_has_a_column_type_and_words() -> None:
    assert DUCKDB_TYPES.keys() == IN_WORDS.keys()


def test_the_meaning_of_a_column_gives_unit_and_values() -> None:
    column = ContractColumn("x", "string", "What it is", unit="fen", valid_values=("a", "b"))
    assert column.meaning == "What it is. Unit: fen. One of: a, b."


def test_a_feed_with_any_personal_column_is_personal() -> None:
    assert contracts()["users"].is_personal
    assert not contracts()["courses"].is_personal


# --- contracts that are refused ------------------------------------------------------------------------------------


def visits() -> dict[str, Any]:
    """A contract without a fault."""
    return {
        "id": "visits",
        "version": "1.0.0",
        "description": "One row per visit.",
        "partners": ["insurer"],
        "delivery": "events",
        "eventTime": "visited_at",
        "schema": [
            {"name": "visit_id", "logicalType": "string", "description": "Id", "primaryKey": True, "required": True},
            {"name": "visited_at", "logicalType": "timestamp", "description": "When", "required": True},
        ],
    }


def without(term: str) -> Callable[[dict[str, Any]], None]:
    return lambda terms: terms.pop(term)


def changed(**new: Any) -> Callable[[dict[str, Any]], None]:
    return lambda terms: terms.update(new)


def column(place: int, **new: Any) -> Callable[[dict[str, Any]], None]:
    return lambda terms: terms["schema"][place].update(new)


def further(**terms_of_column: Any) -> Callable[[dict[str, Any]], None]:
    plain = {"name": "more", "logicalType": "string", "description": "More"}
    return lambda terms: terms["schema"].append({**plain, **terms_of_column})


FAULTS = [
    (without("version"), "lacks the term 'version'. See course_views.yaml for a complete one."),
    (without("schema"), "lacks the term 'schema'"),
    (lambda terms: terms["schema"][0].pop("description"), "lacks the term 'description'"),
    (changed(eventtime="visited_at"), "uses the unknown terms ['eventtime']. Known: ['apiVersion', 'delivery',"),
    (column(0, primarykey=True), "column 'visit_id' uses the unknown terms ['primarykey']. Known: ['classification',"),
    (column(0, logicalType="text"), "column 'visit_id' has logicalType 'text'. Known: ['boolean', 'date',"),
    (changed(id="visit"), "id is visit; the file must be named after the feed."),
    (
        changed(partners=["insurer", "bank"]),
        "names the unknown partners ['bank']. Known: ['course_platform', 'insurer']",
    ),
    (changed(delivery="stream"), "delivery is 'stream'; wanted one of ['events', 'snapshot']."),
    (column(0, primaryKey=False), "names no primaryKey column. Mark the column that identifies one row."),
    (column(0, required=False), "column 'visit_id' is a primaryKey; write required: true"),
    (changed(eventTime="day"), "names ['day'] in eventTime or versionBy; wanted a required timestamp column"),
    (column(1, required=False), "names ['visited_at'] in eventTime or versionBy; wanted a required timestamp column"),
    (column(1, logicalType="date"), "names ['visited_at'] in eventTime or versionBy; wanted a required timestamp"),
    (without("eventTime"), "delivery events needs an eventTime, delivery snapshot must not have one."),
    (changed(delivery="snapshot"), "delivery events needs an eventTime, delivery snapshot must not have one."),
    (lambda t: t.update(delivery="snapshot", eventTime=None), "delivery snapshot needs a versionBy"),
    (further(name="visit_id"), "names the columns ['visit_id'] twice. Give every column its own name."),
    (further(name="source_file"), "column 'source_file' is a name the platform uses itself. Give it another one."),
    (further(name="x; drop table y"), "column 'x; drop table y' is no plain name; wanted lower-case letters"),
    (further(name="reason_"), "column 'reason_' is no plain name"),
    (further(classification="secret"), "has classification 'secret'. Known: ['internal', 'personal', 'sensitive']."),
    (further(minimum=0), "column 'more' has a minimum or maximum, which only integer and number have."),
    (further(logicalType="integer", pattern="x"), "has validValues or a pattern, which only string has."),
    (further(pattern="(open"), "column 'more' has the pattern '(open', which is no regular expression."),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[said[:40] for _, said in FAULTS])
def test_a_faulty_contract_is_refused_by_name_with_the_remedy(
    tmp_path: Path, fault: Callable[[dict[str, Any]], None], said: str
) -> None:
    terms = visits()
    path = tmp_path / "visits.yaml"
    path.write_text(yaml.safe_dump(terms), encoding="utf-8")
    assert read_contract(path).feed == "visits"
    fault(terms)
    path.write_text(yaml.safe_dump(terms), encoding="utf-8")
    with pytest.raises(ContractError, match=re.escape(said)) as refusal:
        read_contract(path)
    assert str(refusal.value).startswith("visits.yaml")


@pytest.mark.parametrize(("text", "said"), [("", "holds no terms"), ("- a", "holds no terms"), ("a: [", "is no YAML")])
def test_a_file_that_is_no_contract_at_all_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "visits.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=f"^visits.yaml {said}"):
        read_contract(path)
