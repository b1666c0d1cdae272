"""Campaign plans: a good one is read as written; each mistake is named with line, field, found, wanted and remedy."""

from datetime import date
from pathlib import Path

import pytest

from xmkt_assets.campaigns.plan import EXAMPLES, CampaignPlan, PlanError, load_plan, parse_plan, plan_ids

PLAN = """\
id: spring
name: Spring 联合推荐
type: joint_recommendation
goal_metric: course_conversion_share
as_of: 2026-03-01
launch_on: 2026-03-02
outcome_days: 7
channel: email
audience:
  min_age: 20
  must_know_both_sides: true
budget_fen: 1000
contact_cost_fen: 10
incentive_fen: 5
holdout_share: 0.2
salt: spring-salt
owners:
  course_platform: Li Na
  insurer: Wang Wei
"""


def mistake(old: str, new: str) -> str:
    """The error of `PLAN` with `old` replaced."""
    assert old in PLAN
    with pytest.raises(PlanError) as error:
        parse_plan(PLAN.replace(old, new), source="spring.yaml")
    return str(error.value)


def test_a_plan_is_read_as_written() -> None:
    plan = parse_plan(PLAN, source="spring.yaml")
    assert (plan.id, plan.name, plan.channel) == ("spring", "Spring 联合推荐", "email")
    assert (plan.as_of, plan.launch_on, plan.outcome_until_on) == (date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 8))
    assert (plan.treated_cost_fen, plan.holdout_share, plan.treatment_share) == (15, 0.2, 0.8)
    assert (plan.audience.min_age, plan.audience.max_age, plan.audience.must_know_both_sides) == (20, None, True)
    assert (plan.owners.course_platform, plan.owners.insurer) == ("Li Na", "Wang Wei")


def test_the_shipped_example_is_a_plan_for_six_thousand_contacts_in_the_simulated_world() -> None:
    plan = load_plan("autumn_joint", folder=EXAMPLES)
    assert (plan.as_of, plan.launch_on, plan.outcome_until_on) == (
        date(2026, 9, 28),
        date(2026, 9, 29),
        date(2026, 10, 28),
    )
    assert plan.budget_fen // plan.treated_cost_fen == 6000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "holdout_share: 0.2",
            "holdout_share: 1.5",
            "spring.yaml:15: holdout_share: found 1.5; wanted a number above 0 and below 1. "
            "Write e.g.: holdout_share: 0.2.",
        ),
        (
            "launch_on: 2026-03-02",
            "launch_on: 2026-03-01",
            "spring.yaml:6: launch_on: found '2026-03-01'; wanted a day after as_of (2026-03-01). "
            "Write e.g.: launch_on: 2026-09-29.",
        ),
        (
            "  min_age: 20",
            "  min_age: twenty",
            "spring.yaml:10: audience.min_age: found 'twenty'; wanted a whole number of years from 0 to 120. "
            "Write e.g.: min_age: 18.",
        ),
        (
            "  min_age: 20",
            "  min_age: 20\n  max_age: 19",
            "spring.yaml:11: audience.max_age: found 19; wanted an age of at least min_age (20). "
            "Write e.g.: max_age: 65.",
        ),
        (
            "type: joint_recommendation",
            "type: cross_promotion",
            "spring.yaml:3: type: found 'cross_promotion', which is not available yet; wanted "
            "'joint_recommendation', the one type so far. Write: type: joint_recommendation.",
        ),
        (
            "type: joint_recommendation",
            "type: joint_incentive",
            "spring.yaml:3: type: found 'joint_incentive', which is not available yet; wanted "
            "'joint_recommendation', the one type so far. Write: type: joint_recommendation.",
        ),
        (
            "budget_fen: 1000",
            "budget: 1000",
            "spring.yaml:12: budget: found a field that no plan has; wanted one of id, name, type, goal_metric, as_of, "
            "launch_on, outcome_days, channel, audience, budget_fen, contact_cost_fen, incentive_fen, holdout_share, "
            "salt, owners. Did you mean budget_fen?\n"
            "spring.yaml:19: budget_fen: found nothing; wanted a whole number of fen above 0. "
            "Write e.g.: budget_fen: 300000.",
        ),
        (
            "budget_fen: 1000",
            "budget_fen: 14",
            "spring.yaml:12: budget_fen: found 14; wanted at least the cost of one contact (15 fen = contact_cost_fen "
            "+ incentive_fen). Write e.g.: budget_fen: 300000.",
        ),
        (
            "goal_metric: course_conversion_share",
            "goal_metric: clicks",
            "spring.yaml:4: goal_metric: found 'clicks'; wanted one of participation_share, course_conversion_share, "
            "product_conversion_share, course_repurchase_share, policy_renewal_share, spend_fen. "
            "Write e.g.: goal_metric: product_conversion_share.",
        ),
        (
            "channel: email",
            "channel: letter",
            "spring.yaml:8: channel: found 'letter'; wanted one of email, sms, app_push, phone, page. "
            "Write e.g.: channel: app_push.",
        ),
        (
            "salt: spring-salt",
            "salt: 42",
            "spring.yaml:16: salt: found 42; wanted text of at least 8 characters, in quotes. "
            "Write e.g.: salt: 'autumn-2026-a1b2'.",
        ),
        (
            "  insurer: Wang Wei\n",
            "",
            "spring.yaml:17: owners.insurer: found nothing; wanted the name of who answers for it at the insurer. "
            "Write e.g.: insurer: Wang Wei.",
        ),
        (
            "as_of: 2026-03-01",
            "as_of: last Sunday",
            "spring.yaml:5: as_of: found 'last Sunday'; wanted a date, year-month-day. Write e.g.: as_of: 2026-09-28.",
        ),
        (
            "channel: email",
            "channel: email\nchannel: sms",
            "spring.yaml:9: channel: found a second time (first on line 8); wanted it once. Delete one of the two.",
        ),
        (
            "outcome_days: 7",
            "outcome_days: 7.5",
            "spring.yaml:7: outcome_days: found 7.5; wanted a whole number of days from 1 to 365. "
            "Write e.g.: outcome_days: 30.",
        ),
    ],
)
def test_a_mistake_is_named_with_line_field_found_wanted_and_remedy(old: str, new: str, message: str) -> None:
    assert mistake(old, new) == message


def test_two_mistakes_are_both_named_in_the_order_of_lines() -> None:
    broken = PLAN.replace("0.2", "0").replace("outcome_days: 7", "outcome_days: 0")
    with pytest.raises(PlanError) as error:
        parse_plan(broken, source="spring.yaml")
    assert [line.split(": ")[0] for line in str(error.value).splitlines()] == ["spring.yaml:7", "spring.yaml:15"]


def test_text_that_is_no_yaml_is_named_with_its_line() -> None:
    with pytest.raises(PlanError, match=r"^spring\.yaml:3: not YAML: "):
        parse_plan("id: spring\nname: [Spring\ntype: x", source="spring.yaml")


@pytest.mark.parametrize(("text", "found"), [("", "an empty file"), ("- id: spring", "list"), ("spring", "str")])
def test_a_file_that_is_no_plan_at_all_says_what_it_is(text: str, found: str) -> None:
    with pytest.raises(PlanError, match=rf"^spring\.yaml:1: found {found}, wanted 'field: value' lines"):
        parse_plan(text, source="spring.yaml")


def test_a_plan_that_is_not_there_names_the_ones_that_are(tmp_path: Path) -> None:
    (tmp_path / "spring.yaml").write_text(PLAN, encoding="utf-8")
    assert plan_ids(tmp_path) == ["spring"]
    assert isinstance(load_plan("spring", folder=tmp_path), CampaignPlan)
    with pytest.raises(PlanError, match=r"Campaign plan 'summer' not found at .*summer\.yaml\. Plans there: spring\."):
        load_plan("summer", folder=tmp_path)


def test_a_plan_whose_id_is_not_the_name_of_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summer.yaml").write_text(PLAN, encoding="utf-8")
    with pytest.raises(PlanError, match=r"summer\.yaml:1: id: found 'spring'; wanted 'summer', the name of the file\."):
        load_plan("summer", folder=tmp_path)


def test_a_plan_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_plan(PLAN, source="spring.yaml").budget_fen = 1  # type: ignore[misc]
