"""Names of value groups: given by the written rule, kept while the group is the same one and the name is true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xmkt_assets.segments.value_names import Before, Profile, by_rule, is_still_true, names, same_groups

# One group per place: worth, interest, idle days, known days.
WORTHY, LEARNER, PLAIN, NEW = (1.5, 0.9, 2, 80), (0.2, 1.0, 3, 80), (0.1, 0.1, 9, 70), (-0.1, 0.4, 5, 20)
FADING, SLEEPING = (-0.8, -0.6, 12, 75), (-0.9, -1.0, 200, 360)
FIVE = (WORTHY, LEARNER, PLAIN, NEW, SLEEPING)
LABELS = ("high value", "high potential", "steady", "newcomer", "dormant")
CENTRES = np.array([[4.0, 0], [0, 4], [0, 0], [-4, 0], [0, -4]])


def profile(*groups: tuple[float, float, float, float]) -> Profile:
    return Profile(*np.array(groups, dtype=float).T)


def before(moved: np.ndarray | None = None, shared: np.ndarray | None = None, *, is_model_gone: bool = False) -> Before:
    """Yesterday's five groups beside today's, whose centres are `moved`; `shared` people, none unless given."""
    new = CENTRES if moved is None else moved
    people = np.zeros((5, len(new))) if shared is None else shared
    return Before(LABELS, people, None if is_model_gone else CENTRES, None if is_model_gone else new)


# --- the rule -------------------------------------------------------------------------------------------------------


def test_names_are_given_by_the_written_rule() -> None:
    found = profile(WORTHY, (0.6, 1.0, 3, 80), (0.2, 0.1, 9, 70), NEW, FADING, SLEEPING)
    assert by_rule(found) == ("high value", "high potential", "steady", "newcomer", "occasional", "dormant")


def test_potential_is_interest_not_yet_turned_into_worth() -> None:
    found = profile((1.0, 0.2, 5, 80), (0.4, 0.9, 5, 80), (-0.6, 0.5, 5, 80))
    assert by_rule(found) == ("high value", "steady", "high potential")


def test_a_name_whose_condition_no_centre_meets_is_not_given() -> None:
    found = profile((0.5, 0.0, 29.9, 45.1), (0.1, 0.0, 29.9, 45.1), (-0.6, 0.0, 29.9, 45.1))
    assert by_rule(found) == ("high value", "steady", "steady 2")


def test_the_thresholds_of_dormant_and_newcomer_are_thirty_and_forty_five_days() -> None:
    found = profile((0.5, 0.0, 1, 80), (-0.1, 0.0, 2, 45), (-0.4, 0.0, 30, 80))
    assert by_rule(found) == ("high value", "newcomer", "dormant")


def test_a_second_group_that_earns_dormant_is_not_called_steady() -> None:
    found = profile(WORTHY, SLEEPING, (-0.3, -0.4, 40, 360), FADING, (-0.7, -0.1, 10, 90), (-0.2, 0.0, 4, 30), NEW)
    assert by_rule(found) == (
        *("high value", "dormant", "dormant 2", "occasional", "occasional 2", "newcomer 2"),
        "newcomer",
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 9).flatmap(lambda k: hnp.arrays(float, (k, 4), elements=st.floats(-3, 3))))
def test_names_are_unique_for_any_centres_also_when_some_are_kept(drawn: np.ndarray) -> None:
    found = Profile(drawn[:, 0], drawn[:, 1], np.exp(drawn[:, 2] + 3), np.exp(drawn[:, 3] + 3))
    last = Before(("dormant", "steady 2", "high value"), np.ones((3, len(drawn))), drawn[:3, :2] + 0.1, drawn[:, :2])
    for given_names in (by_rule(found), names(found).labels, names(found, before=last).labels):
        assert len(set(given_names)) == len(given_names) == len(drawn)


# --- the same group -------------------------------------------------------------------------------------------------


def test_groups_in_another_order_keep_their_names() -> None:
    order = [3, 0, 4, 2, 1]
    named = names(profile(*(FIVE[i] for i in order)), before=before(CENTRES[order]))
    assert named.labels == tuple(LABELS[i] for i in order)
    assert set(named.origins) == {"kept: its centre moved 0% of the way to the nearest other group"}


def test_pairs_are_the_best_of_all_and_not_the_best_one_by_one() -> None:
    """By hand: old at 0 and 3, new at 2 and 6. One by one old 0 would lose 2 to old 3 (distance 1); of both together
    0-2 and 3-6 cost 2 + 3 = 5, 0-6 and 3-2 cost 6 + 1 = 7."""
    last = Before(("a", "b"), np.array([[9.0, 0], [0, 9]]), np.array([[0.0], [3]]), np.array([[2.0], [6]]))
    assert [(old, new) for old, new, _ in same_groups(last)] == [(0, 0), (1, 1)]


@pytest.mark.parametrize(("moved", "is_same"), [(1.9, True), (2.1, False)])
def test_a_centre_may_move_half_the_way_to_the_nearest_other_group(moved: float, *, is_same: bool) -> None:
    centres = CENTRES.copy()
    centres[0] = [4 + moved, 0]  # the nearest other group of (4, 0) is (0, 0), 4 away
    same = {old for old, _, _ in same_groups(before(centres))}
    assert same == ({0, 1, 2, 3, 4} if is_same else {1, 2, 3, 4})


@pytest.mark.parametrize(
    ("stayed", "came", "is_same"), [(51, 0, True), (50, 0, False), (100, 99, True), (100, 100, False)]
)
def test_a_group_that_moved_far_is_the_same_when_most_of_both_are_the_same_people(
    stayed: int, came: int, *, is_same: bool
) -> None:
    """Of 100 people of the old group `stayed` are in the new one, to which `came` others from other groups."""
    centres, shared = CENTRES.copy(), np.zeros((5, 5))
    centres[0] = [40, 0]
    shared[0, 0], shared[0, 2], shared[2, 0] = stayed, 100 - stayed, came
    assert (0 in {old for old, _, _ in same_groups(before(centres, shared))}) is is_same


def test_where_the_model_is_gone_people_tell_which_group_is_which() -> None:
    shared = np.zeros((5, 5))
    order = [1, 2, 3, 4, 0]
    for new, old in enumerate(order):
        shared[old, new] = 80
    named = names(profile(*(FIVE[i] for i in order)), before=before(shared=shared, is_model_gone=True))
    assert named.labels == tuple(LABELS[i] for i in order)
    assert set(named.origins) == {"kept: 100% of its people stayed"}


def test_where_neither_centre_nor_people_tell_the_rule_names() -> None:
    assert same_groups(before(is_model_gone=True)) == []
    assert names(profile(*FIVE), before=before(is_model_gone=True)) == names(profile(*FIVE))


def test_a_group_more_gets_a_name_that_is_left_and_the_others_keep_theirs() -> None:
    six = (*FIVE, (-0.2, -0.2, 10, 100))
    named = names(profile(*six), before=before(np.vstack([CENTRES, [[9, 9]]]), np.zeros((5, 6))))
    assert named.labels == (*LABELS, "occasional")
    assert named.origins[-1] == "by rule"


def test_a_group_fewer_leaves_its_name_behind() -> None:
    named = names(profile(*FIVE[:4]), before=before(CENTRES[:4], np.zeros((5, 4))))
    assert named.labels == LABELS[:4]


# --- true or not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "group", "is_true"),
    [
        ("high value", (-0.05, 0, 5, 80), True),  # under the mean by less than the margin
        ("high value", (-0.15, 0, 5, 80), False),
        ("dormant", (0, 0, 28, 80), True),
        ("dormant", (0, 0, 26, 80), False),
        ("newcomer", (0, 0, 5, 49), True),
        ("newcomer", (0, 0, 5, 50), False),
        ("high potential", (0, -0.05, 5, 80), True),
        ("high potential", (0, -0.15, 5, 80), False),
        ("occasional", (-0.5, 0.05, 5, 80), True),
        ("occasional", (-0.5, 0.15, 5, 80), False),
        ("occasional", (0.15, -0.5, 5, 80), False),
        ("occasional 2", (-0.5, 0.05, 5, 80), True),
        ("steady", (0, 0, 32, 80), True),
        ("steady 3", (0, 0, 34, 80), False),
        ("steady", (0, 0, 5, 40), False),
        ("unknown", (0, 0, 5, 80), False),
    ],
)
def test_a_name_is_kept_within_a_margin_of_its_rule_and_not_beyond(
    label: str, group: tuple[float, float, float, float], *, is_true: bool
) -> None:
    assert is_still_true(label, profile(group), 0) is is_true


def test_high_value_goes_to_another_group_once_that_is_clearly_worth_more() -> None:
    assert is_still_true("high value", profile((1.0, 0, 5, 80), (1.2, 0, 5, 80)), 0)
    assert not is_still_true("high value", profile((1.0, 0, 5, 80), (1.3, 0, 5, 80)), 0)


def test_a_group_that_is_the_same_but_fell_asleep_is_named_anew_and_the_page_says_why() -> None:
    asleep = (WORTHY, LEARNER, (0.0, -0.5, 60, 120), NEW, FADING)
    named = names(profile(*asleep), before=before())
    assert named.labels == ("high value", "high potential", "dormant", "newcomer", "occasional")
    assert named.origins[2].startswith("by rule: 'steady' is no longer true of the group (its centre moved 0%")
    assert named.origins[4].startswith("by rule: 'dormant' is no longer true")
