"""The next interest: a planted rule is found where it was planted, noise gives neither rules nor a model, and what
cannot be learnt says so. All people here are made up."""

import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import binomtest, false_discovery_control, fisher_exact

from xmkt_assets.segments import interest_features, interest_pictures, interest_rules, next_interest
from xmkt_assets.segments.interest_features import OTHER, SIGNALS, in_words, people_of, vocabulary_of
from xmkt_assets.segments.interest_tree import LEAST_LEAF, Tree, choose_alpha, grow, log_losses
from xmkt_assets.segments.next_interest import BASELINES, CART, FOREST, MODELS, NextInterest, NextInterestModel

MINUTES = 20  # the planted threshold: over so many minutes on 理财 courses, people turn to 养老


def planted_examples(*, people: int = 1500, seed: int = 0, is_noise: bool = False) -> pl.DataFrame:
    """Long rows of people who all touched three topics. With four in five:

    over `MINUTES` minutes on 理财 courses -> 养老; else, with a 旅行 policy -> 语言; else -> 健康. The others, and
    all of a noise world, turn to any of these.
    """
    rng = np.random.default_rng(seed)
    minutes = rng.integers(0, 41, (people, 3))
    policies = rng.random(people) < 0.35
    ruled = np.where(minutes[:, 0] > MINUTES, "养老", np.where(policies, "语言", "健康"))
    follows = (rng.random(people) < 0.8) & (not is_noise)
    turned = np.where(follows, ruled, rng.choice(["养老", "语言", "健康"], people))
    empty = dict.fromkeys(SIGNALS, np.zeros(people, dtype=np.int64))
    parts = [
        pl.DataFrame(
            {
                "person_id": [f"p{n:05d}" for n in range(people)],
                "topic": [topic] * people,
                **empty,
                "course_dwell_seconds": 60 * minutes[:, n] + 30,
                "course_view_count": rng.poisson(3, people),
                "product_purchase_count": policies.astype(np.int64) * (topic == "旅行"),
                "is_stated": rng.random(people) < 0.2,
                "next_topic": turned,
            }
        )
        for n, topic in enumerate(("理财", "旅行", "艺术"))
    ]
    return pl.concat(parts).sort("person_id", "topic")


@pytest.fixture(scope="module")
def examples() -> pl.DataFrame:
    return planted_examples()


@pytest.fixture(scope="module")
def found(examples: pl.DataFrame) -> NextInterest:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(next_interest, "TREES", 60)
        return next_interest.learn(examples, seed=7)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forest of a few trees, where it is not the forest that is looked at."""
    monkeypatch.setattr(next_interest, "TREES", 20)


# ── the planted rule ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_tree_asks_what_was_planted_where_it_was_planted(found: NextInterest) -> None:
    """Minutes are whole and about 22 people of those grown on have each number of them: a threshold one minute off
    would put four in five of these on the wrong side."""
    tree, features = found.fitted[CART].tree, found.fitted[CART].vocabulary.features
    asked = {features[tree.feature[n]]: tree.threshold[n] for n in inner_nodes(tree)}
    assert set(asked) == {"course_dwell_seconds:理财", "product_purchase_count:旅行"}
    assert asked["course_dwell_seconds:理财"] == pytest.approx(MINUTES + 0.5, abs=1.01)
    assert asked["product_purchase_count:旅行"] == 0.5


def test_the_rules_say_it_in_words_with_the_shares_that_were_planted(found: NextInterest) -> None:
    rules = {row["topic"]: row for row in found.rules.iter_rows(named=True)}
    assert set(rules) == {"养老", "语言", "健康"}
    assert rules["养老"]["rule"] in {f"spent at least {m} minutes on 理财 courses" for m in (20, 21, 22)}
    assert rules["语言"]["rule"].startswith("took out a 旅行 policy, spent less than")
    assert "took out no 旅行 policy" in rules["健康"]["rule"]
    planted = 0.8 + 0.2 / 3
    for row in rules.values():
        assert row["is_above_chance"]
        assert abs(row["precision"] - planted) < 4 * np.sqrt(planted * (1 - planted) / row["people"])
    assert found.rules["people"].sum() == 600
    assert found.rules["people_share"].sum() == pytest.approx(1)


def test_both_models_beat_both_baselines_and_the_readable_one_is_used(found: NextInterest) -> None:
    """Nobody can know more than the planted shares: 0.8667 for one of three topics."""
    assert found.report is not None
    assert found.report.chosen == CART
    assert found.model is found.fitted[CART]
    best_loss = -(0.8 + 0.2 / 3) * np.log(0.8 + 0.2 / 3) - 2 * (0.2 / 3) * np.log(0.2 / 3)
    for name in MODELS:
        scored = found.report.of(name)
        assert scored.log_loss.low - 0.05 < best_loss < scored.log_loss.high + 0.05, name
        assert scored.log_loss.high < min(found.report.of(b).log_loss.low for b in BASELINES), name
        assert scored.top_1.low < 0.8 + 0.2 / 3 < scored.top_1.high, name
        assert scored.top_3.value > 0.99, name
    assert found.report.gain.low > 0


def test_what_the_planted_rule_reads_matters_most_and_what_it_does_not_read_not_at_all(found: NextInterest) -> None:
    assert found.report is not None
    rise = {row["signals"]: row for row in found.report.importance.iter_rows(named=True)}
    assert min(rise["looking at courses"]["low"], rise["buying insurance"]["low"]) > 0.1
    assert rise["stated interests"]["log_loss_rise"] == rise["buying courses"]["log_loss_rise"] == 0


@pytest.mark.parametrize("name", MODELS)
def test_the_share_promised_to_the_first_topic_is_kept(name: str, found: NextInterest) -> None:
    unseen = planted_examples(people=2000, seed=5)
    first = next_interest.score(found.fitted[name], unseen).rows.filter(pl.col("rank") == 1)
    turned = first.join(unseen.select("person_id", "next_topic").unique(), on="person_id")
    came = (turned["topic"] == turned["next_topic"]).mean()
    assert came == pytest.approx(turned["share"].mean(), abs=4 * np.sqrt(0.25 / 2000))


# ── noise ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", range(3))
def test_noise_gives_no_model_but_a_reason(seed: int) -> None:
    noise = next_interest.learn(planted_examples(people=500, seed=seed, is_noise=True), seed=seed)
    assert noise.model is None
    assert noise.reason is not None
    assert "on 200 people held out neither tree nor forest says more than" in noise.reason
    assert noise.rules.filter("is_above_chance").is_empty()


def test_of_unpruned_trees_on_noise_at_most_one_in_twenty_shows_any_rule() -> None:
    """Benjamini-Hochberg at .05, nothing true: the share of worlds with any rule is at most .05. Unpruned, so that
    there are many leaves to be misled by."""
    worlds, shown = 100, 0
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        rows, labels = rng.integers(0, 9, (400, 6)).astype(np.float32), rng.integers(0, 4, 400)
        tree = grow(rows[:240], labels[:240], classes=5, seed=seed)
        leaf = tree.leaf_of(rows[240:])
        counts = {n: np.bincount(labels[240:][leaf == n], minlength=5) for n in tree.leaves}
        assert len(counts) > 8
        rules = interest_rules.rules_of(tree, counts, features=[f"is_stated:{n}" for n in range(6)], classes="abcd-")
        shown += rules["is_above_chance"].any()
    assert binomtest(shown, worlds, 0.05, alternative="greater").pvalue > 0.01


# ── rules against a second method ────────────────────────────────────────────────────────────────────────────────────


def test_precision_interval_test_and_correction_are_those_of_other_libraries() -> None:
    tree = two_leaves()
    held_out = {1: np.array([30, 8, 2]), 2: np.array([15, 40, 5])}
    rules = interest_rules.rules_of(tree, held_out, features=["is_stated:健康"], classes=["健康", "旅行", OTHER])
    by_topic = {row["topic"]: row for row in rules.iter_rows(named=True)}
    p_values = []
    for topic, hits, people, others, rest in (("健康", 30, 40, 15, 60), ("旅行", 40, 60, 8, 40)):
        row = by_topic[topic]
        low, high = binomtest(hits, people).proportion_ci(method="wilson")
        assert (row["people"], row["precision"]) == (people, hits / people)
        assert (row["precision_low"], row["precision_high"]) == pytest.approx((low, high), abs=1e-6)
        assert row["lift"] == pytest.approx((hits / people) / ((hits + others) / 100))
        table = [[hits, people - hits], [others, rest - others]]
        assert row["p_value"] == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
        p_values.append(row["p_value"])
    assert [by_topic[t]["q_value"] for t in ("健康", "旅行")] == pytest.approx(false_discovery_control(p_values))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_q_values_are_those_of_scipy(p_values: list[float]) -> None:
    ours = interest_rules.benjamini_hochberg(np.array(p_values))
    assert ours == pytest.approx(false_discovery_control(p_values), abs=1e-12)


def test_a_leaf_of_few_people_is_counted_but_not_shown() -> None:
    held_out = {1: np.array([9, 0, 0]), 2: np.array([15, 40, 5])}
    rules = interest_rules.rules_of(
        two_leaves(), held_out, features=["is_stated:健康"], classes=["健康", "旅行", OTHER]
    )
    assert rules.select("rule_id", "topic", "people").rows() == [(1, "旅行", 60)]
    assert rules["people_share"].to_list() == [pytest.approx(60 / 69)]


# ── the tree against scikit-learn ────────────────────────────────────────────────────────────────────────────────────


def test_pruning_gives_the_subtrees_of_scikit_learn() -> None:
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(3)
    rows = rng.integers(0, 9, (600, 5)).astype(np.float32)
    labels = (rows[:, 0] > 4).astype(np.int64) + (rng.random(600) < 0.3) * (rows[:, 1] > 2)
    tree = grow(rows, labels, classes=3, seed=0)
    settings_ = {"criterion": "log_loss", "min_samples_leaf": LEAST_LEAF, "random_state": 0, "max_leaf_nodes": 48}
    path = DecisionTreeClassifier(**settings_).cost_complexity_pruning_path(rows, labels)
    for alpha in tree.alphas()[:-1]:
        theirs = DecisionTreeClassifier(**settings_, ccp_alpha=alpha / np.log(2)).fit(rows, labels)
        ours = tree.pruned(alpha)
        assert len(ours.leaves) == theirs.get_n_leaves()
        leaf = ours.leaf_of(rows)
        assert len(set(zip(leaf.tolist(), theirs.apply(rows).tolist(), strict=True))) == len(ours.leaves)
    assert len(tree.alphas()) == len(np.unique(path.ccp_alphas.round(12)))
    assert len(tree.pruned(tree.alphas()[-1]).leaves) == 1


def test_the_conditions_of_a_leaf_hold_for_exactly_the_rows_in_it() -> None:
    rng = np.random.default_rng(1)
    rows, labels = rng.integers(0, 9, (500, 4)).astype(np.float32), rng.integers(0, 3, 500)
    tree = grow(rows, labels, classes=3, seed=0)
    for leaf in tree.leaves:
        holds = np.all([(rows[:, f] > low) & (rows[:, f] <= high) for f, (low, high) in tree.bounds(leaf).items()], 0)
        assert np.array_equal(holds, tree.leaf_of(rows) == leaf)


def test_on_noise_pruning_leaves_the_root_and_on_a_rule_its_two_leaves() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 9, (400, 5)).astype(np.float32)
    for labels, leaves in ((rng.integers(0, 3, 400), 1), ((rows[:, 2] > 4).astype(np.int64), 2)):
        tree = grow(rows, labels, classes=3, seed=0)
        assert len(tree.pruned(choose_alpha(tree, rows, labels, classes=3, seed=0)).leaves) == leaves


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────

INF = float("inf")


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"course_dwell_seconds:健康": (20.5, INF)}, "spent at least 21 minutes on 健康 courses"),
        ({"course_dwell_seconds:健康": (4.5, 20.5)}, "spent 5 to 20 minutes on 健康 courses"),
        ({"course_dwell_seconds:健康": (-INF, 0.5)}, "spent less than 1 minute on 健康 courses"),
        ({"product_purchase_count:养老": (0.5, INF)}, "took out a 养老 policy"),
        ({"product_purchase_count:养老": (-INF, 0.5)}, "took out no 养老 policy"),
        ({"course_purchase_count:艺术": (1.5, INF)}, "bought at least 2 艺术 courses"),
        ({"product_view_count:旅行": (-INF, 2.5)}, "opened fewer than 3 pages of 旅行 insurance"),
        ({"is_stated:语言": (0.5, INF)}, "named 语言 as an interest"),
        ({"interest_percent:语言": (24.5, INF)}, "gave at least 25 % of their interest to 语言"),
        (
            {"is_stated:语言": (-INF, 0.5), "course_view_count:艺术": (0.5, INF), "is_stated:编程": (-INF, 0.5)},
            "opened a page of 艺术 courses, did not name 语言 or 编程 as an interest",
        ),
        (
            {"interest_percent:养老": (-INF, 25.5), "interest_percent:旅行": (-INF, 26.5)},
            "gave less than 26 % of their interest to 养老, 27 % to 旅行",
        ),
        ({}, ""),
    ],
)
def test_conditions_are_said_as_a_marketer_would(bounds: dict[str, tuple[float, float]], said: str) -> None:
    assert in_words(bounds) == said


def test_why_names_what_the_person_did_and_how_many_like_this_turned_to_the_topic(
    examples: pl.DataFrame, found: NextInterest
) -> None:
    scored = next_interest.score(found.fitted[CART], examples).rows
    facts = examples.filter(pl.col("topic") == "理财").select("person_id", "course_dwell_seconds")
    first = scored.filter(pl.col("rank") == 1).join(facts, on="person_id")
    readers = first.filter(pl.col("course_dwell_seconds") >= 60 * (MINUTES + 2))
    assert set(readers["topic"]) == {"养老"}
    rule = found.rules.filter(pl.col("topic") == "养老").row(0, named=True)
    likely = f"{rule['precision']:.0%} of {rule['people']} such people turned to 养老 next"
    assert set(readers["why"]) == {f"{rule['rule']}; {likely}"}


# ── every model, every edge ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", MODELS)
def test_shares_of_all_topics_sum_to_one_and_ranks_fall(name: str, examples: pl.DataFrame, found: NextInterest) -> None:
    model = found.fitted[name]
    shares = model.shares_of(people_of(examples, model.vocabulary))
    assert shares.shape == (1500, 4)
    assert shares.sum(axis=1) == pytest.approx(np.ones(1500))
    assert shares.min() > 0
    rows = next_interest.score(model, examples).rows
    assert rows.schema == next_interest.SCORES_SCHEMA
    falls = rows.group_by("person_id", maintain_order=True).agg(pl.col("share").diff().drop_nulls().max())
    assert falls["share"].max() <= 0
    assert OTHER not in rows["topic"]


@pytest.mark.parametrize("name", MODELS)
def test_one_person_is_scored_like_among_all_and_in_chunks_like_at_once(
    name: str, examples: pl.DataFrame, found: NextInterest
) -> None:
    model = found.fitted[name]
    rows = next_interest.score(model, examples).rows
    one = next_interest.score(model, examples.filter(pl.col("person_id") == "p00011")).rows
    assert_frame_equal(one, rows.filter(pl.col("person_id") == "p00011"))
    few = examples.filter(pl.col("person_id") < "p00060").sample(fraction=1.0, shuffle=True, seed=1)
    assert_frame_equal(next_interest.score(model, few, chunk=7).rows, rows.filter(pl.col("person_id") < "p00060"))
    assert next_interest.score(model, examples.clear()).rows.is_empty()


@pytest.mark.parametrize("name", MODELS)
def test_a_topic_new_at_scoring_time_moves_nobody_and_is_counted(
    name: str, examples: pl.DataFrame, found: NextInterest
) -> None:
    model, few = found.fitted[name], examples.head(30)
    new = few.head(4).with_columns(topic=pl.lit("天文"), course_dwell_seconds=pl.lit(99_999, pl.Int64))
    scored = next_interest.score(model, pl.concat([few, new]), chunk=2)
    assert_frame_equal(scored.rows, next_interest.score(model, few).rows)
    assert scored.unknown == {"天文": 4}
    only_new = next_interest.score(model, new.with_columns(person_id=pl.lit("stranger")).head(1))
    assert only_new.rows["rank"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_survives_pickling_and_holds_no_person(name: str, examples: pl.DataFrame, found: NextInterest) -> None:
    stored = pickle.dumps(found.fitted[name])
    again = pickle.loads(stored)
    assert isinstance(again, NextInterestModel)
    few = examples.head(60)
    assert_frame_equal(next_interest.score(again, few).rows, next_interest.score(found.fitted[name], few).rows)
    assert b"p00011" not in stored


@pytest.mark.usefixtures("quick")
def test_the_order_of_the_rows_changes_nothing(examples: pl.DataFrame) -> None:
    few = examples.filter(pl.col("person_id") < "p00400")
    shuffled = next_interest.learn(few.sample(fraction=1.0, shuffle=True, seed=3), seed=7)
    straight = next_interest.learn(few, seed=7)
    assert_frame_equal(shuffled.rules, straight.rules)
    for name in MODELS:
        once, again = (next_interest.score(f.fitted[name], few).rows for f in (straight, shuffled))
        assert_frame_equal(once, again)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("side", ["course", "product"])
def test_without_any_data_of_one_firm_the_other_is_learnt_from(side: str, examples: pl.DataFrame) -> None:
    """Also a feature that is empty for everybody."""
    gone = [c for c in SIGNALS if c.startswith(side)]
    without = next_interest.learn(examples.with_columns(pl.lit(None, pl.Int64).alias(c) for c in gone), seed=7)
    assert without.report is not None
    features = without.fitted[CART].vocabulary.features
    asked = {features[without.fitted[CART].tree.feature[n]] for n in inner_nodes(without.fitted[CART].tree)}
    assert asked
    assert not [f for f in asked if f.startswith(side)]
    for name in MODELS:
        assert next_interest.score(without.fitted[name], examples).rows["share"].is_between(0, 1).all()


@pytest.mark.usefixtures("quick")
def test_of_fifty_topics_the_most_frequent_are_told_apart_and_the_rest_are_one() -> None:
    """Every person keeps to one topic: 40 are rare, as interests and as what people turn to."""
    people = 1600
    rng = np.random.default_rng(2)
    topic = np.where(rng.random(people) < 0.8, rng.integers(0, 10, people), rng.integers(10, 50, people))
    rows = pl.DataFrame(
        {
            "person_id": [f"p{n:05d}" for n in range(people)],
            "topic": [f"t{n:02d}" for n in topic],
            **{c: np.zeros(people, dtype=np.int64) for c in SIGNALS},
            "course_view_count": rng.poisson(4, people) + 1,
            "next_topic": [f"t{(n + 1) % 10 if n < 10 else n:02d}" for n in topic],
        }
    )
    many = next_interest.learn(rows, seed=7)
    for name in MODELS:
        model = many.fitted[name]
        assert model.classes == (*sorted(model.classes[:-1], key=model.classes.index), OTHER)
        assert set(model.classes[:-1]) == {f"t{n:02d}" for n in range(10)}
        assert len(model.vocabulary.topics) == interest_features.MOST_TOPICS
        assert len(model.vocabulary.rare) == 20
        first = next_interest.score(model, rows).rows.filter(pl.col("rank") == 1)
        frequent = first.join(rows.filter(pl.col("topic") < "t10"), on="person_id")
        assert (frequent["topic"] == frequent["next_topic"]).mean() > 0.9, name
    assert many.report is not None
    assert many.report.best_baseline != many.report.chosen


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.clear(), "of 0 people is known"),
        (lambda rows: rows.filter(pl.col("person_id") == "p00007"), "of 1 people is known"),
        (lambda rows: rows.with_columns(next_topic=pl.lit("健康")), "1 of 1 next topics are those of at least 15"),
        (
            lambda rows: rows.with_columns(
                pl.lit(1, pl.Int64).alias(c) if c != "is_stated" else pl.lit(True).alias(c) for c in SIGNALS
            ),
            "all 1500 people did the same before",
        ),
    ],
    ids=["nobody", "one person", "one next topic", "all the same"],
)
def test_what_cannot_be_learnt_says_why(change: object, said: str, examples: pl.DataFrame) -> None:
    rows = change(examples)  # type: ignore[operator]
    nothing = next_interest.learn(rows, seed=7)
    assert (nothing.model, nothing.report, nothing.rules.height) == (None, None, 0)
    assert nothing.reason is not None
    assert nothing.reason.startswith("not applicable: ")
    assert said in nothing.reason
    people = next_interest.not_applicable(rows, reason=nothing.reason)
    assert people["person_id"].to_list() == sorted(set(rows["person_id"]))
    assert people.schema == next_interest.SCORES_SCHEMA


def test_a_missing_column_is_named(examples: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"lack \['is_stated'\].*Rebuild segments.interest_examples"):
        next_interest.learn(examples.drop("is_stated"), seed=7)


# ── features ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_person_is_one_row_of_whole_minutes_counts_and_percent() -> None:
    rows = pl.DataFrame(
        {
            "person_id": ["b", "a", "a"],
            "topic": ["健康", "旅行", "健康"],
            "course_dwell_seconds": [0, 119, 60],
            "course_view_count": [0, 2, 1],
            "course_purchase_count": [0, 0, 1],
            "product_dwell_seconds": [0, 59, 0],
            "product_view_count": [0, 1, 0],
            "product_purchase_count": [3, 0, 0],
            "is_stated": [False, True, None],
        }
    )
    vocabulary = vocabulary_of(rows)
    people = people_of(rows, vocabulary)
    assert vocabulary.topics == ("健康", "旅行")
    assert people.person_ids.to_list() == ["a", "b"]
    assert people.rows[0, 0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert people.rows[0, 1].tolist() == [1, 2, 0, 0, 1, 0, 1]
    # a: 健康 1 purchase + 0.25 ln 2, 旅行 stated + 0.25 ln 2; b: all for 健康
    named = dict(zip(vocabulary.features, people.flat.T.tolist(), strict=True))
    assert named["interest_percent:健康"] == [50, 100]
    assert named["interest_percent:旅行"] == [50, 0]


def test_neither_gender_nor_age_is_asked_for() -> None:
    assert not [c for c in interest_features.COLUMNS if "age" in c.split("_") or "gender" in c or "birth" in c]


def test_the_pictures_show_every_leaf_and_every_kind_of_signal(found: NextInterest) -> None:
    assert found.report is not None
    tree = interest_pictures.tree(found.fitted[CART])
    words = [text.get_text() for text in tree.axes[0].texts]
    assert sum("→" in text for text in words) == 3
    assert [w for w in words if w.startswith("spent at least")]
    importance = interest_pictures.importance(found.report)
    assert {t.get_text() for t in importance.axes[0].get_yticklabels()} == set(interest_features.BLOCKS)


def inner_nodes(tree: Tree) -> list[int]:
    return [n for n in tree._from_left(0) if tree.left[n] >= 0]


def two_leaves() -> Tree:
    """Left: not stated, most turn to 健康; right: stated, most turn to 旅行."""
    return Tree(
        feature=np.array([0, -2, -2]),
        threshold=np.array([0.5, -2, -2]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        shares=np.array([[0.4, 0.5, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1]]),
        risk=np.array([1.0, 0.3, 0.3]),
    )


def test_the_loss_of_a_share_is_minus_its_logarithm() -> None:
    assert log_losses(np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([0, 0])) == pytest.approx([np.log(4), 0])


def test_the_forest_is_used_where_it_says_more_than_the_tree() -> None:
    """A choice of exclusive-or, weighed by losses: what a forest gains and a tree does not."""
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.3, 500)
    losses = {"strongest_topic_so_far": base, CART: base - 0.1 + rng.normal(0, 0.05, 500), FOREST: base - 0.3}
    assert next_interest._chosen(losses, baseline=BASELINES[0], seed=0) == FOREST
    assert next_interest._chosen({**losses, FOREST: losses[CART]}, baseline=BASELINES[0], seed=0) == CART
