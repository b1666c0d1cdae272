"""What chance alone gives somebody who has so many items: the null model of the tests.

People differ in how much they have, items in how popular they are, and nothing else: a basket of n items is any set of
n items with a probability in proportion to the product of their weights (conditional Bernoulli sampling, Chen, Dempster
& Liu 1994; the sufficient statistics are those of the Rasch model). The weights are such that every item is expected as
often as it was seen.

The bipartite configuration model (Saracco et al. 2017) has the same two constraints but holds the number of items of a
person only on average. With baskets of 2 or 3 items that matters: it expects of two items of a person with d items
about d² pairs where d (d - 1) are possible, so that true rules drown. Here d is held exactly.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from xmkt_assets.segments.intervals import Floats
from xmkt_assets.segments.rules.baskets import Codes, Ints

MOST_ITEMS: Final = 200  # whoever has more counts as having so many: where the tables end
ROUNDS: Final = 200
MOST_LOST: Final = 1e8
CLOSE_ENOUGH: Final = 1e-4  # of each item's count; the test itself meets the counts exactly


def inclusion_shares(weights: Floats, *, most: int) -> Floats:
    """Probability of each item to be in a basket of n items, shape (most + 1, models, items); rows sum to n.

    `weights`, shape (models, items); an item of weight 0 is in no basket. The recursion of Chen, Dempster & Liu 1994,
    exact and without a sum over sets. Rounding grows in it with the odds of the likeliest item; once 8 of 16 digits may
    be gone, the odds of all items are raised alike from one n to the next.
    """
    shares = np.zeros((most + 1, *weights.shape))
    lost = np.ones(weights.shape)
    there = (weights > 0).sum(axis=1)
    for n in range(1, most + 1):
        free = weights * (1 - shares[n - 1])
        shares[n] = np.clip(n * free / np.maximum(free.sum(axis=1, keepdims=True), 1e-300), 0, 1 - 1e-12)
        rough = (lost.max(axis=1) > MOST_LOST) & (n < there)
        if rough.any():
            shares[n, rough] = _raised(shares[n - 1, rough], total=n)
        full = n >= there
        shares[n, full] = weights[full] > 0
        lost *= np.maximum(shares[n] / np.maximum(1 - shares[n], 1e-12), 1)
    return shares


def _raised(shares: Floats, *, total: int) -> Floats:
    """The same odds times one factor per row, such that each row adds up to `total`."""
    odds = shares / np.maximum(1 - shares, 1e-12)
    raised, factor = shares, np.ones((len(shares), 1))
    for _ in range(20):
        missing = total - raised.sum(axis=1, keepdims=True)
        if np.all(np.abs(missing) < 1e-9 * total):
            break
        slope = np.maximum((raised * (1 - raised)).sum(axis=1, keepdims=True), 1e-12)
        factor *= np.exp(np.clip(missing / slope, -2, 2))
        raised = factor * odds / (1 + factor * odds)
    return raised


def fit_weights(counts: Ints, *, people_by_size: Ints) -> Floats:
    """Weights under which each item is expected as often as counted; geometric mean 1 over the items that somebody has.

    `people_by_size`: people with 0, 1, 2, … items of this kind.
    """
    people = people_by_size[1:].sum()
    counted = np.clip(counts, 0.5, max(people - 0.5, 0.5)).astype(np.float64)  # everybody has it: odds stay finite
    weights = counted / (people - counted + 1)
    for _ in range(ROUNDS):
        expected = people_by_size @ inclusion_shares(weights[None], most=len(people_by_size) - 1)[:, 0]
        if np.all(np.abs(expected - counted) <= CLOSE_ENOUGH * counted + 0.01):
            break
        expected = np.clip(expected, 0.25, max(people - 0.25, 0.25))
        weights *= counted * (people - expected + 1) / ((people - counted + 1) * expected)
        weights /= np.exp(np.log(weights).mean())
    return np.asarray(weights)


@dataclass
class Kind:
    """The items of one kind at one firm: what a person's number of them is chosen from.

    `codes`: the items, ascending; `sizes`: how many of them each person has.
    """

    codes: Ints
    sizes: Codes
    counts: Ints

    def __post_init__(self) -> None:
        self.sizes = np.minimum(self.sizes, MOST_ITEMS)
        self.people_by_size = np.bincount(self.sizes, minlength=1)
        self.weights = fit_weights(self.counts, people_by_size=self.people_by_size)

    @property
    def most(self) -> int:
        return len(self.people_by_size) - 1

    @property
    def models_at_once(self) -> int:
        """How many models fit into 32 MB."""
        return max((1 << 22) // ((self.most + 1) * max(len(self.codes), 1)), 1)

    def shares(self, taken: Codes) -> Floats:
        """Probability of each item when n more are chosen beside those taken, shape (most + 1, rows, items).

        `taken`: one row of codes each, items of other kinds or -1 among them.
        """
        is_free = ~(taken[:, :, None] == self.codes).any(axis=1)
        return inclusion_shares(np.where(is_free, self.weights, 0.0), most=self.most)

    def place(self, codes: Ints) -> Ints:
        return np.searchsorted(self.codes, codes)
