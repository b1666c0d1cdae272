"""Assignments and outcomes of experiments, on rows written by hand."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from xmkt_assets.adapters import hillstrom
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_SCHEMA
from xmkt_assets.evaluation.experiments import results
from xmkt_assets_tests.sql_helper import run_model

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
LAUNCH, UNTIL = date(2026, 3, 10), date(2026, 3, 12)
NEWEST = date(2026, 3, 20)
LISTED_ON = date(2026, 3, 9)

GATE = {"as_of_on": pl.Date, "partner": pl.String, "subject_id": pl.String, "person_id": pl.String}
EVENTS = {
    "partner": pl.String,
    "event_id": pl.String,
    "campaign_id": pl.String,
    "subject_id": pl.String,
    "event": pl.String,
    "arm": pl.String,
    "assignment_share": pl.Float64,
    "occurred_at": pl.Datetime("us"),
    "amount_fen": pl.Int64,
    "currency": pl.String,
    "score": pl.Float64,
    "covariates": pl.String,
}
VIEWS = {"view_id": pl.String, "user_id": pl.String, "viewed_on": pl.Date}
ORDERS = {"order_line_id": pl.String, "user_id": pl.String, "ordered_on": pl.Date} | {
    "paid_fen": pl.Int64,
    "status": pl.String,
}
POLICIES = {
    "policy_event_id": pl.String,
    "customer_id": pl.String,
    "event": pl.String,
    "occurred_on": pl.Date,
    "premium_fen": pl.Int64,
}


def rows(schema: dict[str, object], *values: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(values), schema=schema)


def gate(*accounts: tuple[str, str, str], day: date = NEWEST) -> pl.DataFrame:
    return pl.DataFrame([(day, *account) for account in accounts], schema=GATE, orient="row")


def gate_throughout(*accounts: tuple[str, str, str]) -> pl.DataFrame:
    """Consent in force on the day the list was made from and on the newest day."""
    return pl.concat([gate(*accounts, day=LISTED_ON), gate(*accounts)])


def events(*found: dict[str, object]) -> pl.DataFrame:
    base = {"partner": "course_platform", "campaign_id": "mail"}
    frame = rows(EVENTS, *({"event_id": f"e{i}"} | base | event for i, event in enumerate(found)))
    return frame.with_columns(occurred_on=pl.col("occurred_at").dt.date())


def listed(**changes: object) -> dict[str, object]:
    return {
        "campaign_id": "autumn",
        "arm": "treatment",
        "treatment_share": 0.75,
        "assignment_share": 0.75,
        "score": 0.5,
        "as_of_on": LISTED_ON,
        "launched_on": LAUNCH,
        "outcome_until_on": UNTIL,
        "goal_metric": "spend_fen",
    } | changes


def assignments(
    measured: pl.DataFrame, *, campaign: list[dict[str, object]] | None = None, imported: pl.DataFrame | None = None
) -> pl.DataFrame:
    inputs = {
        "staging.gate_measurement": measured,
        "campaigns.campaign_list": rows(CAMPAIGN_LIST_SCHEMA, *(campaign or [])),
        "staging.campaign_events": events() if imported is None else imported,
    }
    return run_model("evaluation.experiment_assignments", inputs)


def assignment(**changes: object) -> dict[str, object]:
    first = {"event": "assignment", "arm": "control", "assignment_share": 0.5, "occurred_at": datetime(2026, 3, 10, 9)}
    return {"subject_id": "u1"} | first | changes


def test_only_people_who_consent_to_measurement_on_the_newest_day_are_measured() -> None:
    withdrawn = gate(("course_platform", "u2", "p2"), day=LISTED_ON)
    measured = pl.concat([gate_throughout(("course_platform", "u1", "p1")), withdrawn])
    found = assignments(measured, campaign=[listed(person_id="p1"), listed(person_id="p2"), listed(person_id="p3")])
    assert found["person_id"].to_list() == ["p1"]
    assert found["measured_on"].to_list() == [NEWEST]


def test_a_consent_that_came_with_the_purchase_does_not_let_a_listed_person_into_the_experiment() -> None:
    measured = pl.concat([gate_throughout(("course_platform", "u1", "p1")), gate(("insurer", "i2", "p2"))])
    found = assignments(measured, campaign=[listed(person_id="p1"), listed(person_id="p2")])
    assert found["person_id"].to_list() == ["p1"]


def test_a_person_with_accounts_at_both_firms_is_assigned_once() -> None:
    measured = gate_throughout(("course_platform", "u1", "p1"), ("insurer", "i1", "p1"))
    found = assignments(measured, campaign=[listed(person_id="p1")])
    row = found.row(0, named=True)
    assert found.height == 1
    assert (row["source"], row["known_on"], row["goal_metric"]) == ("platform", date(2026, 3, 9), "spend_fen")
    assert (row["launched_on"], row["outcome_until_on"]) == (LAUNCH, UNTIL)


def test_an_imported_assignment_has_a_window_of_fourteen_days_after_it() -> None:
    known = assignment(arm="mens", score=3.5, covariates='{"age": 1}')
    row = assignments(gate(("course_platform", "u1", "p1")), imported=events(known)).row(0, named=True)
    assert (row["source"], row["arm"], row["assignment_share"]) == ("imported", "mens", 0.5)
    assert (row["launched_on"], row["outcome_until_on"]) == (LAUNCH, LAUNCH + timedelta(days=14))
    assert (row["score"], row["covariates"], row["treatment_share"]) == (3.5, '{"age": 1}', None)


def test_who_is_assigned_twice_counts_in_the_arm_drawn_first() -> None:
    measured = gate(("course_platform", "u1", "p1"), ("insurer", "i1", "p1"))
    late = assignment(arm="mens", occurred_at=datetime(2026, 3, 11))
    early = assignment(partner="insurer", subject_id="i1", arm="womens")
    assert assignments(measured, imported=events(late, early))["arm"].to_list() == ["womens"]


def test_assignments_that_arrive_for_a_list_made_here_change_nothing() -> None:
    measured = gate_throughout(("course_platform", "u1", "p1"), ("course_platform", "u2", "p2"))
    echoes = events(assignment(campaign_id="autumn"), assignment(campaign_id="autumn", subject_id="u2"))
    found = assignments(measured, campaign=[listed(person_id="p1")], imported=echoes)
    assert found.select("person_id", "source", "arm").rows() == [("p1", "platform", "treatment")]


def test_an_imported_assignment_without_an_arm_is_shown_as_unknown_and_not_dropped() -> None:
    found = assignments(gate(("course_platform", "u1", "p1")), imported=events(assignment(arm=None)))
    assert found["arm"].to_list() == ["unknown"]


def outcomes(
    *,
    source: str = "platform",
    views: list[dict[str, object]] | None = None,
    orders: list[dict[str, object]] | None = None,
    policies: list[dict[str, object]] | None = None,
    happened: pl.DataFrame | None = None,
) -> dict[str, object]:
    """Outcomes of p1, who has two accounts at the course platform (u1, u2) and one at the insurer (i1)."""
    assigned = {
        "campaign_id": "mail",
        "person_id": "p1",
        "source": source,
        "assigned_at": datetime(2026, 3, 10, 9) if source == "imported" else datetime(2026, 3, 10),
        "launched_on": LAUNCH,
        "outcome_until_on": UNTIL,
        "measured_on": NEWEST,
    }
    inputs = {
        "evaluation.experiment_assignments": [assigned],
        "staging.gate_measurement": pl.concat(
            [
                gate(("course_platform", "u1", "p1"), ("course_platform", "u2", "p1"), ("insurer", "i1", "p1")),
                gate(("course_platform", "u3", "p1"), day=date(2026, 3, 1)),
            ]
        ),
        "staging.course_views": rows(VIEWS, *(views or [])),
        "staging.course_orders": rows(ORDERS, *(orders or [])),
        "staging.policies": rows(POLICIES, *(policies or [])),
        "staging.campaign_events": events() if happened is None else happened,
    }
    found = run_model("evaluation.experiment_outcomes", inputs)
    assert found.height == 1
    return found.row(0, named=True)


def order(day: date, *, user: str = "u1", paid_fen: int = 100, status: str = "paid") -> dict[str, object]:
    return {"user_id": user, "ordered_on": day, "paid_fen": paid_fen, "status": status}


def test_who_did_nothing_has_zeros_and_falses_and_not_gaps() -> None:
    row = outcomes()
    own = ["has_course_view", "has_course_order", "has_course_repurchase", "has_policy", "has_policy_renewal"]
    assert [row[name] for name in own] == [False] * 5
    assert (row["spend_fen"], row["currency"], row["has_visit"], row["has_conversion"]) == (0, "CNY", None, None)


def test_both_ends_of_the_window_count_and_the_days_around_it_do_not() -> None:
    day = timedelta(days=1)
    for viewed_on, inside in ((LAUNCH - day, False), (LAUNCH, True), (UNTIL, True), (UNTIL + day, False)):
        row = outcomes(views=[{"user_id": "u1", "viewed_on": viewed_on}], orders=[order(viewed_on)])
        assert (row["has_course_view"], row["has_course_order"], row["spend_fen"] > 0) == (inside, inside, inside)


def test_orders_of_both_accounts_add_up_and_refunds_do_not() -> None:
    row = outcomes(orders=[order(LAUNCH), order(UNTIL, user="u2"), order(LAUNCH, paid_fen=900, status="refunded")])
    assert (row["has_course_order"], row["spend_fen"]) == (True, 200)


def test_an_account_that_is_no_longer_in_the_gate_is_not_read() -> None:
    assert outcomes(orders=[order(LAUNCH, user="u3")])["spend_fen"] == 0


def test_a_repurchase_needs_an_order_before_the_launch_and_one_within_the_window() -> None:
    before = order(LAUNCH - timedelta(days=40))
    assert outcomes(orders=[before])["has_course_repurchase"] is False
    assert outcomes(orders=[order(LAUNCH), order(UNTIL)])["has_course_repurchase"] is False
    again = outcomes(orders=[before, order(UNTIL, user="u2")])
    assert (again["has_course_repurchase"], again["spend_fen"]) == (True, 100)


def test_issued_policies_convert_and_spend_renewals_retain_and_cancellations_do_neither() -> None:
    def policy(event: str, premium_fen: int | None) -> dict[str, object]:
        return {"customer_id": "i1", "event": event, "occurred_on": LAUNCH, "premium_fen": premium_fen}

    issued = outcomes(policies=[policy("issued", 700), policy("issued", None)], orders=[order(LAUNCH)])
    assert (issued["has_policy"], issued["has_policy_renewal"], issued["spend_fen"]) == (True, False, 800)
    renewed = outcomes(policies=[policy("renewed", 700)])
    assert (renewed["has_policy"], renewed["has_policy_renewal"], renewed["spend_fen"]) == (False, True, 0)
    assert outcomes(policies=[policy("cancelled", None)])["has_policy"] is False
    unshared = outcomes(policies=[policy("issued", None)])
    assert (unshared["has_policy"], unshared["spend_fen"]) == (True, 0)


def happening(event: str, at: datetime, **changes: object) -> dict[str, object]:
    return {"subject_id": "u1", "event": event, "occurred_at": at} | changes


def test_an_imported_experiment_is_read_from_its_own_events_after_assignment() -> None:
    at_insurer = {"partner": "insurer", "subject_id": "i1"}
    row = outcomes(
        source="imported",
        orders=[order(LAUNCH)],
        happened=events(
            happening("visit", datetime(2026, 3, 10, 8)),
            happening("visit", datetime(2026, 3, 12, 23)),
            happening("conversion", datetime(2026, 3, 11), amount_fen=250, currency="USD"),
            happening("conversion", datetime(2026, 3, 12), amount_fen=50, currency="USD") | at_insurer,
            happening("conversion", datetime(2026, 3, 13), amount_fen=999, currency="USD"),
            happening("conversion", datetime(2026, 3, 11), amount_fen=999, currency="USD", campaign_id="other"),
        ),
    )
    assert (row["has_visit"], row["has_conversion"], row["spend_fen"], row["currency"]) == (True, True, 300, "USD")
    assert (row["has_course_order"], row["has_policy"]) == (None, None)


def test_a_visit_before_assignment_is_no_outcome() -> None:
    row = outcomes(source="imported", happened=events(happening("visit", datetime(2026, 3, 10, 8))))
    assert (row["has_visit"], row["spend_fen"], row["currency"]) == (False, 0, None)


def test_money_in_two_currencies_is_named_mixed() -> None:
    at = datetime(2026, 3, 11)
    both = (happening("conversion", at, amount_fen=1, currency=currency) for currency in ("USD", "TWD"))
    assert outcomes(source="imported", happened=events(*both))["currency"] == "mixed"


def test_exposure_and_click_of_a_list_made_here_are_known_beside_its_outcomes() -> None:
    row = outcomes(
        happened=events(happening("exposure", datetime(2026, 3, 10, 1)), happening("click", datetime(2026, 3, 11)))
    )
    assert (row["has_exposure"], row["has_click"], row["has_visit"]) == (True, True, None)


def test_hillstroms_published_effects_survive_the_way_from_partner_events_to_results() -> None:
    """Adapter → assignments → outcomes → results: women's visits +4.523 points, men's spend +$.770."""
    if not (DATA / "hillstrom").exists():
        pytest.skip(f"{DATA / 'hillstrom'} is not on this machine: the public data set is not part of the repository")
    subjects = hillstrom.read_subjects(DATA)
    happened = hillstrom.campaign_events(subjects, assigned_at=datetime(2020, 6, 1)).with_columns(
        partner=pl.lit("course_platform"),
        occurred_on=pl.col("occurred_at").dt.date(),
        currency=pl.coalesce("currency", pl.lit("CNY")),
    )
    measured = subjects.select(
        as_of_on=pl.lit(date(2020, 7, 1)),
        partner=pl.lit("course_platform"),
        subject_id="subject_id",
        person_id=pl.format("p-{}", "subject_id"),
    )
    assigned = assignments(measured, imported=happened)
    inputs = {
        "evaluation.experiment_assignments": assigned,
        "staging.gate_measurement": measured,
        "staging.course_views": rows(VIEWS),
        "staging.course_orders": rows(ORDERS),
        "staging.policies": rows(POLICIES),
        "staging.campaign_events": happened,
    }
    counted = run_model("evaluation.experiment_outcomes", inputs)
    people = assigned.join(counted, on=["campaign_id", "person_id"])
    found = {(r["arm"], r["metric"]): r for r in results(people).iter_rows(named=True)}
    assert people.height == 64_000
    assert found["womens_email", "visit_share"]["difference"] == pytest.approx(0.04523, abs=5e-6)
    assert found["mens_email", "spend"]["difference"] == pytest.approx(77.0, abs=0.05)
    assert found["mens_email", "spend"]["unit"] == "USD"
    assert found["mens_email", "spend"]["srm_p_value"] == pytest.approx(0.904, abs=0.0005)
    assert not found["mens_email", "spend"]["is_preliminary"]
