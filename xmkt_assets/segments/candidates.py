"""Candidates: the models that compete for a target, each fitted to examples and able to say what made a share.

Here: the five members, one contract. Not here: how they are compared and calibrated (``scoring``), words for a person
(``reasons``).

The contract: ``fit(rows, labels, *, seed)`` takes rows of features, shape (n, features), empty values nan, and labels
0 or 1 of both kinds. The model gives shares, shape (n,), 0 to 1 and not calibrated, and contributions, shape
(n, features): by how many log-odds each feature moves the row from the model's middle. It holds no row of anybody and
survives pickling. A member is added to `CANDIDATES`, simpler ones first: the first wins a tie.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from xmkt_assets.segments.intervals import Floats

FARTHEST: Final = 1e30  # beyond what single precision holds, scikit-learn's trees refuse a value
FOREST_TREES: Final = 30
FOREST_DRAWS: Final = 3000  # examples that each tree of the forest is grown on, at most
PRIOR_PEOPLE: Final = 10.0


class Model(Protocol):
    """A fitted candidate."""

    def __call__(self, rows: Floats) -> Floats: ...

    def contributions(self, rows: Floats) -> Floats: ...


class Fit(Protocol):
    def __call__(self, rows: Floats, labels: Floats, *, seed: int) -> Model: ...


class Candidate(NamedTuple):
    """One member: its name, and in words what kind of model it is."""

    name: str
    fit: Fit
    about: str


@dataclass(frozen=True)
class LinearModel:
    """A line in standardised sign(x) ln(1 + |x|); an empty value is the median and a flag of its own.

    `feature_of` says for each column after filling in which feature it belongs to: values first, then flags.
    """

    prepare: Any
    weights: Floats
    intercept: float
    feature_of: tuple[int, ...]

    def __call__(self, rows: Floats) -> Floats:
        return expit(self.prepare.transform(_logarithmic(rows)) @ self.weights + self.intercept)

    def contributions(self, rows: Floats) -> Floats:
        """Weight times distance from the mean, the flag of an empty value with its feature."""
        each = self.prepare.transform(_logarithmic(rows)) * self.weights
        found = np.zeros(rows.shape)
        for column, feature in enumerate(self.feature_of):
            found[:, feature] += each[:, column]
        return found


@dataclass(frozen=True)
class TreesModel:
    """One tree or many: the share is the mean of their leaves.

    `values` holds the share of each node of each tree: (positives + m · base) / (people + m), the m-estimate (Cestnik
    1990), so that a pure leaf of forty people is not certain. `steps` holds per tree, shape (nodes, features), the
    change of share on entering each node, under the feature its parent asks for.
    """

    trees: tuple[Any, ...]
    values: tuple[Floats, ...]
    steps: tuple[Floats, ...]
    middle: float

    def __call__(self, rows: Floats) -> Floats:
        asked = _single(rows)
        shares = [value[tree.apply(asked)] for tree, value in zip(self.trees, self.values, strict=True)]
        return np.asarray(np.mean(shares, axis=0), dtype=np.float64)

    def contributions(self, rows: Floats) -> Floats:
        """What each question on the way down adds to the share (Saabas 2014), in log-odds.

        The changes of a row add up to its share less the middle; all are stretched by one factor so that they add up to
        the difference of log-odds instead (the rescale rule of Shrikumar et al. 2017).
        """
        asked = _single(rows)
        found = np.zeros(rows.shape)
        for tree, step in zip(self.trees, self.steps, strict=True):
            found += tree.decision_path(asked) @ step
        found /= len(self.trees)
        change = found.sum(axis=1)
        slope = 1 / (self.middle * (1 - self.middle))
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = (logit(self.middle + change) - logit(np.array(self.middle))) / change
        return np.asarray(found * np.where(np.abs(change) < 1e-9, slope, factor)[:, None], dtype=np.float64)


@dataclass(frozen=True)
class BoostedModel:
    """LightGBM; empty values are handled by its trees."""

    booster: Any

    def __call__(self, rows: Floats) -> Floats:
        return np.asarray(self.booster.predict(_bounded(rows), num_threads=1), dtype=np.float64)

    def contributions(self, rows: Floats) -> Floats:
        """Shapley values of the trees (Lundberg et al. 2020), as LightGBM computes them."""
        found = self.booster.predict(_bounded(rows), num_threads=1, pred_contrib=True)
        return np.asarray(found, dtype=np.float64)[:, :-1]  # the last column is the middle


def fit_logistic(rows: Floats, labels: Floats, *, seed: int) -> LinearModel:
    """Logistic regression with the usual ridge penalty."""
    from sklearn.linear_model import LogisticRegression

    return _linear(LogisticRegression(C=1.0, max_iter=500, random_state=seed), rows, labels)


def fit_svm(rows: Floats, labels: Floats, *, seed: int) -> LinearModel:
    """Linear support vector machine; its margin is read as log-odds, which calibration then makes right."""
    from sklearn.svm import LinearSVC

    return _linear(LinearSVC(C=0.1, dual=False, max_iter=500, random_state=seed), rows, labels)


def fit_cart(rows: Floats, labels: Floats, *, seed: int) -> TreesModel:
    """One tree of at most 12 leaves (Breiman et al. 1984): small enough to be read aloud."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=12, min_samples_leaf=40, random_state=seed)
    return _trees([tree.fit(_single(rows), labels)], labels)


def fit_forest(rows: Floats, labels: Floats, *, seed: int) -> TreesModel:
    """Random forest (Breiman 2001); every tree on its own draw, so that a large firm's takes no longer."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        n_estimators=FOREST_TREES,
        max_depth=7,
        min_samples_leaf=15,
        max_samples=min(len(labels), FOREST_DRAWS),
        random_state=seed,
        n_jobs=1,
    )
    return _trees(list(forest.fit(_single(rows), labels).estimators_), labels)


def fit_boosted(rows: Floats, labels: Floats, *, seed: int) -> BoostedModel:
    """LightGBM, small on purpose: a few hundred positives carry no deep trees."""
    import lightgbm

    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 8,
        "min_data_in_leaf": 40,
        "lambda_l2": 1.0,
        "num_threads": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return BoostedModel(lightgbm.train(settings, lightgbm.Dataset(_bounded(rows), labels), num_boost_round=80))


CANDIDATES: Final[tuple[Candidate, ...]] = (
    Candidate("logistic_regression", fit_logistic, "logistic regression"),
    Candidate("linear_svm", fit_svm, "linear support vector machine"),
    Candidate("cart", fit_cart, "one decision tree (CART)"),
    Candidate("random_forest", fit_forest, "random forest"),
    Candidate("lightgbm", fit_boosted, "gradient boosted trees (LightGBM)"),
)


def logit(shares: Floats) -> Floats:
    """Log-odds, of shares kept a millionth away from 0 and 1."""
    safe = np.clip(shares, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(safe) - np.log1p(-safe), dtype=np.float64)


def expit(x: Floats) -> Floats:
    """The share of given log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))), dtype=np.float64)


def _linear(classifier: Any, rows: Floats, labels: Floats) -> LinearModel:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    prepare = make_pipeline(fill, StandardScaler())
    classifier.fit(prepare.fit_transform(_logarithmic(rows)), labels)
    flagged = () if fill.indicator_ is None else tuple(int(f) for f in fill.indicator_.features_)
    return LinearModel(prepare, classifier.coef_[0], float(classifier.intercept_[0]), (*range(rows.shape[1]), *flagged))


def _trees(fitted: list[Any], labels: Floats) -> TreesModel:
    base = float(labels.mean())
    trees = tuple(estimator.tree_ for estimator in fitted)
    values = tuple(_node_shares(tree, base=base) for tree in trees)
    features = fitted[0].n_features_in_
    steps = tuple(_steps(tree, value, features=features) for tree, value in zip(trees, values, strict=True))
    return TreesModel(trees, values, steps, float(np.mean([value[0] for value in values])))


def _node_shares(tree: Any, *, base: float) -> Floats:
    people = tree.weighted_n_node_samples
    share = tree.value[:, 0, 1]
    return np.asarray((share * people + PRIOR_PEOPLE * base) / (people + PRIOR_PEOPLE), dtype=np.float64)


def _steps(tree: Any, value: Floats, *, features: int) -> Floats:
    steps = np.zeros((tree.node_count, features))
    parents = np.flatnonzero(tree.children_left >= 0)
    for children in (tree.children_left[parents], tree.children_right[parents]):
        steps[children, tree.feature[parents]] = value[children] - value[parents]
    return steps


def _logarithmic(rows: Floats) -> Floats:
    bounded = _bounded(rows)
    return np.asarray(np.sign(bounded) * np.log1p(np.abs(bounded)), dtype=np.float64)


def _bounded(rows: Floats) -> Floats:
    return np.asarray(np.clip(rows, -FARTHEST, FARTHEST), dtype=np.float64)


def _single(rows: Floats) -> Any:
    """As scikit-learn's own trees want it."""
    return np.ascontiguousarray(_bounded(rows), dtype=np.float32)
