"""Association rules: exact itemsets against oracles, measures by hand, and rules that are there but never by chance."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom, nchypergeom_fisher

from xmkt_assets.segments.rules.activity import fit_weights, inclusion_shares
from xmkt_assets.segments.rules.baskets import Baskets, of_pairs, read_baskets
from xmkt_assets.segments.rules.findings import Limits, association_rules
from xmkt_assets.segments.rules.itemsets import METHODS, candidates, frequent_itemsets
from xmkt_assets.segments.rules.rules import Rules, rules_of
from xmkt_assets.segments.rules.significance import q_values, tail_shares
from xmkt_assets_tests.sql_helper import assert_model

each_method = pytest.mark.parametrize("method", METHODS)


def baskets_of(*baskets: str) -> Baskets:
    """One basket per text, one item per letter."""
    rows = [{"person_id": f"p{p}", "item": item} for p, basket in enumerate(baskets) for item in basket]
    return read_baskets(pl.DataFrame(rows, schema={"person_id": pl.String, "item": pl.String}))


def brute_force(baskets: Sequence[frozenset[int]], *, fewest: int, longest: int) -> dict[frozenset[str], int]:
    items = sorted(set().union(*baskets))
    sets = (frozenset(s) for size in range(1, longest + 1) for s in combinations(items, size))
    counted = {s: sum(s <= basket for basket in baskets) for s in sets}
    return {frozenset(map(str, s)): n for s, n in counted.items() if n >= fewest}


# --- itemsets ---------------------------------------------------------------------------------------------------------


@each_method
@given(
    people=st.lists(st.frozensets(st.integers(0, 7), min_size=1), min_size=1, max_size=90),
    fewest=st.integers(1, 6),
    longest=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_itemsets_are_those_that_counting_every_subset_finds(
    method: str, people: list[frozenset[int]], fewest: int, longest: int
) -> None:
    pairs = np.array([(p, item) for p, basket in enumerate(people) for item in basket])
    baskets = of_pairs(pairs[:, 0], pairs[:, 1], people=len(people), items=tuple("01234567"))
    found = frequent_itemsets(baskets, fewest_people=fewest, longest=longest, method=method)
    assert found.as_dict() == brute_force(people, fewest=fewest, longest=longest)


@each_method
def test_itemsets_are_those_of_mlxtend(method: str) -> None:
    """Zipf's popularity and baskets of very different size, so that sets of 5 items are frequent."""
    fpgrowth = pytest.importorskip("mlxtend.frequent_patterns").fpgrowth
    rng = np.random.default_rng(1)
    sizes = rng.geometric(0.15, 3000)
    codes = np.searchsorted(np.cumsum(1 / np.arange(1, 61)) / np.sum(1 / np.arange(1, 61)), rng.random(sizes.sum()))
    baskets = of_pairs(
        np.repeat(np.arange(3000), sizes), codes, people=3000, items=tuple(f"i{k:02}" for k in range(60))
    )
    table = pl.DataFrame(baskets.matrix.toarray().astype(bool), schema=list(baskets.items)).to_pandas()
    theirs = fpgrowth(table, min_support=60 / 3000, use_colnames=True)
    ours = frequent_itemsets(baskets, fewest_people=60, method=method)
    assert ours.as_dict() == {s: round(n * 3000) for s, n in zip(theirs["itemsets"], theirs["support"], strict=True)}
    assert len(ours.levels) >= 5


@each_method
def test_supports_counted_by_hand_and_in_order(method: str) -> None:
    found = frequent_itemsets(baskets_of("abc", "ab", "ac", "bc", "abc", "d"), fewest_people=2, method=method)
    expected = [("a", 4), ("b", 4), ("c", 4), ("ab", 3), ("ac", 3), ("bc", 3), ("abc", 2)]
    assert [("".join(items), n) for items, n in found.frame().rows()] == expected


@each_method
def test_forbidden_items_never_stand_in_one_set(method: str) -> None:
    baskets = baskets_of("abcd", "abcd", "abc")
    found = frequent_itemsets(baskets, fewest_people=1, forbidden=np.array([[2, 0]]), method=method)
    assert {"".join(sorted(s)) for s in found.as_dict()} == {*"abcd", "ab", "ad", "bc", "bd", "cd", "abd", "bcd"}


@each_method
@pytest.mark.parametrize("baskets", [(), ("abc",), ("ab",) * 70, ("a", "a", "b")])
def test_nobody_one_person_all_alike_and_single_items_are_no_special_case(
    method: str, baskets: tuple[str, ...]
) -> None:
    found = frequent_itemsets(baskets_of(*baskets), fewest_people=1, method=method)
    sets = {s for basket in baskets for n in range(1, 4) for s in combinations(basket, n)}
    assert found.as_dict() == {frozenset(s): sum(set(s) <= set(b) for b in baskets) for s in sets}


def test_a_basket_is_a_set_and_the_order_of_rows_does_not_matter() -> None:
    rows = pl.DataFrame({"person_id": ["q", "p", "q", "q"], "item": ["b", "a", "a", "b"]})
    for given_rows in (rows, rows.reverse()):
        baskets = read_baskets(given_rows)
        assert (baskets.items, baskets.people) == (("a", "b"), 2)
        assert baskets.counts.tolist() == [2, 1]


def test_candidates_are_the_sets_all_of_whose_parts_are_frequent() -> None:
    found = frequent_itemsets(baskets_of("ab", "ac", "bc", "bd"), fewest_people=1)
    assert candidates(found.levels[1]).tolist() == [[0, 1, 2]]  # bcd lacks cd
    assert len(candidates(found.levels[0])) == 6


def test_a_method_nobody_knows_and_sets_that_nobody_has_are_refused() -> None:
    with pytest.raises(ValueError, match="no method is called 'fpmax'; there are apriori, eclat"):
        frequent_itemsets(baskets_of("a"), fewest_people=1, method="fpmax")
    with pytest.raises(ValueError, match="fewest_people is 0"):
        frequent_itemsets(baskets_of("a"), fewest_people=0)


# --- measures ---------------------------------------------------------------------------------------------------------


def rule(found: Sequence[Rules], antecedent: Sequence[int], consequent: int) -> Rules:
    rules = found[len(antecedent) - 1]
    return rules.where((rules.antecedents == list(antecedent)).all(axis=1) & (rules.consequents == consequent))


def test_support_confidence_lift_and_leverage_by_hand() -> None:
    """Of 10 people 5 have a, 4 have b, 3 both."""
    baskets = baskets_of("ab", "ab", "ab", "a", "a", "b", "c", "c", "c", "c")
    one = rule(rules_of(frequent_itemsets(baskets, fewest_people=1), people=10), [0], 1)
    assert (one.support[0], one.confidence[0]) == (0.3, 0.6)
    assert one.lift[0] == pytest.approx(0.6 / 0.4)
    assert one.leverage[0] == pytest.approx(0.3 - 0.5 * 0.4)
    assert one.is_productive.tolist() == [True]


def test_a_longer_rule_no_surer_than_a_shorter_one_is_not_productive() -> None:
    """b comes with a whatever c does: 2 of 3 with c as without; d makes it certain."""
    baskets = baskets_of(*["abc", "abc", "ac", "ab", "ab", "a"] * 5, *["abd"] * 5, *["x"] * 20)
    found = rules_of(frequent_itemsets(baskets, fewest_people=1), people=55)
    assert rule(found, [0, 2], 1).is_productive.tolist() == [False]
    assert rule(found, [0, 3], 1).is_productive.tolist() == [False]  # d alone is as certain
    assert rule(found, [3], 1).is_productive.tolist() == [True]


@given(people=st.lists(st.frozensets(st.integers(0, 5), min_size=1), min_size=2, max_size=40))
@settings(max_examples=30, deadline=None)
def test_a_rule_is_productive_when_it_beats_every_more_general_one(people: list[frozenset[int]]) -> None:
    pairs = np.array([(p, item) for p, basket in enumerate(people) for item in basket])
    baskets = of_pairs(pairs[:, 0], pairs[:, 1], people=len(people), items=tuple("012345"))

    def confidence(antecedent: Sequence[int], consequent: int) -> Fraction:
        having = [basket for basket in people if set(antecedent) <= basket]
        return Fraction(sum(consequent in basket for basket in having), len(having))

    for rules in rules_of(frequent_itemsets(baskets, fewest_people=1, longest=4), people=len(people)):
        for items, c, productive in zip(
            rules.antecedents.tolist(), rules.consequents, rules.is_productive, strict=True
        ):
            general = [confidence(s, c) for n in range(len(items)) for s in combinations(items, n)]
            assert productive == (confidence(items, c) > max(general))


# --- chance -----------------------------------------------------------------------------------------------------------


def test_inclusion_shares_are_those_of_summing_over_all_baskets() -> None:
    weights = np.exp(np.random.default_rng(1).normal(0, 2.5, 8))
    shares = inclusion_shares(weights[None], most=9)[:, 0]
    for n in range(1, 9):
        chances = {s: np.prod(weights[list(s)]) for s in combinations(range(8), n)}
        exact = [sum(p for s, p in chances.items() if item in s) / sum(chances.values()) for item in range(8)]
        assert shares[n] == pytest.approx(exact, abs=1e-9)
    assert shares[9] == pytest.approx(np.ones(8))


def test_inclusion_shares_stay_near_the_exact_ones_where_the_recursion_would_lose_its_digits() -> None:
    weights = np.exp(np.random.default_rng(2).normal(0, 1.5, 40))
    shares = inclusion_shares(weights[None], most=30)[:, 0]
    assert shares.sum(axis=1) == pytest.approx(np.arange(31), abs=1e-6)
    assert np.abs(shares[30] - exact_shares(weights, 30)).max() < 0.02


def exact_shares(weights: np.ndarray, n: int) -> list[float]:
    """By elementary symmetric functions in whole fractions: no rounding."""
    w = [Fraction(float(x)) for x in weights]
    sums = [Fraction(1)] + [Fraction(0)] * n
    for x in w:
        for size in range(n, 0, -1):
            sums[size] += x * sums[size - 1]
    found = []
    for x in w:
        without = [Fraction(1)]
        for size in range(1, n + 1):
            without.append(sums[size] - x * without[-1])
        found.append(float(x * without[n - 1] / sums[n]))
    return found


def test_weights_expect_every_item_as_often_as_it_was_counted_also_one_that_everybody_has() -> None:
    people_by_size = np.array([5, 400, 300, 100, 20])
    counts = np.array([820, 300, 150, 60, 40, 10])
    counts[1] += people_by_size @ np.arange(5) - counts.sum()
    weights = fit_weights(counts, people_by_size=people_by_size)
    expected = people_by_size @ inclusion_shares(weights[None], most=4)[:, 0]
    assert expected == pytest.approx(counts, rel=0.01, abs=0.6)


@pytest.mark.parametrize(("people", "having", "total"), [(1000, 100, 80), (100, 40, 40), (20000, 300, 500)])
def test_where_all_are_alike_the_tail_is_that_of_fishers_test(people: int, having: int, total: int) -> None:
    spread = hypergeom.std(people, total, having)
    both = np.round(having * total / people + spread * np.array([1.0, 2.0, 4.0, 6.0])).astype(np.int64)
    found = tail_shares(
        both,
        np.full((4, 1), total),
        having=np.full((4, 1), having),
        lacking=np.full((4, 1), people - having),
        log_ratio=np.zeros((4, 1)),
    )
    assert found == pytest.approx(hypergeom.sf(both - 1, people, total, having), rel=0.02)


def test_the_tail_over_unlike_strata_is_the_exact_one() -> None:
    """Three strata with odds ratios of their own; exact by convolving Fisher's noncentral distributions."""
    having, lacking, total = np.array([60, 25, 8]), np.array([150, 40, 9]), np.array([12, 20, 10])
    ratio = np.array([0.8, 1.0, 0.5])
    pmf = np.array([1.0])
    for cell in zip(having + lacking, having, total, ratio, strict=True):
        single = nchypergeom_fisher(*cell).pmf(np.arange(min(cell[1], cell[2]) + 1))
        pmf = np.convolve(pmf, single)
    both = np.array([16, 19, 22, 25])
    tables = [np.tile(n, (4, 1)) for n in (total, having, lacking, np.log(ratio))]
    found = tail_shares(both, tables[0], having=tables[1], lacking=tables[2], log_ratio=tables[3])
    assert found == pytest.approx([pmf[s:].sum() for s in both], rel=0.05)


def test_q_values_count_every_rule_that_was_tried() -> None:
    """0.01 x 4 / 1 = 0.04, then 0.02 x 4 / 2 = 0.04 and 0.9 x 4 / 3, at most 1."""
    assert q_values(np.array([0.9, 0.01, 0.02]), tests=4).tolist() == pytest.approx([1.0, 0.04, 0.04])
    with pytest.raises(ValueError, match="3 p-values of 2 tests"):
        q_values(np.array([0.9, 0.01, 0.02]), tests=2)


# --- rules of a day ---------------------------------------------------------------------------------------------------

SIDES = {"course": "course_platform", "product": "insurer"}


def world(
    seed: int, *, people: int = 1200, planted: float = 0.0, sizes: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """Baskets of people of very unequal activity, the same at both firms; what they have is drawn by popularity alone.

    With `planted`, that share of those who bought course 7 also hold product 5.
    """
    rng = np.random.default_rng(seed)
    busy = rng.normal(0, 1, people)
    held = {}
    for kind, items in (sizes or {"course": 30, "product": 12}).items():
        activity = {"course": 0.7, "product": 0.2}[kind]
        count = np.minimum(rng.poisson(np.exp(activity + 0.8 * busy)), items - 1)
        first = np.argsort(-(rng.gumbel(size=(people, items)) - np.log(np.arange(1, items + 1))), axis=1)
        held[kind] = np.zeros((people, items), dtype=bool)
        np.put_along_axis(held[kind], first, np.arange(items) < count[:, None], axis=1)
    if planted:
        held["product"][:, 5] |= held["course"][:, 7] & (rng.random(people) < planted)
    frames = []
    for kind, has in held.items():
        person, item = np.nonzero(has)
        texts = {"person_id": [f"p{p}" for p in person], "item": [f"{kind}:{i}" for i in item]}
        frames.append(pl.DataFrame(texts).with_columns(kind=pl.lit(kind), side=pl.lit(SIDES[kind])))
    return pl.concat(frames)


PAIRS = Limits(fewest_people=10, longest_antecedent=1)


def small(seed: int) -> pl.DataFrame:
    return world(seed, people=700, sizes={"course": 16, "product": 8})


def test_of_a_hundred_worlds_without_a_rule_no_more_than_the_stated_share_has_one() -> None:
    """Everything is chance, so that the false discovery share is that of worlds with any rule: 5 % and 2.5 errors."""
    any_rule = sum(association_rules(small(s), titles={}, limits=PAIRS).rules.height > 0 for s in range(100))
    assert any_rule <= 5 + 2.5 * np.sqrt(100 * 0.05 * 0.95)


def test_the_plain_test_finds_rules_in_nearly_every_world_without_one() -> None:
    """Fisher's test of every pair across the firms, Bonferroni's correction: still fooled by who is busy."""
    fooled = 0
    for seed in range(5):
        baskets = read_baskets(world(seed))
        counts, met = baskets.counts, (baskets.matrix.T @ baskets.matrix).toarray()
        is_product = np.array([name.startswith("product") for name in baskets.items])
        a, b = np.flatnonzero(~is_product), np.flatnonzero(is_product)
        p = hypergeom.sf(met[np.ix_(a, b)] - 1, baskets.people, counts[a][:, None], counts[b][None, :])
        fooled += bool(p.min() * p.size < 0.05)
    assert fooled == 5


@each_method
def test_a_planted_rule_is_found_across_the_firms_and_no_other_course_leads_to_the_product(method: str) -> None:
    found = association_rules(world(1, people=3000, planted=0.4), titles={}, limits=Limits(method=method))
    across = found.rules.filter(pl.col("is_cross_firm")).sort("p_value")
    assert ("course:7", "product:5") in across.select("antecedent", "consequent").rows()[:2]
    to_it = across.filter((pl.col("consequent") == "product:5") & ~pl.col("antecedent").str.contains("course:7"))
    assert to_it.is_empty()


def test_a_rule_is_told_in_titles_and_numbers() -> None:
    titles = {"course:7": "Accounting", "product:5": "Health 100"}
    found = association_rules(world(1, people=3000, planted=0.4), titles=titles, limits=PAIRS)
    (row,) = found.rules.filter((pl.col("antecedent") == "course:7") & (pl.col("consequent") == "product:5")).to_dicts()
    assert row["in_words"].startswith("Of those who bought the course Accounting, ")
    assert f"{row['confidence_share']:.1%} hold Health 100; of all it is " in row["in_words"]
    assert row["people"] > 1.5 * row["expected_people"]
    assert row["confidence_share"] == pytest.approx(row["people"] / row["antecedent_people"])


def test_people_of_one_firm_alone_change_no_rule_across_the_firms() -> None:
    rows = world(1, people=2000, planted=0.4)
    alone = world(2, people=1500, sizes={"course": 30}).with_columns(person_id="q" + pl.col("person_id"))
    picked = ("antecedent", "consequent", "people", "confidence_share", "lift", "p_value")
    before, after = (
        association_rules(r, titles={}, limits=PAIRS).rules.filter(pl.col("is_cross_firm")).select(picked)
        for r in (rows, pl.concat([rows, alone]))
    )
    assert before.height > 0
    assert after.sort(picked).equals(before.sort(picked))


def test_a_topic_leads_across_the_firms_and_never_to_an_item_of_its_own_side() -> None:
    """All who bought course 7 touched its topic, the only one there is, and many of them hold product 5."""
    rows = world(1, people=3000, planted=0.5)
    topic = rows.filter(pl.col("item") == "course:7").with_columns(
        item=pl.lit("topic:health@course_platform"), kind=pl.lit("topic")
    )
    rules = association_rules(pl.concat([rows, topic]), titles={}, limits=PAIRS).rules
    with_topic = rules.filter(pl.concat_str("antecedent", "consequent").str.contains("topic"))
    assert with_topic.select("antecedent", "consequent").rows() == [("topic:health@course_platform", "product:5")]


def test_no_rule_rests_on_fewer_people_than_the_fewest_set() -> None:
    rules = association_rules(world(1, planted=0.5), titles={}, limits=Limits(fewest_people=30)).rules
    assert rules.height > 0
    assert rules["people"].min() >= 30


def one_person() -> pl.DataFrame:
    return world(1, people=600).filter(pl.col("person_id") == pl.col("person_id").first())


def all_alike() -> pl.DataFrame:
    people = [f"p{n}" for n in range(500)]
    frames = [
        pl.DataFrame({"person_id": people}).with_columns(item=pl.lit(f"{k}:{i}"), kind=pl.lit(k), side=pl.lit(SIDES[k]))
        for k in SIDES
        for i in range(3)
    ]
    return pl.concat(frames)


def fifty_topics() -> pl.DataFrame:
    """Every person touched ten of fifty topics at each firm, drawn by chance."""
    rng = np.random.default_rng(5)
    frames = []
    for side in SIDES.values():
        chosen = np.argsort(rng.random((800, 50)), axis=1)[:, :10].ravel()
        people = [f"p{p}" for p in np.repeat(np.arange(800), 10)]
        texts = {"person_id": people, "item": [f"topic:{t}@{side}" for t in chosen]}
        frames.append(pl.DataFrame(texts).with_columns(kind=pl.lit("topic"), side=pl.lit(side)))
    return pl.concat(frames)


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        (one_person(), "not applicable: courses: 1 people with a basket, wanted at least 200; products: "),
        (one_person().clear(), "not applicable: courses: 0 people with a basket, wanted at least 200; products: 0 "),
        (all_alike(), None),
        (fifty_topics(), None),
        (world(3).filter(pl.col("side") == "course_platform"), None),
    ],
    ids=["one person", "nobody", "all alike", "fifty topics", "no insurer data"],
)
def test_there_are_no_rules_where_there_is_nothing_to_find(rows: pl.DataFrame, outcome: str | None) -> None:
    found = association_rules(rows, titles={}, limits=Limits())
    assert found.rules.is_empty()
    assert (found.reason is None) if outcome is None else (found.reason or "").startswith(outcome)


def test_an_item_that_everybody_has_is_in_no_rule_and_hides_none() -> None:
    rows = world(1, people=2000, planted=0.5)
    people = rows.select("person_id").unique()
    everywhere = people.select("person_id", item=pl.lit("product:all"), kind=pl.lit("product"), side=pl.lit("insurer"))
    rules = association_rules(pl.concat([rows, everywhere]), titles={}, limits=PAIRS).rules
    pairs = rules.select("antecedent", "consequent").rows()
    assert ("course:7", "product:5") in pairs
    assert not any("product:all" in pair for pair in pairs)


# --- the SQL ----------------------------------------------------------------------------------------------------------


def test_baskets_hold_what_was_had_before_the_end_of_the_day_by_people_who_consented() -> None:
    """k2 is refunded, k3 comes too late; the topic of k4 is touched by ten minutes in two visits, that of k5 is not."""
    noon = datetime(2026, 9, 28, 12)
    assert_model(
        "segments.baskets",
        day=date(2026, 9, 28),
        given={
            "staging.gate_profiling": """
                as_of_on   | partner         | subject_id | person_id
                2026-09-28 | course_platform | u1         | p
                2026-09-28 | insurer         | c1         | p
                2026-09-27 | course_platform | u2         | yesterday
            """,
            "staging.courses": [
                {"course_id": "k1", "topics": "health|money"},
                *({"course_id": f"k{n}", "topics": f"t{n}"} for n in (2, 3, 4, 5)),
            ],
            "staging.products": [{"product_id": "h", "topics": "health"}],
            "staging.course_orders": [
                {"user_id": "u1", "course_id": "k1", "ordered_at": noon, "status": "paid"},
                {"user_id": "u1", "course_id": "k1", "ordered_at": noon, "status": "paid"},
                {"user_id": "u1", "course_id": "k2", "ordered_at": noon, "status": "refunded"},
                {"user_id": "u1", "course_id": "k3", "ordered_at": datetime(2026, 9, 29), "status": "paid"},
                {"user_id": "u2", "course_id": "k3", "ordered_at": noon, "status": "paid"},
            ],
            "staging.course_views": [
                {"user_id": "u1", "course_id": "k4", "viewed_at": noon, "dwell_seconds": 300},
                {"user_id": "u1", "course_id": "k4", "viewed_at": noon, "dwell_seconds": 300},
                {"user_id": "u1", "course_id": "k5", "viewed_at": noon, "dwell_seconds": 599},
            ],
            "staging.policies": [
                {"customer_id": "c1", "product_id": "h", "occurred_at": noon, "event": "issued"},
                {"customer_id": "c1", "product_id": "h", "occurred_at": noon, "event": "cancelled"},
            ],
        },
        expect="""
            as_of_on   | person_id | item                          | kind    | side
            2026-09-28 | p         | course:k1                     | course  | course_platform
            2026-09-28 | p         | product:h                     | product | insurer
            2026-09-28 | p         | topic:health@course_platform  | topic   | course_platform
            2026-09-28 | p         | topic:money@course_platform   | topic   | course_platform
            2026-09-28 | p         | topic:t4@course_platform      | topic   | course_platform
            2026-09-28 | p         | topic:health@insurer          | topic   | insurer
        """,
    )
