"""Staging by hand-written rows: newest version, who is whom, who consented, who passes a gate, who said no."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.agreement import Notice
from xmkt_assets.contracts import Contract, contracts
from xmkt_assets.notices import notice_rows
from xmkt_assets_tests.identity_helper import identity_tables
from xmkt_assets_tests.sql_helper import read_model, run_model

DAY = date(2026, 7, 10)
START, END = datetime(2026, 7, 10), datetime(2026, 7, 11)
INSTANT = timedelta(microseconds=1)
BEFORE = datetime(2026, 6, 1)
KINDS = {
    "string": pl.String,
    "integer": pl.Int64,
    "number": pl.Float64,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "timestamp": pl.Datetime("us"),
}
EVENT_FEEDS = [c for c in contracts().values() if c.delivery == "events"]
# identifiers shows no state but valid or revoked, and takes more tables: test_identity.
VERSIONED = [c for c in contracts().values() if c.delivery == "snapshot" and c.feed != "identifiers"]
PURPOSES = ("joint_marketing", "measurement", "profiling", "sensitive_profiling")
Row = Mapping[str, object]


def raw(feed: str, rows: Sequence[Row]) -> pl.DataFrame:
    """Rows of ``raw.<feed>`` with the contract's columns and types; what is not given is empty."""
    contract = contracts()[feed]
    columns = {"partner": pl.String, "dt": pl.Date, **{c.name: KINDS[c.logical_type] for c in contract.columns}}
    own = {"partner": contract.partners[0], "dt": DAY}
    return pl.DataFrame([{**own, **row} for row in rows], schema=columns)


# ── events: the rows of a day ────────────────────────────────────────────────────────────────────────────────────────


def event_rows(contract: Contract, moments: Sequence[datetime]) -> list[Row]:
    """One row per moment: its number in every text column, an allowed value where values are fixed."""
    rows = []
    for number, at in enumerate(moments):
        texts = {c.name: f"{c.name}-{number}" for c in contract.columns if c.logical_type == "string"}
        fixed = {c.name: c.valid_values[0] for c in contract.columns if c.valid_values}
        rows.append({**texts, **fixed, contract.event_time: at})
    return rows


@pytest.mark.parametrize("contract", EVENT_FEEDS, ids=lambda c: c.feed)
def test_an_event_table_holds_the_rows_of_its_utc_day_unchanged_from_midnight_to_midnight(contract: Contract) -> None:
    moments = [START - INSTANT, START, END - INSTANT, END]
    given_rows = raw(contract.feed, event_rows(contract, moments))
    found = run_model(f"staging.{contract.feed}", {f"raw.{contract.feed}": given_rows}, day=DAY)
    wanted = given_rows[1:3].sort(contract.key)
    same = [c for c in wanted.columns if c in found.columns and wanted[c].null_count() == 0]
    assert set(contract.key) | {contract.event_time} <= set(same)
    assert found.select(same).rows() == wanted.select(same).rows()
    (day_column,) = {c for c in found.columns if c.endswith("_on")} - set(contract.column_names)
    assert found[day_column].to_list() == [DAY, DAY]


@pytest.mark.parametrize("feed", sorted(contracts()))
def test_every_column_of_a_contract_reaches_staging_but_those_that_only_serve_loading(feed: str) -> None:
    lost = set(contracts()[feed].column_names) - {c.name for c in read_model(f"staging.{feed}").columns}
    assert lost <= {"link_is_synthetic", "updated_at"}


def test_what_a_partner_leaves_out_has_its_declared_default() -> None:
    view = {"view_id": "v", "user_id": "u", "course_id": "c", "viewed_at": START, "dwell_seconds": 1}
    found = run_model("staging.course_views", {"raw.course_views": raw("course_views", [view])}, day=DAY)
    assert found["source"].to_list() == ["organic"]
    event = {"event_id": "e", "campaign_id": "k", "subject_id": "u", "event": "conversion", "occurred_at": START}
    found = run_model("staging.campaign_events", {"raw.campaign_events": raw("campaign_events", [event])}, day=DAY)
    assert found["currency"].to_list() == ["CNY"]


def test_the_same_event_id_of_both_firms_is_two_events() -> None:
    event = {"event_id": "e", "campaign_id": "k", "subject_id": "s", "event": "click", "occurred_at": START}
    rows = [{**event, "partner": partner} for partner in ("course_platform", "insurer")]
    found = run_model("staging.campaign_events", {"raw.campaign_events": raw("campaign_events", rows)}, day=DAY)
    assert found["partner"].to_list() == ["course_platform", "insurer"]


# ── latest state ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("contract", VERSIONED, ids=lambda c: c.feed)
def test_the_newest_version_wins_and_not_the_newest_delivery(contract: Contract) -> None:
    """A partner may deliver an old state again; the time of the change decides, the day of delivery breaks a tie."""
    shown = {"courses": "title", "products": "product_name"}.get(contract.feed, "occupation")
    key = {contract.key[0]: "a"}
    rows = [
        {**key, shown: "old", "updated_at": datetime(2026, 7, 1), "dt": date(2026, 7, 9)},
        {**key, shown: "new", "updated_at": datetime(2026, 7, 3), "dt": date(2026, 7, 3)},
        {**key, shown: "tie, delivered first", "updated_at": datetime(2026, 7, 3), "dt": date(2026, 7, 2)},
        {contract.key[0]: "b", shown: "only", "updated_at": datetime(2026, 7, 1), "dt": date(2026, 7, 1)},
    ]
    found = run_model(f"staging.{contract.feed}", {f"raw.{contract.feed}": raw(contract.feed, rows)})
    assert found.select(contract.key[0], shown).rows() == [("a", "new"), ("b", "only")]


# ── who is whom ──────────────────────────────────────────────────────────────────────────────────────────────────────


def user(
    name: str, *, phone: str | None = None, email: str | None = None, at: datetime = BEFORE, **more: object
) -> Row:
    hashes = {"phone_hash": phone, "email_hash": email}
    return {"user_id": name, **hashes, "registered_at": at, "updated_at": at, **more}


def customer(
    name: str, *, phone: str | None = None, email: str | None = None, at: datetime = BEFORE, **more: object
) -> Row:
    hashes = {"phone_hash": phone, "email_hash": email}
    return {"customer_id": name, **hashes, "became_customer_at": at, "updated_at": at, **more}


def identify(users: Sequence[Row], customers: Sequence[Row]) -> pl.DataFrame:
    return identity_tables(users, customers, day=DAY, until="identities")["identities"]


def persons(found: pl.DataFrame) -> dict[str, str]:
    """Account → person; accounts of the tests bear different names at the two firms."""
    return dict(found.select("subject_id", "person_id").iter_rows())


def linked(found: pl.DataFrame) -> dict[str, str]:
    return dict(found.select("subject_id", "linked_by").iter_rows())


def test_a_phone_that_one_account_of_each_firm_carries_joins_the_two() -> None:
    found = identify([user("u1", phone="p"), user("u2", phone="q")], [customer("c1", phone="p")])
    who = persons(found)
    assert who["u1"] == who["c1"] != who["u2"]
    assert linked(found) == {"u1": "phone", "c1": "phone", "u2": "none"}


def test_a_phone_shared_within_one_firm_joins_nobody_at_either() -> None:
    """Better two profiles of one person than one profile of two."""
    for users, customers in (
        ([user("u1", phone="p"), user("u2", phone="p")], [customer("c1", phone="p")]),
        ([user("u1", phone="p")], [customer("c1", phone="p"), customer("c2", phone="p")]),
    ):
        found = identify(users, customers)
        assert found["person_id"].n_unique() == 3
        assert set(found["linked_by"]) == {"none"}


def test_an_email_joins_those_whom_no_phone_joined() -> None:
    found = identify(
        [user("u1", phone="p", email="e"), user("u2", phone="shared", email="f"), user("u3", phone="shared")],
        [customer("c1", phone="other", email="e"), customer("c2", phone="shared", email="f")],
    )
    who = persons(found)
    assert who["u1"] == who["c1"]
    assert who["u2"] == who["c2"]
    assert who["u3"] not in (who["u1"], who["u2"])
    assert linked(found) == {"u1": "email", "c1": "email", "u2": "email", "c2": "email", "u3": "none"}


def test_a_phone_goes_before_an_email_that_points_to_somebody_else() -> None:
    found = identify(
        [user("u1", phone="p", email="e"), user("u2", email="f")],
        [customer("c1", phone="p", email="f"), customer("c2", email="e")],
    )
    who = persons(found)
    assert who["u1"] == who["c1"]
    assert len(set(who.values())) == 3
    assert linked(found) == {"u1": "phone", "c1": "phone", "u2": "none", "c2": "none"}


def test_an_email_shared_within_one_firm_joins_nobody() -> None:
    found = identify([user("u1", email="e"), user("u2", email="e")], [customer("c1", email="e")])
    assert found["person_id"].n_unique() == 3


def test_missing_hashes_never_join() -> None:
    found = identify([user("u1")], [customer("c1")])
    assert found["person_id"].n_unique() == 2
    assert set(found["linked_by"]) == {"none"}


def test_a_phone_hash_is_no_email_hash() -> None:
    found = identify([user("u1", phone="h")], [customer("c1", email="h")])
    assert found["person_id"].n_unique() == 2


def test_the_same_id_at_both_firms_is_two_people() -> None:
    found = identify([user("7")], [customer("7")])
    assert found.select("partner", "subject_id").rows() == [("course_platform", "7"), ("insurer", "7")]
    assert found["person_id"].n_unique() == 2


@pytest.mark.parametrize("key", [{"phone": "p"}, {"email": "e"}])
def test_a_person_keeps_the_name_when_the_other_firms_account_appears_later(key: dict[str, str]) -> None:
    later = BEFORE + timedelta(days=30)
    first = persons(identify([user("u1", **key)], []))
    both = persons(identify([user("u1", **key)], [customer("c1", **key, at=later)]))
    assert first["u1"] == both["u1"] == both["c1"]
    first = persons(identify([], [customer("c1", **key)]))
    both = persons(identify([user("u1", **key, at=later)], [customer("c1", **key)]))
    assert first["c1"] == both["c1"] == both["u1"]


def test_a_changed_occupation_or_a_new_delivery_changes_no_name() -> None:
    old = identify([user("u1", phone="p")], [customer("c1", phone="p")])
    changed = user("u1", phone="p", occupation="teacher")
    new = identify(
        [user("u1", phone="p"), {**changed, "updated_at": BEFORE + timedelta(days=9)}], [customer("c1", phone="p")]
    )
    assert persons(old) == persons(new)


def expected_pairs(users: Sequence[Row], customers: Sequence[Row]) -> set[tuple[str, str]]:
    """Second method, by hand: phones first, then e-mails among those left, unique at both firms each time."""
    pairs: set[tuple[str, str]] = set()
    by_phone: dict[str, str] = {}
    for kind in ("phone_hash", "email_hash"):
        for u in users:
            same = [x for x in users if x[kind] == u[kind]]
            met = [c for c in customers if u[kind] is not None and c[kind] == u[kind]]
            if len(same) == len(met) == 1:
                one, other = str(u["user_id"]), str(met[0]["customer_id"])
                taken = one in by_phone or other in by_phone.values()
                if kind == "phone_hash" or not taken:
                    pairs.add((one, other))
                if kind == "phone_hash":
                    by_phone[one] = other
    return pairs


HASHES = st.tuples(st.sampled_from([None, "p1", "p2", "p3"]), st.sampled_from([None, "e1", "e2", "e3"]))


@settings(max_examples=15, deadline=None)
@given(st.lists(HASHES, max_size=4), st.lists(HASHES, max_size=4))
def test_joining_agrees_with_doing_it_by_hand_and_gives_each_account_one_person(
    of_users: list[tuple[str | None, str | None]], of_customers: list[tuple[str | None, str | None]]
) -> None:
    users = [user(f"u{n}", phone=p, email=e) for n, (p, e) in enumerate(of_users)]
    customers = [customer(f"c{n}", phone=p, email=e) for n, (p, e) in enumerate(of_customers)]
    found = identify(users, customers)
    assert found.height == len(users) + len(customers)
    who = persons(found)
    joined = {(str(u["user_id"]), str(c["customer_id"])) for u in users for c in customers}
    assert {(u, c) for u, c in joined if who[u] == who[c]} == expected_pairs(users, customers)
    assert found.group_by("person_id", "partner").len()["len"].max() in (None, 1)


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def people(users: Sequence[Row], customers: Sequence[Row]) -> dict[str, dict[str, object]]:
    """staging.people by the accounts of each person."""
    tables = identity_tables(users, customers, day=DAY)
    found = tables["people"]
    who = tables["identities"].group_by("person_id").agg(pl.col("subject_id").sort().str.join("+"))
    names = dict(who.iter_rows())
    return {names[row["person_id"]]: row for row in found.to_dicts()}


def test_the_insurers_word_comes_first_and_the_other_firms_fills_the_gaps() -> None:
    found = people(
        [
            user(
                "u1", phone="p", gender="female", birth_year=1980, occupation="cook", city_tier=2, interests="健康|旅行"
            )
        ],
        [customer("c1", phone="p", birth_year=1981, occupation="nurse", annual_income_fen=900)],
    )
    one = found["c1+u1"]
    wanted = ("female", 1981, "nurse", 2, 900, "健康|旅行", True, True)
    names = ("gender", "birth_year", "occupation", "city_tier", "annual_income_fen", "stated_interests")
    assert tuple(one[n] for n in (*names, "has_course_side", "has_insurance_side")) == wanted


def test_a_person_of_one_firm_has_one_side_and_that_firms_attributes() -> None:
    found = people([user("u1", birth_year=1990)], [customer("c1", birth_year=1970)])
    assert (found["u1"]["has_course_side"], found["u1"]["has_insurance_side"], found["u1"]["birth_year"]) == (
        True,
        False,
        1990,
    )
    assert (found["c1"]["has_course_side"], found["c1"]["has_insurance_side"], found["c1"]["birth_year"]) == (
        False,
        True,
        1970,
    )


def test_a_person_is_known_from_the_earlier_of_the_two_accounts_on() -> None:
    later = BEFORE + timedelta(days=5)
    assert people([user("u1", phone="p", at=later)], [customer("c1", phone="p")])["c1+u1"]["first_known_at"] == BEFORE
    assert people([user("u1", phone="p")], [customer("c1", phone="p", at=later)])["c1+u1"]["first_known_at"] == BEFORE


# ── consent decisions ────────────────────────────────────────────────────────────────────────────────────────────────


def known(*names: str, birth_year: int | None = 1980, at: datetime = BEFORE) -> pl.DataFrame:
    schema = {"person_id": pl.String, "birth_year": pl.Int64, "first_known_at": pl.Datetime("us")}
    return pl.DataFrame([(n, birth_year, at) for n in names], schema=schema, orient="row")


# One person "ann" with an account at each firm, and "bo" with one at the insurer.
IDENTITIES = pl.DataFrame(
    [("course_platform", "u1", "ann", BEFORE), ("insurer", "c1", "ann", BEFORE), ("insurer", "c2", "bo", BEFORE)],
    schema={"partner": pl.String, "subject_id": pl.String, "person_id": pl.String, "known_at": pl.Datetime("us")},
    orient="row",
)


def said(
    subject: str,
    decision: str = "granted",
    *,
    at: datetime = BEFORE,
    purpose: str = "profiling",
    until: date | None = None,
    name: str = "k1",
    partner: str | None = None,
    recipient: str | None = None,
    notice: str = "wide",
) -> Row:
    return {
        "partner": partner or ("course_platform" if subject.startswith("u") else "insurer"),
        "consent_id": name,
        "subject_id": subject,
        "purpose": purpose,
        "recipient": recipient,
        "decision": decision,
        "notice_version": notice,
        "source": "app",
        "decided_at": at,
        "expires_on": until,
    }


def consents(rows: Sequence[Row]) -> pl.DataFrame:
    names = ("partner", "consent_id", "subject_id", "purpose", "recipient", "decision", "notice_version", "source")
    times = {"decided_at": pl.Datetime("us"), "expires_on": pl.Date}
    frame = pl.DataFrame(rows, schema={**dict.fromkeys(names, pl.String), **times})
    return frame.with_columns(decided_on=pl.col("decided_at").dt.date())


# "wide" covers everything for both firms, "narrow" profiling by the course platform; "spring" was in use in spring.
NOTICES = notice_rows(
    [
        Notice("wide", PURPOSES, ("course_platform", "insurer"), date(2020, 1, 1), None),
        Notice("narrow", ("profiling",), ("course_platform",), date(2020, 1, 1), None),
        Notice("spring", ("profiling",), ("course_platform", "insurer"), date(2026, 3, 1), date(2026, 5, 31)),
    ]
)


def ledger(rows: Sequence[Row]) -> pl.DataFrame:
    return run_model("staging.consent_ledger", {"staging.consents": consents(rows), "staging.notices": NOTICES})


def decide(
    rows: Sequence[Row], *, of: pl.DataFrame | None = None, day: date = DAY, identities: pl.DataFrame | None = None
) -> pl.DataFrame:
    inputs = {
        "staging.people": known("ann", "bo") if of is None else of,
        "staging.identities": IDENTITIES if identities is None else identities,
        "staging.consent_ledger": ledger(rows),
    }
    refusals = run_model("staging.consent_refusals", inputs)
    return run_model("staging.consent_decisions", {**inputs, "staging.consent_refusals": refusals}, day=day)


def verdict(rows: Sequence[Row], *, day: date = DAY, who: str = "ann", of: pl.DataFrame | None = None) -> Row:
    """The decision about profiling of one person."""
    (row,) = decide(rows, of=of, day=day).filter(purpose="profiling", person_id=who).to_dicts()
    assert row["as_of_on"] == day
    assert row["is_allowed"] == (row["reason"] == "granted") == (row["consent_id"] is not None)
    return row


def reason(rows: Sequence[Row], *, day: date = DAY, of: pl.DataFrame | None = None) -> object:
    return verdict(rows, day=day, of=of)["reason"]


def test_every_known_person_has_a_decision_for_every_purpose() -> None:
    found = decide([said("u1")])
    assert found.select("purpose", "person_id").rows() == [(p, n) for p in PURPOSES for n in ("ann", "bo")]


def test_who_was_never_asked_is_not_allowed() -> None:
    assert reason([]) == "never asked"
    assert reason([said("c2")]) == "never asked"


def test_a_grant_at_one_firm_suffices_and_is_named() -> None:
    assert verdict([said("u1", name="k7")])["consent_id"] == "course_platform:k7"
    assert verdict([said("c1", name="k8")])["consent_id"] == "insurer:k8"


def test_a_grant_for_one_purpose_says_nothing_about_another() -> None:
    found = decide([said("u1", purpose="measurement")]).filter(person_id="ann")
    assert dict(found.select("purpose", "reason").iter_rows()) == {
        "profiling": "never asked",
        "joint_marketing": "never asked",
        "sensitive_profiling": "never asked",
        "measurement": "granted",
    }


@pytest.mark.parametrize(("granted_at", "withdrawn_at"), [("u1", "c1"), ("c1", "u1")])
def test_a_withdrawal_at_either_firm_blocks_both(granted_at: str, withdrawn_at: str) -> None:
    newer_grant = said(granted_at, at=BEFORE + timedelta(days=2))
    assert reason([newer_grant, said(withdrawn_at, "withdrawn")]) == "withdrawn"


def test_the_newest_decision_at_a_firm_counts_in_both_directions() -> None:
    later, latest = BEFORE + timedelta(days=1), BEFORE + timedelta(days=2)
    assert reason([said("u1", name="a"), said("u1", "withdrawn", at=later, name="b")]) == "withdrawn"
    again = [said("u1", "withdrawn", at=later, name="b"), said("u1", at=latest, name="a")]
    assert verdict(again)["consent_id"] == "course_platform:a"


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_decisions_of_the_same_moment_the_withdrawal_counts(names: tuple[str, str]) -> None:
    assert reason([said("u1", name=names[0]), said("u1", "withdrawn", name=names[1])]) == "withdrawn"


def test_a_grant_holds_through_its_last_day_and_not_after_it() -> None:
    grant = [said("u1", until=DAY)]
    assert reason(grant, day=DAY - timedelta(days=1)) == "granted"
    assert reason(grant, day=DAY) == "granted"
    assert reason(grant, day=DAY + timedelta(days=1)) == "expired"


def test_an_expired_grant_does_not_hide_a_valid_one_at_the_other_firm() -> None:
    rows = [said("u1", until=DAY - timedelta(days=1), name="old"), said("c1", name="valid")]
    assert verdict(rows)["consent_id"] == "insurer:valid"


def test_a_later_grant_that_expired_does_not_revive_an_earlier_one_without_end() -> None:
    """The newest decision counts: the person was asked again, and the answer had an end."""
    later = said("u1", at=BEFORE + timedelta(days=1), until=DAY - timedelta(days=1), name="b")
    assert reason([said("u1", name="a"), later]) == "expired"


def test_a_withdrawal_goes_before_an_expiry_in_the_reason() -> None:
    assert reason([said("u1", until=DAY - timedelta(days=1)), said("c1", "withdrawn")]) == "withdrawn"


def test_a_decision_counts_to_the_last_instant_of_the_day_and_not_from_midnight_on() -> None:
    grant = said("u1", name="a")
    assert reason([grant, said("u1", "withdrawn", at=END - INSTANT, name="b")]) == "withdrawn"
    assert reason([grant, said("u1", "withdrawn", at=END, name="b")]) == "withdrawn since"
    assert reason([said("u1", at=END)]) == "never asked"


@pytest.mark.parametrize(("born", "wanted"), [(2007, "granted"), (2008, "under 18"), (None, "granted")])
def test_people_who_are_not_certainly_18_by_year_of_birth_are_never_allowed(born: int | None, wanted: str) -> None:
    assert reason([said("u1")], of=known("ann", birth_year=born)) == wanted


def test_everybody_born_in_a_year_is_18_on_its_last_day_and_not_the_day_before() -> None:
    last = date(2026, 12, 31)
    ann = known("ann", birth_year=2008)
    assert reason([said("u1")], of=ann, day=last) == "granted"
    assert reason([said("u1")], of=ann, day=last - timedelta(days=1)) == "under 18"


def test_a_person_not_yet_known_on_the_day_has_no_row_and_the_last_instant_counts() -> None:
    assert decide([said("u1")], of=known("ann", at=END)).is_empty()
    assert decide([said("u1")], of=known("ann", at=END - INSTANT)).height == len(PURPOSES)


def test_the_same_account_name_at_the_other_firm_is_somebody_else() -> None:
    assert reason([said("u1", partner="insurer")]) == "never asked"


def test_a_consent_of_an_account_nobody_knows_is_nobodys() -> None:
    assert set(decide([said("u99")])["reason"]) == {"never asked"}


# ── the gates ────────────────────────────────────────────────────────────────────────────────────────────────────────


def gate(purpose: str, rows: Sequence[Row], *, identities: pl.DataFrame = IDENTITIES, day: date = DAY) -> pl.DataFrame:
    """A gate from the accounts ann (u1, c1) and bo (c2)."""
    attributes = known("ann", "bo").with_columns(
        gender=pl.lit("female"),
        occupation=pl.lit("cook"),
        city_tier=pl.lit(2),
        annual_income_fen=pl.lit(5),
        stated_interests=pl.lit("健康"),
    )
    inputs = {"staging.people": attributes, "staging.identities": identities}
    decisions = decide(rows, of=attributes, day=day, identities=identities)
    return run_model(f"staging.gate_{purpose}", {**inputs, "staging.consent_decisions": decisions}, day=day)


def also_needed(purpose: str) -> list[Row]:
    """Consent to the use of sensitive data comes on top of consent to profiling."""
    return [said("u1", purpose="profiling", name="base")] if purpose == "sensitive_profiling" else []


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_gate_carries_every_account_of_the_allowed_and_nobody_else(purpose: str) -> None:
    others = [said("c2", purpose=p, name=f"bo-{p}") for p in PURPOSES if p != purpose]
    found = gate(purpose, [*also_needed(purpose), said("u1", purpose=purpose, name="k"), *others])
    assert found.select("as_of_on", "partner", "subject_id", "person_id", "consent_id").rows() == [
        (DAY, "course_platform", "u1", "ann", "course_platform:k"),
        (DAY, "insurer", "c1", "ann", "course_platform:k"),
    ]
    assert not found.drop("as_of_on", "partner", "subject_id").is_unique().any()


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_withdrawn_an_expired_and_a_young_person_do_not_pass(purpose: str) -> None:
    withdrawn = [said("u1", purpose=purpose), said("c1", "withdrawn", purpose=purpose)]
    expired = [said("c2", purpose=purpose, until=DAY - timedelta(days=1))]
    assert gate(purpose, [*withdrawn, *expired]).is_empty()


def test_sensitive_data_need_both_consents() -> None:
    separate = said("u1", purpose="sensitive_profiling", name="s")
    assert gate("sensitive_profiling", [separate]).is_empty()
    assert gate("sensitive_profiling", [separate, said("u1")])["subject_id"].to_list() == ["u1", "c1"]
    assert gate("sensitive_profiling", [separate, said("u1"), said("c1", "withdrawn")]).is_empty()
    assert gate("sensitive_profiling", [said("u1")]).is_empty()


def test_only_the_profiling_gate_hands_out_attributes_and_only_the_sensitive_one_the_income() -> None:
    names = {p: set(gate(p, [said("u1", purpose=p)]).columns) for p in PURPOSES}
    door = {"as_of_on", "partner", "subject_id", "person_id", "consent_id"}
    assert names["measurement"] == door
    assert names["joint_marketing"] == {*door, "birth_year"}
    assert names["sensitive_profiling"] == {*door, "annual_income_fen"}
    assert names["profiling"] > {*door, "birth_year", "occupation"}
    assert "annual_income_fen" not in names["profiling"]
    assert not any("hash" in name for columns in names.values() for name in columns)


def test_an_account_opened_after_the_day_does_not_stand_in_that_days_gate() -> None:
    """A day built again later must look as it looked: the person was no customer of the insurer yet."""
    opened = pl.when(pl.col("subject_id") == "c1").then(pl.lit(END)).otherwise("known_at")
    later = IDENTITIES.with_columns(known_at=opened.cast(pl.Datetime("us")))
    for purpose in PURPOSES:
        rows = [*also_needed(purpose), said("u1", purpose=purpose)]
        assert gate(purpose, rows, identities=later)["subject_id"].to_list() == ["u1"]
        following = gate(purpose, rows, identities=later, day=DAY + timedelta(days=1))
        assert following["subject_id"].to_list() == ["u1", "c1"]


# ── do not contact ───────────────────────────────────────────────────────────────────────────────────────────────────


def told(
    subject: str, decision: str = "opted_out", *, channel: str = "sms", at: datetime = BEFORE, name: str = "o1"
) -> Row:
    partner = "course_platform" if subject.startswith("u") else "insurer"
    return {
        "partner": partner,
        "optout_id": name,
        "subject_id": subject,
        "channel": channel,
        "decision": decision,
        "decided_at": at,
    }


def closed(*rows: Row) -> list[tuple[str, str]]:
    """(person, channel) that must not be used."""
    texts = dict.fromkeys(("partner", "optout_id", "subject_id", "channel", "decision"), pl.String)
    given_rows = pl.DataFrame(rows, schema={**texts, "decided_at": pl.Datetime("us")})
    inputs = {"staging.contact_optouts": given_rows, "staging.identities": IDENTITIES}
    found = run_model("staging.do_not_contact", inputs, day=DAY)
    assert set(found["as_of_on"]) <= {DAY}
    return found.select("person_id", "channel").rows()


def test_an_opt_out_closes_its_channel_for_the_person_whichever_firm_was_told() -> None:
    assert closed(told("u1"), told("c2", channel="all")) == [("ann", "sms"), ("bo", "all")]
    assert closed(told("c1")) == [("ann", "sms")]


def test_both_firms_told_the_same_make_one_row() -> None:
    assert closed(told("u1"), told("c1")) == [("ann", "sms")]


def test_who_opts_back_in_may_be_contacted_again_on_that_channel() -> None:
    back = told("u1", "opted_in", at=BEFORE + timedelta(days=1), name="o2")
    assert closed(told("u1"), back) == []
    assert closed(told("u1"), told("u1", channel="email", name="o3"), back) == [("ann", "email")]


def test_opting_in_at_one_firm_does_not_open_what_was_closed_at_the_other() -> None:
    assert closed(told("u1"), told("c1", "opted_in", at=BEFORE + timedelta(days=1))) == [("ann", "sms")]


def test_opting_in_to_one_channel_leaves_the_refusal_of_all_in_force() -> None:
    back = told("u1", "opted_in", at=BEFORE + timedelta(days=1), name="o2")
    assert closed(told("u1", channel="all"), back) == [("ann", "all")]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_words_of_the_same_moment_the_refusal_counts(names: tuple[str, str]) -> None:
    assert closed(told("u1", name=names[0]), told("u1", "opted_in", name=names[1])) == [("ann", "sms")]


def test_a_word_after_the_end_of_the_day_is_not_yet_heard() -> None:
    assert closed(told("u1", at=END - INSTANT)) == [("ann", "sms")]
    assert closed(told("u1", at=END)) == []
    assert closed(told("u1"), told("u1", "opted_in", at=END, name="o2")) == [("ann", "sms")]
