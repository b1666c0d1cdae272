"""A learnt uplift score: two outcome models, one per arm, and their difference (T-learner), never scoring a person
with a model that saw the person.

Small on purpose: on Hillstrom richer learners differ by less than chance from this one. It needs no propensity: arms
are drawn at random with one probability for all, which the caller checks.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FOLDS: Final = 3
LEAST_OUTCOMES: Final = 50  # per arm; below, trees learn noise and a fold may hold none

Floats = npt.NDArray[np.float64]


class LearntScores(NamedTuple):
    """Per person, in the order given: expected gain of a contact, and expected outcome if contacted."""

    uplift: Floats
    response: Floats


def not_learnable(is_treated: npt.NDArray[np.bool_], outcome: Floats) -> str | None:
    """Why no score can be learnt from so few outcomes; None where it can."""
    for arm, name in ((is_treated, "treated"), (~is_treated, "control")):
        outcomes = int(np.count_nonzero(outcome[arm]))
        if min(outcomes, int(arm.sum()) - outcomes) < LEAST_OUTCOMES:
            found = f"{outcomes} of {int(arm.sum())} {name} people have the outcome"
            return f"{found}; {LEAST_OUTCOMES} with and {LEAST_OUTCOMES} without are needed"
    return None


def cross_fitted_scores(
    covariates: Floats, *, is_treated: npt.NDArray[np.bool_], outcome: Floats, is_share: bool, seed: int
) -> LearntScores:
    """Scores by `FOLDS`-fold cross-fitting. `covariates` is (people, columns), NaN = unknown.

    `is_share`: the outcome is 0/1 and is modelled as a probability; else its mean is.
    """
    uplift, response = np.empty(len(outcome)), np.empty(len(outcome))
    fold = np.random.default_rng(seed).permutation(len(outcome)) % FOLDS
    for held_out in range(FOLDS):
        inside, outside = fold != held_out, fold == held_out
        if_treated, if_control = (
            _expected(
                covariates[inside & arm], outcome[inside & arm], covariates[outside], is_share=is_share, seed=seed
            )
            for arm in (is_treated, ~is_treated)
        )
        uplift[outside], response[outside] = if_treated - if_control, if_treated
    return LearntScores(uplift, response)


def _expected(known: Floats, outcome: Floats, asked: Floats, *, is_share: bool, seed: int) -> Floats:
    """Expected outcome at `asked` by shallow boosted trees fitted on `known`."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    shape = {
        "max_iter": 60, "learning_rate": 0.05, "max_leaf_nodes": 6, "min_samples_leaf": 100, "l2_regularization": 10.0,
        "early_stopping": False, "random_state": seed,
    }  # fmt: skip
    if is_share:
        classifier = HistGradientBoostingClassifier(**shape).fit(known, outcome > 0)
        return np.asarray(classifier.predict_proba(asked)[:, 1], dtype=np.float64)
    return np.asarray(HistGradientBoostingRegressor(**shape).fit(known, outcome).predict(asked), dtype=np.float64)
