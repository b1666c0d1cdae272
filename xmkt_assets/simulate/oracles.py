"""Oracles: what somebody who knows the world's rule would foretell. The ceiling that a learnt model is measured by.

Here: the chance of a claim under the rule of ``insurer_firm.claims_of``, for one who knows each person's latent risk
and for one who sees only what the platform may see. Does not belong here: anything a platform could compute.

The rule: claims of a term come at the rate CLAIM_LEVEL x claims per year of the product x exp(latent risk) x days
covered / 365, as a Poisson number spread evenly over these days. Latent risk is normal around a line in age.
"""

from typing import Final, NamedTuple

import numpy as np

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.insurer_firm import CLAIM_LEVEL

RISK_SPREAD: Final = 0.6  # of latent risk around its line, as in people.make_people
RISK_PER_YEAR: Final = 0.015
RISK_AGE: Final = 42
POINTS: Final = 40


class Exposure(NamedTuple):
    """How many claims each person would expect at latent risk 0, arrays of one length (people).

    Expected claims = CLAIM_LEVEL x sum over policies of claims per year x days covered / 365. `past` is over the look-
    back in which `claims` were seen, `next` over the days foretold.
    """

    past: chance.Floats
    claims: chance.Ints
    next: chance.Floats


def expected_claims(claims_per_year: chance.Floats, covered_days: chance.Floats) -> chance.Floats:
    """Expected claims at latent risk 0, from arrays (people, policies): the class rate and the days covered."""
    return np.asarray(CLAIM_LEVEL * (claims_per_year * covered_days).sum(axis=-1) / 365.0, dtype=np.float64)


def claim_share_knowing_all(risk: chance.Floats, exposure: Exposure) -> chance.Floats:
    """The chance of at least one claim, for one who knows the latent risk: 1 - exp(-expected claims)."""
    return np.asarray(-np.expm1(-np.exp(risk) * exposure.next), dtype=np.float64)


def claim_share_seeing_the_data(age: chance.Ints, exposure: Exposure) -> chance.Floats:
    """The best possible chance from age, cover and past claims (Bayes): latent risk is integrated over its posterior.

    Past claims are Poisson of mean exp(risk) x past. Gauss-Hermite quadrature over the normal of latent risk given age
    (Abramowitz & Stegun 25.4.46).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(POINTS)
    risk = RISK_PER_YEAR * (age[:, None] - RISK_AGE) + RISK_SPREAD * nodes
    log_past = exposure.claims[:, None] * risk - np.exp(risk) * exposure.past[:, None]
    posterior = weights * np.exp(log_past - log_past.max(axis=1, keepdims=True))
    shares = -np.expm1(-np.exp(risk) * exposure.next[:, None])
    return np.asarray((posterior * shares).sum(axis=1) / posterior.sum(axis=1), dtype=np.float64)
