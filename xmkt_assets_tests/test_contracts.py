"""Contracts: every feed's file is whole and safe, and a faulty one is refused with the remedy."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from xmkt_assets.agreement import read_agreement
from xmkt_assets.contracts import (
    DUCKDB_TYPES,
    FOLDER,
    IN_WORDS,
    PARTNERS,
    PURPOSES,
    SHARING_IN_WORDS,
    Contract,
    ContractColumn,
    ContractError,
    SharingMode,
    contracts,
    read_contract,
)
from xmkt_assets.contracts.__main__ import main, write_docs
from xmkt_assets.contracts.docs import page, section, standard_document, unversioned_changes
from xmkt_assets.contracts.trial import TrialReport

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
        "team": {"name": "Web team"},
        "delivery": "events",
        "eventTime": "visited_at",
        "slaProperties": [
            {"property": "frequency", "value": 1, "unit": "d"},
            {"property": "retention", "value": 2, "unit": "y", "description": "Interest fades"},
        ],
        "purposes": ["profiling"],
        "sharingMode": "aggregates only",
        "maxRefusedShare": 0.2,
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


def level(place: int, **new: Any) -> Callable[[dict[str, Any]], None]:
    return lambda terms: terms["slaProperties"][place].update(new)


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
    (without("team"), "lacks the term 'team'"),
    (without("slaProperties"), "lacks the term 'slaProperties'"),
    (without("sharingMode"), "lacks the term 'sharingMode'"),
    (changed(apiVersion="v2.2.2"), "apiVersion is 'v2.2.2'; wanted v3.1.0, which this platform reads."),
    (changed(version="1.0"), "version is '1.0'; wanted three numbers such as 1.0.0."),
    (changed(team={"name": " "}), "team has no name. Name who answers for the feed at the partner."),
    (changed(team="Web team"), "has a term with a value of the wrong kind"),
    (changed(schema="x"), "schema is 'x'; wanted a list of entries."),
    (changed(purposes=["ads"]), "purposes is ['ads']; wanted at least one of ['profiling',"),
    (changed(purposes=[]), "purposes is []; wanted at least one of"),
    (changed(sharingMode="all"), "sharingMode is 'all'; wanted one of ['hashed ids only',"),
    (changed(drift="stop"), "drift is 'stop'; wanted one of ['block', 'warn', 'off']."),
    (changed(mixDrift="block"), "mixDrift is 'block'; wanted one of ['warn', 'off']."),
    (changed(undeclaredColumns="keep"), "undeclaredColumns is 'keep'; wanted one of ['ignore', 'refuse']."),
    (changed(maxRefusedShare=20), "maxRefusedShare is 20; wanted a share from 0 to below 1."),
    (changed(maxRefusedShare="20%"), "maxRefusedShare is '20%'; wanted a number."),
    (level(0, property="availability"), "slaProperties has ['availability', 'retention']; wanted retention, frequency"),
    (level(1, unit="months"), "slaProperties 'retention' is 2 'months'; wanted a whole number from 1 in one of"),
    (level(1, value=0), "slaProperties 'retention' is 0 'y'; wanted a whole number from 1"),
    (level(1, description=""), "slaProperties retention has no description. Say why the rows are kept that long"),
    (level(1, note="x"), "slaProperties 'retention' uses the unknown terms ['note']. Known: ['description',"),
    (further(classification="personal"), "noticeVersions is empty, but columns are personal."),
    (
        lambda terms: (further(classification="personal")(terms), terms.update(sharingMode="open to both firms")),
        "sharingMode is 'open to both firms', but columns are personal. Choose a narrower mode.",
    ),
    (further(classification="sensitive"), "column 'more': classification sensitive and a classificationReason"),
    (further(classificationReason="health"), "column 'more': classification sensitive and a classificationReason"),
    (further(holdsFreeText=True), "column 'more' holds free text of people; wanted logicalType string and"),
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


# --- terms of use --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_the_notices_a_contract_names_are_agreed_and_cover_its_purposes(contract: Contract) -> None:
    notices = {notice.version: notice for notice in read_agreement().notices}
    assert set(contract.notice_versions) <= notices.keys()
    covered = {purpose for version in contract.notice_versions for purpose in notices[version].purposes}
    if contract.is_personal:
        assert set(contract.purposes) - {"compliance"} <= covered


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_sensitive_columns_say_why_and_serve_the_sensitive_purpose(contract: Contract) -> None:
    sensitive = [column for column in contract.columns if column.classification == "sensitive"]
    assert bool(sensitive) == ("sensitive_profiling" in contract.purposes)
    for column in sensitive:
        assert re.match(r"(claims detail|financial|health)", column.classification_reason)


def test_what_the_other_firm_sees_is_the_less_the_more_a_feed_tells_of_a_person() -> None:
    modes = {contract.feed: contract.sharing_mode for contract in EVERY}
    assert {feed for feed, mode in modes.items() if mode == "open to both firms"} == {"courses", "products"}
    assert {feed for feed, mode in modes.items() if mode == "hashed ids only"} == {"users", "customers", "identifiers"}
    assert {feed for feed, mode in modes.items() if mode == "aggregates only"} == {"claims", "course_reviews"}
    assert SHARING_IN_WORDS.keys() == set(get_args(SharingMode))


def test_the_proof_of_consent_outlives_what_it_covers_by_the_time_of_limitation() -> None:
    """Three years: Civil Code, Art. 188."""
    kept = {contract.feed: contract.retention_days for contract in EVERY if contract.is_personal}
    proofs = {"consents", "contact_optouts"}
    longest = max(days for feed, days in kept.items() if feed not in proofs)
    assert {kept[feed] - longest for feed in proofs} == {3 * 365}


def test_people_who_decide_are_asked_about_every_purpose_but_the_proof() -> None:
    (asked,) = (c.valid_values for c in contracts()["consents"].columns if c.name == "purpose")
    assert set(asked) == set(PURPOSES) - {"compliance"}


def test_free_text_of_people_is_marked() -> None:
    marked = {(c.feed, column.name) for c in EVERY for column in c.columns if column.holds_free_text}
    assert marked == {("course_reviews", "review_text"), ("users", "occupation"), ("customers", "occupation")}


@pytest.mark.parametrize(
    ("feed", "column"),
    [
        ("users", "user_id"),
        ("claims", "customer_id"),
        ("consents", "subject_id"),
        ("courses", None),
        ("products", None),
    ],
)
def test_the_subject_of_a_feed_is_the_firms_own_id_of_the_person(feed: str, column: str | None) -> None:
    assert contracts()[feed].subject_column == column


def test_the_terms_of_a_contract_are_read_as_they_are_written(tmp_path: Path) -> None:
    terms = visits() | {"undeclaredColumns": "refuse", "drift": "warn", "mixDrift": "off", "noticeVersions": ["n1"]}
    path = tmp_path / "visits.yaml"
    path.write_text(yaml.safe_dump(terms), encoding="utf-8")
    read = read_contract(path)
    assert (read.owner, read.purposes, read.notice_versions) == ("Web team", ("profiling",), ("n1",))
    assert (read.retention_days, read.retention_reason, read.frequency_days) == (730, "Interest fades", 1)
    assert (read.sharing_mode, read.max_refused_share) == ("aggregates only", 0.2)
    assert (read.undeclared_columns, read.drift, read.mix_drift) == ("refuse", "warn", "off")


# --- docs and other forms ------------------------------------------------------------------------------------------


def test_the_page_of_the_contracts_is_up_to_date() -> None:
    found = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert found == page(EVERY), "Run: python -m xmkt_assets.contracts --docs"


def test_the_page_has_every_feed_with_every_column() -> None:
    for contract in EVERY:
        said = section(contract)
        assert said.count("\n| `") >= len(contract.columns)
        for column in contract.columns:
            assert f"\n| `{column.name}` | {column.logical_type} |" in said


def test_a_change_without_a_new_version_is_told_before_the_page_is_written() -> None:
    before = page(EVERY)
    assert unversioned_changes(EVERY, before) == []
    claims = contracts()["claims"]
    changed = [replace(claims, columns=claims.columns[:-1]), replace(contracts()["users"], description="x")]
    (first, second) = unversioned_changes(changed, before)
    assert first.startswith("claims changed, but its version is still 1.0.0. Move the number in claims.yaml")
    assert second.startswith("users changed")
    assert unversioned_changes([replace(changed[0], version="2.0.0")], before) == []
    assert unversioned_changes(changed, "") == []


def test_docs_of_a_change_without_a_new_version_are_written_only_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    marks = page(EVERY)
    path.write_text(re.sub(r"(<!-- claims 1\.0\.0) \w+", r"\1 000000000000", marks), encoding="utf-8")
    assert write_docs(path) == 1
    assert "claims changed" in capsys.readouterr().err
    assert write_docs(path, again=True) == 0
    assert path.read_text(encoding="utf-8") == marks


@pytest.mark.parametrize("contract", EVERY, ids=lambda c: c.feed)
def test_a_contract_goes_out_as_a_document_of_the_standard(contract: Contract) -> None:
    """Its required terms and its names for ours; the whole was validated against the published JSON schema by hand."""
    document = json.loads(json.dumps(standard_document(contract)))
    assert {"apiVersion", "kind", "id", "version", "status"} <= document.keys()
    (table,) = document["schema"]
    properties = {p["name"]: p for p in table["properties"]}
    assert properties.keys() == set(contract.column_names)
    assert {name for name, p in properties.items() if p["primaryKey"]} == set(contract.key)
    positions = [p["primaryKeyPosition"] for p in properties.values() if p["primaryKey"]]
    assert sorted(positions) == list(range(1, len(contract.key) + 1))
    own = {entry["property"]: entry["value"] for entry in document["customProperties"]}
    assert own["sharingMode"] == contract.sharing_mode
    levels = {entry["property"]: entry for entry in document["slaProperties"]}
    assert (levels["retention"]["value"], levels["retention"]["unit"]) == (contract.retention_days, "d")


# --- the command line ------------------------------------------------------------------------------------------------


def test_a_feed_is_printed_as_json_and_an_unknown_one_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "claims"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "claims"
    assert main(["--json", "claim"]) == 2
    assert "There is no feed 'claim'. Known: campaign_events, claims" in capsys.readouterr().err


def test_a_partner_is_told_what_would_become_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "dt=2026-07-01"
    folder.mkdir()
    header = "view_id,user_id,course_id,viewed_at,dwell_seconds,source\n"
    for name, dwell in (("bad.csv", "half a minute"), ("good.csv", "30")):
        (folder / name).write_text(f"{header}{name},u1,c1,2026-07-01 10:00:00,{dwell},organic\n", encoding="utf-8")
    assert main(["--check", "course_views", str(folder / "bad.csv"), str(folder / "good.csv")]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "bad.csv: rejected, by version 1.1.0; 0 of 1 rows would be loaded.",
        "good.csv: loaded, by version 1.1.0; 1 of 1 rows would be loaded.",
        "bad.csv, line 2: dwell_seconds: found 'half a minute', wanted a whole number",
        "Something would be refused: mend it before sending.",
    ]


@pytest.mark.parametrize(("is_good", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_anything_would_be_refused(
    monkeypatch: pytest.MonkeyPatch, is_good: bool, code: int
) -> None:
    monkeypatch.setattr("xmkt_assets.contracts.trial.try_files", lambda *_, **__: TrialReport(is_good, ""))
    assert main(["--check", "claims", "a.csv"]) == code


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["claims", "no.csv", "--day", "2026-07-01"], "There is no file no.csv."),
        (["claims", __file__], "Say its day, such as --day 2026-07-01."),
        (["consents", "no.csv"], "consents comes from course_platform, insurer; found None. Name one: --partner."),
        (["claims"], "No file to check."),
    ],
)
def test_files_that_cannot_be_tried_are_refused_with_what_is_missing(
    capsys: pytest.CaptureFixture[str], asked: list[str], said: str
) -> None:
    assert main(["--check", *asked]) == 2
    assert said in capsys.readouterr().err
