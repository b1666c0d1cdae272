"""Campaigns: nobody is listed who may not be, everyone is accounted for, the budget holds, and the holdout is blind."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import sqrt

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from xmkt_assets.campaigns.decisions import RULE_NAMES, CampaignError, Decisions, Inputs, decide
from xmkt_assets.campaigns.holdout import arms, hash_share
from xmkt_assets.campaigns.joint import joint_offers
from xmkt_assets.campaigns.pictures import waterfall_figure
from xmkt_assets.campaigns.plan import EXAMPLES, Audience, CampaignPlan, load_plan
from xmkt_assets.campaigns.tables import (
    CAMPAIGN_LIST_COLUMNS,
    CAMPAIGN_LIST_SCHEMA,
    EXCLUSIONS_COLUMNS,
    EXCLUSIONS_SCHEMA,
)

TOPICS = ("健康", "理财", "旅行")
CATALOGUE = pl.DataFrame(
    {
        "item_id": ["c1", "c2", "q1", "q2"],
        "title": ["Sleep well", "Save well", "Hospital cover", "Pension plan"],
        "topics": ["健康", "理财|旅行", "健康", "理财"],
    }
)


@dataclass(frozen=True)
class Someone:
    """A person as the rules see one; the oracle of these tests reads this, never a frame."""

    is_allowed: bool = True
    opted_out_of: str | None = None
    has_profile: bool = True
    age_years: int | None = 40
    value_label: str = "steady"
    has_insurance_side: bool = True
    interests: str | None = "健康"
    course_count: int = 2
    product_count: int = 2
    may_buy: tuple[str, ...] = ("q1", "q2")


def plan(**changes: object) -> CampaignPlan:
    """The example plan with fields changed, validated again."""
    return CampaignPlan.model_validate(load_plan("autumn_joint", folder=EXAMPLES).model_dump() | changes)


def world(people: Sequence[Someone]) -> Inputs:
    """Tables that say what `people` are; person i is called p<i>."""
    named = [(f"p{i:05d}", person) for i, person in enumerate(people)]
    words = pl.String
    with_profile = [(n, p) for n, p in named if p.has_profile]
    return Inputs(
        consents=_frame(
            ((n, p.is_allowed, "granted" if p.is_allowed else "withdrawn", f"course_platform:{n}") for n, p in named),
            person_id=words,
            is_allowed=pl.Boolean,
            reason=words,
            consent_id=words,
        ),
        gate=_frame(
            ((firm, f"{firm[0]}-{n}", n) for n, p in named if p.is_allowed for firm in ("course_platform", "insurer")),
            partner=words,
            subject_id=words,
            person_id=words,
        ),
        do_not_contact=_frame(
            ((n, p.opted_out_of) for n, p in named if p.opted_out_of), person_id=words, channel=words
        ),
        profiles=_frame(
            ((n, p.age_years, p.value_label, True, p.has_insurance_side, p.interests) for n, p in with_profile),
            person_id=words,
            age_years=pl.Int32,
            value_label=words,
            has_course_side=pl.Boolean,
            has_insurance_side=pl.Boolean,
            interests=words,
        ),
        courses=_recommendations(named, "c", lambda p: p.course_count),
        products=_recommendations(named, "q", lambda p: p.product_count),
        eligible_products=_frame(
            ((n, item) for n, p in named for item in p.may_buy), person_id=words, item_id=words
        ),
        catalogue=CATALOGUE,
    )  # fmt: skip


def _frame(rows: object, **schema: object) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema, orient="row")  # type: ignore[call-overload,arg-type]


def _recommendations(
    named: Sequence[tuple[str, Someone]], prefix: str, count: Callable[[Someone], int]
) -> pl.DataFrame:
    rows = [(n, f"{prefix}{rank}", rank, "als", 3) for n, p in named for rank in range(1, count(p) + 1)]
    return _frame(
        rows,
        person_id=pl.String,
        item_id=pl.String,
        rank=pl.Int64,
        model=pl.String,
        model_version=pl.Int64,
    )


someone = st.builds(
    Someone,
    is_allowed=st.booleans(),
    opted_out_of=st.sampled_from([None, None, None, "all", "app_push", "sms"]),
    has_profile=st.sampled_from([True, True, True, False]),
    age_years=st.sampled_from([None, 19, 20, 21, 59, 60, 61]),
    value_label=st.sampled_from(["steady", "high value"]),
    has_insurance_side=st.booleans(),
    interests=st.none() | st.lists(st.sampled_from(TOPICS), max_size=3).map("|".join),
    course_count=st.integers(0, 2),
    product_count=st.integers(0, 2),
    may_buy=st.sampled_from([(), ("q1",), ("q2",), ("q1", "q2")]),
)
plans = st.builds(
    plan,
    audience=st.builds(
        Audience,
        min_age=st.sampled_from([None, 20]),
        max_age=st.sampled_from([None, 60]),
        value_labels=st.sampled_from([(), ("high value",)]),
        must_know_both_sides=st.booleans(),
    ).map(lambda audience: audience.model_dump()),
    holdout_share=st.floats(0.05, 0.95),
    contact_cost_fen=st.integers(0, 40),
    incentive_fen=st.integers(0, 10),
    budget_fen=st.integers(50, 600),
    salt=st.text("abcdefgh", min_size=8, max_size=12),
)
crowds = st.lists(someone, max_size=30)
# A campaign takes tens of milliseconds: shrinking a failure would cost minutes, and a crowd is readable as it is.
QUICK = {"deadline": None, "phases": (Phase.explicit, Phase.generate)}


def first_rule(person: Someone, asked: CampaignPlan) -> str | None:
    """The oracle: the rules in their order, on one person, in plain Python."""
    rules = asked.audience
    age = person.age_years
    ages_matter = rules.min_age is not None or rules.max_age is not None
    outside = (
        not person.has_profile
        or (ages_matter and age is None)
        or (rules.min_age is not None and age is not None and age < rules.min_age)
        or (rules.max_age is not None and age is not None and age > rules.max_age)
        or (bool(rules.value_labels) and person.value_label not in rules.value_labels)
        or (rules.must_know_both_sides and not person.has_insurance_side)
    )
    sellable = {f"q{rank}" for rank in range(1, person.product_count + 1)} & set(person.may_buy)
    findings = [
        ("consent", not person.is_allowed),
        ("do_not_contact", person.opted_out_of in ("all", asked.channel)),
        ("audience", outside),
        ("suitability", not sellable or not person.course_count),
    ]
    return next((name for name, applies in findings if applies), None)


def shuffled(inputs: Inputs, *, seed: int) -> Inputs:
    frames = {name: getattr(inputs, name) for name in Inputs.__slots__}
    return Inputs(**{n: f.sample(fraction=1, shuffle=True, seed=seed) for n, f in frames.items()})


@settings(max_examples=40, **QUICK)
@given(crowds, plans)
def test_everyone_known_is_listed_or_left_out_exactly_once_by_the_first_rule_that_applies(
    crowd: list[Someone], asked: CampaignPlan
) -> None:
    decisions = decide(asked, world(crowd))
    placed = [*decisions.listed["person_id"], *decisions.exclusions["person_id"]]
    assert sorted(placed) == [f"p{i:05d}" for i in range(len(crowd))]
    found = dict(decisions.exclusions.select("person_id", "rule").iter_rows())
    for i, person in enumerate(crowd):
        expected = first_rule(person, asked)
        assert found.get(f"p{i:05d}") in ({expected} if expected else {None, "budget"})


@settings(max_examples=20, **QUICK)
@given(crowds, plans)
def test_what_is_offered_may_be_sold_and_what_it_costs_stays_within_the_budget(
    crowd: list[Someone], asked: CampaignPlan
) -> None:
    listed = decide(asked, world(crowd)).listed
    treated = listed.filter(pl.col("arm") == "treatment")
    assert treated.height * asked.treated_cost_fen <= asked.budget_fen
    assert listed.filter(arm="control").select(pl.sum("contact_cost_fen", "incentive_fen")).row(0) == (0, 0)
    for person_id, product in listed.select("person_id", "product_id").iter_rows():
        assert product in crowd[int(person_id[1:])].may_buy


@settings(max_examples=20, **QUICK)
@given(crowds, plans, st.integers(0, 99))
def test_the_same_plan_gives_the_same_list_whatever_the_order_of_rows(
    crowd: list[Someone], asked: CampaignPlan, seed: int
) -> None:
    one, other = decide(asked, world(crowd)), decide(asked, shuffled(world(crowd), seed=seed))
    assert one.listed.equals(other.listed)
    assert one.exclusions.equals(other.exclusions)


@settings(max_examples=20, **QUICK)
@given(crowds, plans, st.integers(1, 500))
def test_more_budget_never_drops_anybody(crowd: list[Someone], asked: CampaignPlan, more: int) -> None:
    richer = asked.model_copy(update={"budget_fen": asked.budget_fen + more})
    before, after = (set(decide(p, world(crowd)).listed["person_id"]) for p in (asked, richer))
    assert before <= after


@settings(max_examples=20, **QUICK)
@given(crowds, plans)
def test_one_more_rule_never_spends_more(crowd: list[Someone], asked: CampaignPlan) -> None:
    stricter = asked.model_copy(update={"audience": asked.audience.model_copy(update={"must_know_both_sides": True})})
    assert decide(stricter, world(crowd)).treated_cost_fen <= decide(asked, world(crowd)).treated_cost_fen


def test_the_budget_goes_to_the_highest_scores_and_the_rest_are_left_out_as_budget() -> None:
    """Overlaps 1 (two), 0 and less than 1; two contacts are paid for."""
    crowd = [Someone(interests=interests) for interests in ("健康", None, "健康|理财|旅行", "健康")]
    decisions = decide(plan(holdout_share=1e-9, budget_fen=100, contact_cost_fen=50), world(crowd))
    assert decisions.listed["person_id"].to_list() == ["p00000", "p00003"]
    left_out = decisions.exclusions.select("person_id", "rule", "step").rows()
    assert left_out == [("p00001", "budget", 5), ("p00002", "budget", 5)]


def test_among_equal_scores_chance_decides_and_not_the_id() -> None:
    listed = decide(plan(holdout_share=1e-9, budget_fen=2000), world([Someone()] * 400)).listed["person_id"]
    assert len(listed) == 40
    assert listed.max() > "p00300"
    assert listed.min() < "p00100"


def test_a_person_in_doubt_is_left_out_with_the_reason_in_words() -> None:
    crowd = [
        Someone(is_allowed=False),
        Someone(opted_out_of="all"),
        Someone(opted_out_of="sms"),
        Someone(has_profile=False),
        Someone(age_years=None),
        Someone(age_years=70),
        Someone(may_buy=()),
        Someone(course_count=0),
    ]
    found = dict(decide(plan(), world(crowd)).exclusions.select("person_id", "detail").iter_rows())
    assert found == {
        "p00000": "withdrawn",
        "p00001": "opted out of all",
        "p00003": "no profile (no consent to profiling, or not yet built)",
        "p00004": "age unknown",
        "p00005": "older than 65",
        "p00006": "no eligible product is recommended",
        "p00007": "no course is recommended",
    }


def test_both_limits_of_age_are_themselves_within_the_audience() -> None:
    asked = plan(audience={"min_age": 20, "max_age": 60})
    listed = decide(asked, world([Someone(age_years=age) for age in (19, 20, 60, 61)])).listed
    assert listed["person_id"].to_list() == ["p00001", "p00002"]


def test_consent_without_a_way_through_the_gate_is_no_consent() -> None:
    inputs = world([Someone()])
    decisions = decide(plan(), replace(inputs, gate=inputs.gate.clear()))
    assert decisions.exclusions.select("rule", "detail").row(0) == (
        "consent",
        "allowed, but not in staging.gate_joint_marketing",
    )


def test_a_person_who_stands_twice_in_the_consents_stops_the_campaign() -> None:
    inputs = world([Someone(), Someone()])
    doubled = replace(inputs, consents=pl.concat([inputs.consents, inputs.consents.head(1)]))
    with pytest.raises(CampaignError, match=r"holds 3 rows for 2 people \(e\.g\. \['p00000'\]\)"):
        decide(plan(), doubled)


def test_an_eligible_product_far_down_the_ranking_is_still_offered() -> None:
    inputs = world([Someone()])
    ranks = inputs.products.with_columns(pl.col("rank") + 8)
    listed = decide(plan(holdout_share=1e-9), replace(inputs, products=ranks)).listed
    assert listed["product_id"].to_list() == ["q1"]


def test_a_list_row_says_everything_that_both_firms_and_the_evaluation_need() -> None:
    asked = plan(holdout_share=0.25, incentive_fen=30, salt="hold-nobody-1")
    rows = decide(asked, world([Someone()] * 12)).listed
    assert rows.schema == pl.Schema(CAMPAIGN_LIST_SCHEMA)
    for row in rows.iter_rows(named=True):
        treated = hash_share(row["person_id"], salt="hold-nobody-1") >= 0.25
        expected = ("treatment", 0.75, 50, 30) if treated else ("control", 0.25, 0, 0)
        assert (row["arm"], row["assignment_share"], row["contact_cost_fen"], row["incentive_fen"]) == expected
        assert row["user_id"] == f"c-{row['person_id']}"
        assert row["customer_id"] == f"i-{row['person_id']}"
        assert row["consent_id"] == f"course_platform:{row['person_id']}"
        assert (row["treatment_share"], row["budget_fen"]) == (0.75, 300000)
        assert (row["launched_on"], row["outcome_until_on"]) == (date(2026, 9, 29), date(2026, 10, 28))
        assert (row["course_model_version"], row["goal_metric"]) == ("als v3", "product_conversion_share")


def test_nobody_known_gives_two_empty_tables_of_the_declared_columns() -> None:
    decisions = decide(plan(), world([]))
    assert decisions.listed.schema == pl.Schema(CAMPAIGN_LIST_SCHEMA)
    assert decisions.exclusions.schema == pl.Schema(EXCLUSIONS_SCHEMA)
    assert (decisions.listed.height, decisions.exclusions.height) == (0, 0)


def test_every_column_of_both_tables_has_a_meaning() -> None:
    assert CAMPAIGN_LIST_COLUMNS.keys() == CAMPAIGN_LIST_SCHEMA.keys()
    assert EXCLUSIONS_COLUMNS.keys() == EXCLUSIONS_SCHEMA.keys()


def test_the_waterfall_starts_at_the_population_and_ends_at_the_list() -> None:
    crowd = [Someone(), Someone(is_allowed=False), Someone(is_allowed=False), Someone(age_years=90)]
    decisions = decide(plan(), world(crowd))
    steps = decisions.waterfall().select("rule", "came_count", "left_out_count", "went_on_count").rows()
    assert steps == [
        ("consent", 4, 2, 2),
        ("do_not_contact", 2, 0, 2),
        ("audience", 2, 1, 1),
        ("suitability", 1, 0, 1),
        ("budget", 1, 0, 1),
    ]
    assert tuple(decisions.waterfall()["rule"]) == RULE_NAMES


def test_the_waterfall_picture_has_a_bar_for_every_rule_and_the_list() -> None:
    decisions = Decisions(pl.DataFrame(schema=CAMPAIGN_LIST_SCHEMA), pl.DataFrame(schema=EXCLUSIONS_SCHEMA))
    axes = waterfall_figure(decisions.waterfall(), title="nobody").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [*RULE_NAMES, "listed"]


# --- holdout ---------------------------------------------------------------------------------------------------------


def test_the_hash_is_sha256_of_salt_and_person_so_that_both_firms_can_recompute_it() -> None:
    digest = hashlib.sha256(b"autumn|p1").hexdigest()
    assert hash_share("p1", salt="autumn") == int(digest[:13], 16) / 2**52


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_holdout_has_its_share_within_four_standard_errors(share: float) -> None:
    people = pl.Series([f"p{i}" for i in range(20_000)])
    held = (arms(people, holdout_share=share, salt="some-salt") == "control").sum()
    assert abs(held - 20_000 * share) < 4 * sqrt(20_000 * share * (1 - share))


def test_two_salts_hold_out_people_independently() -> None:
    people = pl.Series([f"p{i}" for i in range(20_000)])
    one, other = (arms(people, holdout_share=0.5, salt=salt) == "control" for salt in ("salt-one", "salt-two"))
    assert abs((one & other).sum() - 5_000) < 4 * sqrt(20_000 * 0.25 * 0.75)


@given(st.lists(st.text(min_size=1, max_size=6), unique=True, min_size=1, max_size=20), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_arm_of_a_person_does_not_depend_on_who_else_is_there(people: list[str], random: object) -> None:
    mixed = list(people)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (
        dict(zip(order, arms(pl.Series(order), holdout_share=0.5, salt="x"), strict=True)) for order in (people, mixed)
    )
    assert one == other


def test_the_ranking_does_not_know_the_arm() -> None:
    """With another salt other people are held out, but scores, offers and their order stay."""
    crowd = [Someone(interests=TOPICS[i % 3], age_years=20 + i) for i in range(40)]
    one, other = (
        decide(plan(salt=salt, holdout_share=0.5), world(crowd)).listed for salt in ("salt-one1", "salt-two2")
    )
    assert one["arm"].to_list() != other["arm"].to_list()
    same = ["person_id", "score", "course_id", "product_id", "reason"]
    assert one.select(same).equals(other.select(same))


# --- joint recommendation --------------------------------------------------------------------------------------------


def offers(interests: str | None, catalogue: pl.DataFrame = CATALOGUE) -> dict[str, object]:
    inputs = world([Someone(interests=interests)])
    wanted = inputs.profiles.select("person_id", "interests")
    made = joint_offers(courses=inputs.courses, products=inputs.products, interests=wanted, catalogue=catalogue)
    return made.row(0, named=True)


def test_the_pair_that_shares_the_strongest_interest_wins_with_the_score_of_the_formula() -> None:
    """Interests weigh 6/11, 3/11, 2/11. c2 speaks to the first two, q2 to the first: fits 9/11 and 6/11,
    link 6/11, overlap 15/44 + 12/44. Both are at rank 2: strength 1/2."""
    best = offers("理财|旅行|健康")
    assert (best["course_id"], best["product_id"]) == ("c2", "q2")
    assert best["overlap"] == pytest.approx(27 / 44)
    assert best["score"] == pytest.approx(0.6 * 27 / 44 + 0.4 * 0.5)
    assert best["reason"] == "your interest in 理财 links course Save well with product Pension plan"


def test_an_interest_of_one_item_only_is_said_so() -> None:
    best = offers("旅行")
    assert (best["course_id"], best["product_id"], best["overlap"]) == ("c2", "q1", 0.25)
    assert (
        best["reason"] == "your interest in 旅行 fits course Save well; product Hospital cover is recommended at rank 1"
    )


def test_repeats_blanks_and_unknown_topics_among_interests_change_nothing() -> None:
    assert offers("理财| 健康 |理财|")["score"] == offers("理财|健康")["score"]
    assert offers("编程")["reason"] == (
        "no known interest meets these topics: course Sleep well (rank 1) and product Hospital cover (rank 1) "
        "chosen by rank"
    )


@pytest.mark.parametrize("nothing", [None, "", " | "])
def test_without_interests_overlap_does_not_apply_and_ranks_decide(nothing: str | None) -> None:
    best = offers(nothing)
    assert (best["course_id"], best["product_id"], best["overlap"]) == ("c1", "q1", None)
    assert str(best["reason"]).startswith("overlap not applicable, no interests are known: ")


def test_anonymous_products_without_topics_are_chosen_by_rank_and_the_reason_says_so() -> None:
    anonymous = CATALOGUE.with_columns(pl.when(pl.col("item_id").str.starts_with("c")).then("topics"))
    best = offers("理财|健康", anonymous)
    assert (best["course_id"], best["product_id"], best["overlap"]) == ("c1", "q1", None)
    assert str(best["reason"]).startswith(
        "overlap not applicable, the product has no topics: course Sleep well (rank 1)"
    )
