"""The topic a person turns to next: a readable tree and a random forest, kept only where they beat what is obvious.

Here: labelled examples in, a model that ranks topics out, with how it did on people it has not seen. Not here: what the
next interest is (``dbt_like_sql/segments/interest_examples.sql`` defines it), the tree itself (``interest_tree``), the
rules read off it (``interest_rules``), storage, MLflow.

Steps: people are split at random. On six tenths of them CART is grown and pruned, and a forest is fitted (Breiman 2001)
and calibrated by a temperature (Guo et al. 2017). On the other four tenths both are compared, by the log loss over all
topics, with two baselines that need no model: the person's topics in proportion to their strength so far, mixed with
the shares of all people as fits best; and the most frequent next topics for everybody.
CART is used if it beats the better baseline (the 95 % interval of the gain, over people, lies above 0); the forest if
it does so and beats CART likewise, or CART does not. What was judged is what scores: nothing is fitted again. Where
neither beats the baselines the outcome is "not applicable": ``segments.person_interests`` then says as much.

Topics beyond the most frequent are learnt as one, 'other topics', which is never named as anybody's next interest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments import interest_features, interest_rules
from xmkt_assets.segments.interest_features import BLOCKS, MOST_TOPICS, OTHER, SIGNALS, Matrix, People, Vocabulary
from xmkt_assets.segments.interest_tree import Ints, Tree, choose_alpha, grow, log_losses
from xmkt_assets.segments.intervals import Floats, Interval

CART, FOREST = MODELS = ("cart", "random_forest")
STRONGEST, FREQUENT = BASELINES = ("strongest_topic_so_far", "most_frequent_next_topic")
LABEL: Final = "next_topic"

LEAST_PEOPLE: Final = 200  # labelled; 80 of them are held out
LEAST_PER_TOPIC: Final = 15  # people among those a model is grown on; rarer next topics are learnt as OTHER
MOST_PEOPLE: Final = 50_000  # labelled; more would only cost time
HELD_OUT_SHARE: Final = 0.4
CHUNK: Final = 50_000  # people scored at a time
RANKS: Final = 3
TREES: Final = 120
CALIBRATION_SHARE: Final = 0.2
DRAWS: Final = 200
FOREST_MIX: Final = 0.02  # part of the base shares in those of the forest: none is ever 0
WEIGHED_PEOPLE, SHUFFLES = 2_000, 3  # of the importance of signals

SCORES_SCHEMA: Final = pl.Schema(
    {
        "person_id": pl.String,
        "rank": pl.Int64,
        "topic": pl.String,
        "share": pl.Float64,
        "why": pl.String,
        "model": pl.String,
        "reason": pl.String,
    }
)

SCORES_DESCRIPTION: Final = (
    "The up to three topics each person is most likely to turn to within 30 days, as of a date: the topic of the first "
    "course bought or policy taken out, else the one looked at longest. One row per person and rank. Trap: an empty "
    "topic means that nothing beats the person's strongest interest so far; reason says why. People of whom nothing is "
    "known have no row."
)
SCORES_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "person_id": "The person",
    "rank": "1 = most likely",
    "topic": "The topic; empty where it could not be learnt",
    "share": "Calibrated probability that the topic is the next one, if the person does anything; empty likewise",
    "why": "What the person had done, as the tree asks for it, and how many people like this turned to the topic next",
    "model": "cart or random_forest, whichever did better on people held out",
    "reason": "Why there is no topic; empty where there is",
    "model_version": "Version of next_interest in the MLflow registry; empty = none",
}


@dataclass(frozen=True)
class Forest:
    """A fitted forest whose shares are calibrated: to the power 1 / `temperature`, then made to sum to 1 again.

    `known`: places of the classes the forest has seen; `base`: shares of all classes.
    """

    estimator: Any
    known: Ints
    base: Floats
    temperature: float

    def shares_of(self, rows: Matrix) -> Floats:
        """Share of each class per row, shape (n, classes)."""
        return _tempered(_mixed(self.estimator.predict_proba(rows), self.known, self.base), self.temperature)


@dataclass(frozen=True)
class NextInterestModel:
    """The chosen model with the tree that gives its reasons; `classes` are topics, the last one `OTHER`.

    `held_out`: leaf of the tree -> people of each class among those held out. `rules`: of the same people.
    """

    name: str
    vocabulary: Vocabulary
    classes: tuple[str, ...]
    tree: Tree
    forest: Forest | None
    held_out: Mapping[int, Ints]
    rules: pl.DataFrame

    def shares_of(self, people: People) -> Floats:
        """Share of each class per person, shape (people, classes); rows sum to 1."""
        return (self.forest or self.tree).shares_of(people.flat)

    def why(self, leaf: int, topic: int) -> str:
        """The way of the tree to a leaf, and what people like these did next, in words."""
        features = self.vocabulary.features
        said = interest_features.in_words({features[f]: b for f, b in self.tree.bounds(leaf).items()})
        counts = self.held_out.get(leaf)
        likely = f"{self.tree.shares[leaf, topic]:.0%} expected to turn to {self.classes[topic]}"
        if counts is not None and counts.sum() >= interest_rules.LEAST_PEOPLE:
            people = int(counts.sum())
            likely = f"{counts[topic] / people:.0%} of {people:,} such people turned to {self.classes[topic]} next"
        return f"{said}; {likely}" if said else f"no habit tells people apart; {likely}"


class CandidateScore(NamedTuple):
    """How one candidate did on the people held out: log loss over all topics, and how often the next topic was the
    first, or among the first three, that it named."""

    name: str
    log_loss: Interval
    top_1: Interval
    top_3: Interval


class Report(NamedTuple):
    """What the comparison found. `gain`: log loss of the better baseline less that of the chosen model, same people.

    `calibration`: one row per tenth of the held-out people by the share of their first topic: people, predicted_share,
    observed_share. `importance`: one row per block of signals: how much the log loss rises, in nats, if what people did
    of it is shuffled among them (Breiman 2001); low, high.
    """

    grown_on: int
    held_out: int
    topics: int
    leaves: int
    temperature: float
    best_baseline: str
    chosen: str
    gain: Interval
    candidates: tuple[CandidateScore, ...]
    calibration: pl.DataFrame
    importance: pl.DataFrame

    def of(self, name: str) -> CandidateScore:
        return next(c for c in self.candidates if c.name == name)


class NextInterest(NamedTuple):
    """What the examples of a day give. `model` is None exactly when `reason` is set; `fitted` has each of `MODELS`,
    used or not. It is empty, and `report` is None, where not even a comparison was possible; `rules` need no model."""

    model: NextInterestModel | None
    fitted: Mapping[str, NextInterestModel]
    report: Report | None
    rules: pl.DataFrame
    reason: str | None


class Scored(NamedTuple):
    """`rows`: up to `RANKS` per person (`SCORES_SCHEMA`), sorted by person_id and rank. `unknown`: topics that the
    model does not know, with the people who had touched each."""

    rows: pl.DataFrame
    unknown: dict[str, int]


class _Sample(NamedTuple):
    """People with what they turned to next."""

    people: People
    labels: Ints

    def part(self, where: NDArray[np.bool_]) -> "_Sample":
        people = People(self.people.person_ids.filter(pl.Series(where)), self.people.rows[where], self.people.unknown)
        return _Sample(people, self.labels[where])


def learn(rows: pl.DataFrame, *, seed: int) -> NextInterest:
    """Learn the next interest from labelled examples: person_id, topic, `SIGNALS` and next_topic, one row per topic a
    person had touched. The order of the rows does not matter. Raises ValueError for a missing column."""
    interest_features.refuse_missing(rows, (*interest_features.KEYS, *SIGNALS, LABEL))
    known = _sampled(rows.filter(pl.col(LABEL).is_not_null()), seed=seed)
    next_topics = known.group_by("person_id").agg(pl.col(LABEL).first()).sort("person_id")
    is_held_out = np.random.default_rng(seed).permutation(next_topics.height) < HELD_OUT_SHARE * next_topics.height
    classes = _classes(next_topics.filter(pl.Series(~is_held_out, dtype=pl.Boolean)))
    if reason := _why_no_examples(known, next_topics, classes):
        return NextInterest(None, {}, None, interest_rules.RULES_SCHEMA.to_frame(), reason)
    grown_ids = next_topics.filter(pl.Series(~is_held_out)).select("person_id")
    vocabulary = interest_features.vocabulary_of(known.join(grown_ids, on="person_id", how="semi"))
    labels = next_topics[LABEL].replace_strict(
        {topic: n for n, topic in enumerate(classes)}, default=len(classes) - 1, return_dtype=pl.Int64
    )
    everybody = _Sample(interest_features.people_of(known, vocabulary), labels.to_numpy())
    grown, held_out = everybody.part(~is_held_out), everybody.part(is_held_out)
    return _compared(grown, held_out, vocabulary, classes, seed=seed)


def score(model: NextInterestModel, rows: pl.DataFrame, *, chunk: int = CHUNK) -> Scored:
    """The most likely next topics of everybody in `rows` (person_id, topic and `SIGNALS`), `chunk` people at a time."""
    interest_features.refuse_missing(rows, (*interest_features.KEYS, *SIGNALS))
    ordered = rows.select(*interest_features.KEYS, *SIGNALS).sort("person_id")
    starts = ordered["person_id"].rle().struct.field("len").cast(pl.Int64).cum_sum().to_list()
    cuts = [0, *starts[chunk - 1 : -1 : chunk], *starts[-1:]]
    parts: list[pl.DataFrame] = [SCORES_SCHEMA.to_frame()]
    unknown: dict[str, int] = {}
    for begin, end in pairwise(cuts):
        people = interest_features.people_of(ordered[begin:end], model.vocabulary)
        parts.append(_ranked(model, people))
        for topic, touched in people.unknown.items():
            unknown[topic] = unknown.get(topic, 0) + touched
    return Scored(pl.concat(parts), unknown)


def not_applicable(rows: pl.DataFrame, *, reason: str) -> pl.DataFrame:
    """One row per person without a topic, saying why there is none."""
    people = rows.select(pl.col("person_id").unique()).sort("person_id")
    empty = {name: pl.lit(None, kind) for name, kind in SCORES_SCHEMA.items() if name != "person_id"}
    return people.with_columns(**empty | {"rank": pl.lit(1, pl.Int64), "reason": pl.lit(reason)}).cast(SCORES_SCHEMA)


def _sampled(known: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    people = known["person_id"].unique().sort()
    if len(people) <= MOST_PEOPLE:
        return known
    chosen = people.sample(MOST_PEOPLE, seed=seed).to_frame()
    return known.join(chosen, on="person_id", how="semi")


def _classes(grown: pl.DataFrame) -> tuple[str, ...]:
    """Next topics frequent enough to be learnt, the most frequent first, and `OTHER` for the rest."""
    counted = grown.group_by(LABEL).agg(people=pl.len()).filter(pl.col("people") >= LEAST_PER_TOPIC)
    topics = counted.sort(["people", LABEL], descending=[True, False])[LABEL].to_list()
    return (*topics[:MOST_TOPICS], OTHER)


def _why_no_examples(known: pl.DataFrame, next_topics: pl.DataFrame, classes: tuple[str, ...]) -> str | None:
    people = next_topics.height
    if people < LEAST_PEOPLE:
        return (
            f"not applicable: of {people} people is known what they turned to within 30 days, wanted at least "
            f"{LEAST_PEOPLE}"
        )
    if len(classes) < 3:
        return (
            f"not applicable: {len(classes) - 1} of {next_topics[LABEL].n_unique()} next topics are those of at least "
            f"{LEAST_PER_TOPIC} people, wanted at least 2"
        )
    alike = known.select("person_id", "topic", *SIGNALS).sort("person_id", "topic").drop("person_id")
    if alike.unique().height * people == alike.height:
        return f"not applicable: all {people} people did the same before, nothing tells them apart"
    return None


def _compared(
    grown: _Sample, held_out: _Sample, vocabulary: Vocabulary, classes: tuple[str, ...], *, seed: int
) -> NextInterest:
    """Both models and both baselines on the people held out, and what follows from it."""
    tree = _fit_tree(grown, classes=len(classes), seed=seed)
    base = tree.shares[
        0
    ]  # of everybody, smoothed like those of every leaf: a tree without questions gains nothing on it
    forest = _fit_forest(grown, base=base, seed=seed)
    shares = {
        STRONGEST: _strongest(grown, held_out, vocabulary, classes, base=base),
        FREQUENT: np.tile(base, (len(held_out.labels), 1)),
        CART: tree.shares_of(held_out.people.flat),
        FOREST: forest.shares_of(held_out.people.flat),
    }
    leaf_of = tree.leaf_of(held_out.people.flat)
    counts = {n: np.bincount(held_out.labels[leaf_of == n], minlength=len(classes)) for n in tree.leaves}
    rules = interest_rules.rules_of(tree, counts, features=vocabulary.features, classes=classes)
    fitted = {
        name: NextInterestModel(name, vocabulary, classes, tree, given, counts, rules)
        for name, given in ((CART, None), (FOREST, forest))
    }
    losses = {name: log_losses(given, held_out.labels) for name, given in shares.items()}
    baseline = min(BASELINES, key=lambda name: losses[name].mean())
    chosen = _chosen(losses, baseline=baseline, seed=seed)
    report = Report(
        grown_on=len(grown.labels),
        held_out=len(held_out.labels),
        topics=len(classes) - 1,
        leaves=len(tree.leaves),
        temperature=forest.temperature,
        best_baseline=baseline,
        chosen=chosen,
        gain=_gain(losses[baseline], losses[chosen], seed=seed),
        candidates=tuple(_score(name, shares[name], losses[name], held_out.labels, seed=seed) for name in shares),
        calibration=_calibration(shares[chosen], held_out.labels),
        importance=_importance(fitted[chosen], held_out, seed=seed),
    )
    if report.gain.low > 0:
        return NextInterest(fitted[chosen], fitted, report, rules, None)
    return NextInterest(None, fitted, report, rules, _no_better(report))


def _chosen(losses: Mapping[str, Floats], *, baseline: str, seed: int) -> str:
    """CART, unless the forest is better than it, or beats the baseline where CART does not."""
    if _gain(losses[CART], losses[FOREST], seed=seed).low > 0:
        return FOREST
    if _gain(losses[baseline], losses[CART], seed=seed).low > 0:
        return CART
    return FOREST if _gain(losses[baseline], losses[FOREST], seed=seed).low > 0 else CART


def _no_better(report: Report) -> str:
    baseline, best = report.of(report.best_baseline), report.of(report.chosen)
    return (
        f"not applicable: on {report.held_out:,} people held out neither tree nor forest says more than "
        f"{report.best_baseline.replace('_', ' ')}: log loss {best.log_loss} ({report.chosen}) against "
        f"{baseline.log_loss}; read segments.person_interests instead"
    )


def _fit_tree(grown: _Sample, *, classes: int, seed: int) -> Tree:
    rows = grown.people.flat
    tree = grow(rows, grown.labels, classes=classes, seed=seed)
    return tree.pruned(choose_alpha(tree, rows, grown.labels, classes=classes, seed=seed))


def _fit_forest(grown: _Sample, *, base: Floats, seed: int) -> Forest:
    """A forest on everybody, with the temperature that fits a fifth of them best under a forest of the others.

    Out-of-bag shares would need one forest only, but come of a third of the trees each: they are less even than those
    of the whole forest, which would then trust itself too little.
    """
    apart = np.random.default_rng(seed + 1).permutation(len(grown.labels)) < CALIBRATION_SHARE * len(grown.labels)
    few = grown.part(apart)
    shares = _forest(grown.part(~apart), base=base, seed=seed).shares_of(few.people.flat)
    temperature = _least(lambda t: log_losses(_tempered(shares, t), few.labels), low=0.2, high=5.0)
    return replace(_forest(grown, base=base, seed=seed), temperature=temperature)


def _forest(grown: _Sample, *, base: Floats, seed: int) -> Forest:
    from sklearn.ensemble import RandomForestClassifier

    # Leaves grow with the people: a forest of any number of them stays a few megabytes.
    least = max(5, len(grown.labels) // 1000)
    forest = RandomForestClassifier(TREES, min_samples_leaf=least, n_jobs=1, random_state=seed)
    forest.fit(grown.people.flat, grown.labels)
    return Forest(forest, forest.classes_.astype(np.int64), base, 1.0)


def _least(losses: Callable[[float], Floats], *, low: float, high: float) -> float:
    """The parameter between `low` and `high` with the smallest mean loss."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda x: losses(x).mean(), bounds=(low, high), method="bounded")
    return float(found.x)


def _mixed(seen: Floats, known: Ints, base: Floats) -> Floats:
    shares = FOREST_MIX * np.tile(base, (len(seen), 1))
    shares[:, known] += (1 - FOREST_MIX) * seen
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


def _tempered(shares: Floats, temperature: float) -> Floats:
    powers = shares ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def _strongest(
    grown: _Sample, held_out: _Sample, vocabulary: Vocabulary, classes: tuple[str, ...], *, base: Floats
) -> Floats:
    """The first baseline: each topic's part of the person's strength so far, mixed with the shares of all people."""

    def mixed(people: People, weight: float) -> Floats:
        parts = _parts(people, vocabulary, classes)
        return np.asarray(np.where(parts.any(axis=1, keepdims=True), weight * parts + (1 - weight) * base, base))

    weight = _least(lambda w: log_losses(mixed(grown.people, w), grown.labels), low=0.0, high=0.99)
    return mixed(held_out.people, weight)


def _parts(people: People, vocabulary: Vocabulary, classes: tuple[str, ...]) -> Floats:
    strengths = interest_features.strengths(people.rows)
    place = {topic: n for n, topic in enumerate(classes)}
    parts = np.zeros((len(strengths), len(classes)))
    for column, topic in enumerate(vocabulary.places):
        parts[:, place.get(topic, len(classes) - 1)] += strengths[:, column]
    return np.asarray(parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-12), dtype=np.float64)


def _score(name: str, shares: Floats, losses: Floats, labels: Ints, *, seed: int) -> CandidateScore:
    named = _order(shares)
    hits = named == labels[:, None]
    columns = np.column_stack([losses, hits[:, :1].any(axis=1), hits[:, :RANKS].any(axis=1)])
    return CandidateScore(name, *_means(columns, seed=seed))


def _order(shares: Floats) -> Ints:
    """Topics by falling share, shape (n, topics); without `OTHER`, and equal ones by how frequent they are."""
    return np.asarray(np.argsort(-shares[:, :-1], axis=1, kind="stable"), dtype=np.int64)


def _gain(before: Floats, after: Floats, *, seed: int) -> Interval:
    (gain,) = _means((before - after)[:, None], seed=seed)
    return gain


def _means(columns: Floats, *, seed: int) -> list[Interval]:
    """Mean of each column with its percentile bootstrap interval, the same draws of people for all columns."""
    people = len(columns)
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=DRAWS) @ columns / people
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [Interval(float(v), float(a), float(b)) for v, a, b in zip(columns.mean(axis=0), low, high, strict=True)]


def _calibration(shares: Floats, labels: Ints) -> pl.DataFrame:
    first = _order(shares)[:, 0]
    predicted = shares[np.arange(len(first)), first]
    groups = [g for g in np.array_split(np.argsort(predicted, kind="stable"), 10) if len(g)]
    rows = [(len(g), float(predicted[g].mean()), float((first == labels)[g].mean())) for g in groups]
    return pl.DataFrame(rows, schema=["people", "predicted_share", "observed_share"], orient="row")


def _importance(model: NextInterestModel, held_out: _Sample, *, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    few = held_out.part(np.arange(len(held_out.labels)) < WEIGHED_PEOPLE)
    before = log_losses(model.shares_of(few.people), few.labels)
    rows = []
    for block, signals in BLOCKS.items():
        places = [SIGNALS.index(s) for s in signals]
        worse = np.zeros(len(before))
        for _ in range(SHUFFLES):
            shuffled = few.people.rows.copy()
            shuffled[:, :, places] = shuffled[rng.permutation(len(shuffled))][:, :, places]
            worse += log_losses(model.shares_of(few.people._replace(rows=shuffled)), few.labels) - before
        (rise,) = _means((worse / SHUFFLES)[:, None], seed=seed)
        rows.append((block, *rise))
    found = pl.DataFrame(rows, schema=["signals", "log_loss_rise", "low", "high"], orient="row")
    return found.sort("log_loss_rise", descending=True)


def _ranked(model: NextInterestModel, people: People) -> pl.DataFrame:
    shares = model.shares_of(people)
    named = _order(shares)[:, :RANKS]
    count, ranks = named.shape
    leaf = np.repeat(model.tree.leaf_of(people.flat), ranks)
    topic = named.reshape(-1)
    pairs, which = np.unique(leaf * len(model.classes) + topic, return_inverse=True)
    words = [model.why(int(p) // len(model.classes), int(p) % len(model.classes)) for p in pairs]
    return pl.DataFrame(
        {
            "person_id": people.person_ids.gather(np.repeat(np.arange(count), ranks)),
            "rank": np.tile(np.arange(1, ranks + 1), count),
            "topic": pl.Series(model.classes).gather(topic),
            "share": np.take_along_axis(shares, named, axis=1).reshape(-1),
            "why": pl.Series(words, dtype=pl.String).gather(which),
            "model": pl.Series([model.name]).gather(np.zeros(len(topic), dtype=np.int64)),
            "reason": pl.Series([None] * len(topic), dtype=pl.String),
        },
        schema=SCORES_SCHEMA,
    )
