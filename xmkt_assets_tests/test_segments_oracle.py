"""Claim risk against the simulator's truth: as good as one who knows the rule and sees the same data; calibrated."""

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from xmkt_assets import simulate
from xmkt_assets.segments.calibration import calibration_of
from xmkt_assets.segments.intervals import Floats
from xmkt_assets.segments.scoring import Scores, score_people
from xmkt_assets.segments.targets import CLAIM_RISK
from xmkt_assets.simulate import oracles
from xmkt_assets.simulate.catalogue import PRODUCTS

END = datetime(2026, 9, 29)
LOOK_BACK_DAYS, HORIZON_DAYS = 120, 60
PEOPLE = 6000
# Yearly products of different classes, by their rates in the catalogue.
HELD = [p for p in PRODUCTS if p.product_class in ("health", "accident", "motor") and p.term_days == 365]


class Planted(NamedTuple):
    """People under the simulator's rule: the first `PEOPLE` with a label, as many to be scored."""

    examples: pl.DataFrame
    age: Floats
    risk: Floats
    exposure: oracles.Exposure
    happened: Floats


@pytest.fixture(scope="module")
def planted() -> Planted:
    """Each holds some of the products, all begun long enough ago that both windows are covered whole."""
    rng = np.random.default_rng(5)
    n = 2 * PEOPLE
    age = rng.integers(20, 76, n)
    risk = oracles.RISK_PER_YEAR * (age - oracles.RISK_AGE) + oracles.RISK_SPREAD * rng.normal(size=n)
    holds = rng.random((n, len(HELD))) < 0.25
    holds[np.arange(n), rng.integers(0, len(HELD), n)] = True
    rates = np.array([p.claims_per_year for p in HELD])
    past, following = (oracles.expected_claims(rates, holds * float(d)) for d in (LOOK_BACK_DAYS, HORIZON_DAYS))
    claims = rng.poisson(np.exp(risk) * past)
    happened = rng.poisson(np.exp(risk) * following) > 0
    is_labelled = np.arange(n) < PEOPLE
    counts = {
        f"{kind}_policy_count": holds[:, [p.product_class == kind for p in HELD]].sum(axis=1)
        for kind in ("health", "accident", "motor")
    }
    examples = pl.DataFrame(
        {
            "person_id": [f"p{i:06d}" for i in range(n)],
            "observed_at": [END - timedelta(days=HORIZON_DAYS) if known else END for known in is_labelled],
            CLAIM_RISK.label: [bool(h) if known else None for h, known in zip(happened, is_labelled, strict=True)],
            **dict.fromkeys(CLAIM_RISK.features, np.zeros(n)),
            "age_years": age,
            "active_policy_count": holds.sum(axis=1),
            **counts,
            "active_premium_fen": 100 * holds @ np.array([p.annual_premium_yuan for p in HELD]),
            "cover_left_days": np.full(n, HORIZON_DAYS),
            "claim_count": claims,
        }
    )
    return Planted(examples, age, risk, oracles.Exposure(past, claims, following), happened)


@pytest.fixture(scope="module")
def found(planted: Planted) -> Scores:
    return score_people(CLAIM_RISK, planted.examples, seed=7)


def test_claims_are_foretold_as_well_as_by_one_who_knows_the_rule_and_sees_the_same(
    planted: Planted, found: Scores
) -> None:
    """On people the model has not seen. Who knows each latent risk, too, does better than anybody can from the data."""
    unseen = slice(PEOPLE, None)
    happened = planted.happened[unseen]
    ours = roc_auc_score(happened, found.people["claim_risk_share"])
    same = roc_auc_score(happened, oracles.claim_share_seeing_the_data(planted.age, planted.exposure)[unseen])
    full = roc_auc_score(happened, oracles.claim_share_knowing_all(planted.risk, planted.exposure)[unseen])
    assert same > 0.65  # there is something to find
    assert full > same
    assert ours > same - 0.02, (ours, same, full)


def test_shares_mean_what_they_say_on_people_not_seen(planted: Planted, found: Scores) -> None:
    happened = planted.happened[PEOPLE:].astype(float)
    slope = calibration_of(found.people["claim_risk_share"].to_numpy(), happened).slope
    assert slope.high - slope.low < 0.25  # else nothing is said
    assert 0.9 <= slope.value <= 1.1, slope


def test_the_oracle_of_the_same_data_is_calibrated_and_integrates_as_a_general_method_does(planted: Planted) -> None:
    shares = oracles.claim_share_seeing_the_data(planted.age, planted.exposure)
    calibrated = calibration_of(shares, planted.happened.astype(float))
    assert calibrated.slope.low <= 1 <= calibrated.slope.high
    assert calibrated.intercept.low <= 0 <= calibrated.intercept.high
    past, claims, following = (planted.exposure[n][0] for n in range(3))
    middle = oracles.RISK_PER_YEAR * (planted.age[0] - oracles.RISK_AGE)

    def weight(risk: float) -> float:
        return float(norm.pdf(risk, middle, oracles.RISK_SPREAD) * np.exp(claims * risk - np.exp(risk) * past))

    def claiming(risk: float) -> float:
        return weight(risk) * float(-np.expm1(-np.exp(risk) * following))

    by_quadrature = quad(claiming, -6, 6)[0] / quad(weight, -6, 6)[0]
    assert shares[0] == pytest.approx(by_quadrature, abs=1e-8)


def test_the_oracles_spread_of_latent_risk_is_the_simulators() -> None:
    people = simulate.build_world(people=4000, days=10).people
    left = people.risk - oracles.RISK_PER_YEAR * (people.age - oracles.RISK_AGE)
    assert left.std() == pytest.approx(oracles.RISK_SPREAD, rel=0.05)
    assert left.mean() == pytest.approx(0, abs=0.04)
