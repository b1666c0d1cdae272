"""Is a rule more than chance? Right also where people differ in activity and items in popularity.

The plain test (Fisher's, on the four counts) asks whether two items are independent. They never are: who buys much buys
more of everything, so in a busy crowd any two items meet too often. Here the question is asked among people alike:

Of the people who have the antecedent less one item b, some have b and some do not. Does having b go with having the
consequent c? The question is asked among those who have equally many items of c's kind, one stratum each, and how many
of them have c is taken as given: so neither the popularity of c, nor any shorter rule, nor who is busy can answer it.
Across kinds chance is then plain independence in each stratum (Fisher's test, Cochran & Mantel & Haenszel's strata).
Within a kind b takes one of the places that c could have, so that their odds ratio by chance is under 1: that of the
null model (``activity``). The tail of the number who have both is Skovgaard's (1987, Adv. Appl. Prob. 19) double
saddlepoint approximation for whole numbers, a few percent off the exact p-value. A rule's p-value is the largest over
its items b: all of them must matter. Only people who could have c are asked: across firms, those of both.

Of all rules that could have been found, with what was known before their people were counted, at most the stated share
of those kept is false on average (Benjamini & Hochberg 1995). Rules that were too rare or not productive count as tried
and failed, because a rule that is common by chance is not to be judged among common rules only. Rules of the same items
depend positively, for which the procedure holds (Benjamini & Yekutieli 2001, theorem 1.2); that it holds here is
measured on null worlds by the tests. Their correction for any dependence would cost a factor of ln(tests), about 10.
"""

from typing import Final, NamedTuple

import numpy as np

from xmkt_assets.segments.intervals import Floats
from xmkt_assets.segments.rules.activity import Kind
from xmkt_assets.segments.rules.baskets import Baskets, Codes, Ints
from xmkt_assets.segments.rules.rules import Rules

AT_ONCE: Final = 4096  # tests in one numpy call
WORTH_A_LOOK: Final = 2.0  # standard deviations over chance; below, the normal tail is near enough
SURE: Final = 25.0  # log odds at which something counts as certain
STEPS: Final = 50


class Tested(NamedTuple):
    """Per rule: `p_values`, and the `expected_people` who would have all of it if its least needed item did nothing."""

    p_values: Floats
    expected_people: Floats


class Chance:
    """The null model of one set of baskets; `kind_of`, shape (items,): items chosen in place of each other."""

    def __init__(self, baskets: Baskets, kind_of: Ints) -> None:
        self.baskets, self.kind_of = baskets, kind_of
        self.kinds = [self._kind(k) for k in range(int(kind_of.max(initial=-1)) + 1)]
        self._holders: dict[tuple[int, ...], Codes] = {}
        self._by_item: dict[int, Ints] = {}

    def _kind(self, number: int) -> Kind:
        codes = np.flatnonzero(self.kind_of == number)
        is_of_kind = self.kind_of[self.baskets.codes] == number
        sizes = np.bincount(self.baskets.person[is_of_kind], minlength=self.baskets.people)
        return Kind(codes, sizes.astype(np.int32), self.baskets.counts[codes])

    def people_by_size(self, sets: Codes, number: int) -> Ints:
        """Of the people with each set, how many have 0, 1, 2, … items of a kind; shape (sets, most + 1)."""
        kind = self.kinds[number]
        if sets.shape[1] == 0:
            return np.broadcast_to(kind.people_by_size, (len(sets), kind.most + 1))
        if sets.shape[1] == 1:
            return self._items_by_size(number)[sets[:, 0]]
        different, place = np.unique(sets, axis=0, return_inverse=True)
        counted = [np.bincount(kind.sizes[self._people(tuple(s))], minlength=kind.most + 1) for s in different.tolist()]
        return np.array(counted)[place.ravel()]

    def _items_by_size(self, number: int) -> Ints:
        if number not in self._by_item:
            kind, width = self.kinds[number], self.kinds[number].most + 1
            place = self.baskets.codes.astype(np.int64) * width + kind.sizes[self.baskets.person]
            counted = np.bincount(place, minlength=len(self.baskets.items) * width)
            self._by_item[number] = counted.reshape(-1, width)
        return self._by_item[number]

    def _people(self, itemset: tuple[int, ...]) -> Codes:
        if itemset not in self._holders:
            self._holders[itemset] = self.baskets.holders_of(itemset)
        return self._holders[itemset]


def tested(rules: Rules, chance: Chance) -> Tested:
    """How likely so many people, or more, would be by chance; 1 where there are fewer than chance gives."""
    p_values, expected = np.zeros(len(rules)), np.zeros(len(rules))
    number = chance.kind_of[rules.consequents]
    for k, kind in enumerate(chance.kinds):
        of_kind = np.flatnonzero(number == k)
        for part in np.split(of_kind, range(AT_ONCE, len(of_kind), AT_ONCE)):
            for b in range(rules.antecedents.shape[1] if len(part) else 0):
                p, mean = _without(b, rules.where(part), chance, k, kind)
                is_worse = p >= p_values[part]
                p_values[part] = np.where(is_worse, p, p_values[part])
                expected[part] = np.where(is_worse, mean, expected[part])
    return Tested(p_values, expected)


def _without(b: int, rules: Rules, chance: Chance, number: int, kind: Kind) -> tuple[Floats, Floats]:
    """p-values of the item at place b of each antecedent, and the people expected if it did nothing."""
    sizes = np.flatnonzero(kind.people_by_size)
    people = [
        chance.people_by_size(s, number)[:, sizes] for s in (rules.antecedents, np.delete(rules.antecedents, b, 1))
    ]
    having, lacking = people[0], people[1] - people[0]
    is_taken = chance.kind_of[rules.antecedents] == number
    same = np.where(is_taken, rules.antecedents, -1)
    shares = np.zeros((2, len(rules), len(sizes)))
    places = kind.place(rules.consequents.astype(np.int64))
    more = np.stack([sizes - is_taken.sum(axis=1)[:, None], sizes - (is_taken.sum(axis=1) - is_taken[:, b])[:, None]])
    different, model = np.unique(same, axis=0, return_inverse=True)
    order, at_once = np.argsort(model.ravel(), kind="stable"), kind.models_at_once
    for first in range(0, len(different), at_once):
        begin, end = np.searchsorted(model.ravel()[order], [first, first + at_once])
        part = order[begin:end]
        table = kind.shares(different[first : first + at_once])
        row = model.ravel()[part] - first
        shares[:, part] = table[np.maximum(more[:, part], 0), row[None, :, None], places[part][None, :, None]]
    held = np.sort(np.column_stack([np.delete(rules.antecedents, b, axis=1), rules.consequents]), axis=1)
    total = chance.people_by_size(held, number)[:, sizes]
    odds = _log_odds(shares)
    return _p_values(rules.people, total, having=having, lacking=lacking, log_ratio=odds[0] - odds[1])


def _p_values(both: Ints, total: Ints, *, having: Ints, lacking: Ints, log_ratio: Floats) -> tuple[Floats, Floats]:
    """By the normal tail where it is plain that nothing is there, closely where something may be; people expected."""
    cells = Cells(total, having, lacking, log_ratio)
    held = cells.held(np.zeros(len(both)))
    mean, variance = held.sum(axis=1), cells.variance(held).sum(axis=1)
    z = (both - 0.5 - mean) / np.sqrt(np.maximum(variance, 1e-12))
    p_values = np.where(variance > 0, _normal_tail(z), 1.0)
    near = (z > WORTH_A_LOOK) & (variance > 0)
    p_values[near] = tail_shares(
        both[near], total[near], having=having[near], lacking=lacking[near], log_ratio=log_ratio[near]
    )
    return p_values, mean


def q_values(p_values: Floats, *, tests: int) -> Floats:
    """Smallest false discovery share at which each is kept (Benjamini & Hochberg 1995); `tests`: all tried."""
    if tests < len(p_values):
        raise ValueError(f"{len(p_values)} p-values of {tests} tests; count every rule that could have been found")
    order = np.argsort(p_values, kind="stable")
    ranked = p_values[order] * tests / np.arange(1, len(p_values) + 1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return found


class Cells(NamedTuple):
    """Fourfold tables, one per row and stratum, shape (rows, strata): of `total` people with the consequent some are of
    the `having`, the others of the `lacking`; `log_ratio`: log odds of the one over those of the other under chance.
    """

    total: Ints
    having: Ints
    lacking: Ints
    log_ratio: Floats

    def held(self, tilt: Floats) -> Floats:
        """Expected people with both when the log odds of the having are raised by `tilt`, shape (rows,).

        The cell whose odds ratio that is, its margins as they are (Cornfield 1956): the root of a quadratic.
        """
        ratio = np.exp(np.clip(self.log_ratio + tilt[:, None], -SURE, SURE))
        middle = (ratio - 1) * (self.having + self.total) + self.having + self.lacking
        last = ratio * self.having * self.total
        root = np.sqrt(np.maximum(middle**2 - 4 * (ratio - 1) * last, 0))
        return np.asarray(2 * last / np.maximum(middle + root, 1e-300))

    def shares(self, held: Floats) -> tuple[Floats, Floats]:
        """Shares with the consequent, of the having and of the lacking."""
        of_having = held / np.maximum(self.having, 1)
        of_lacking = (self.total - held) / np.maximum(self.lacking, 1)
        return np.clip(of_having, 0, 1), np.clip(of_lacking, 0, 1)

    def parts(self, held: Floats) -> tuple[Floats, Floats]:
        """Variances of the numbers with the consequent, of the having and of the lacking."""
        p, q = self.shares(held)
        return self.having * p * (1 - p), self.lacking * q * (1 - q)

    def variance(self, held: Floats) -> Floats:
        """Variance of the people with both, given the total."""
        a, b = self.parts(held)
        return np.asarray(a * b / np.maximum(a + b, 1e-300))


def tail_shares(both: Ints, total: Ints, *, having: Ints, lacking: Ints, log_ratio: Floats) -> Floats:
    """P(as many of the `having` as `both`, or more, have the consequent | how many have it per stratum), per row."""
    cells = Cells(total, having, lacking, log_ratio)
    # The most there can be: the tail would lie at infinity. Half a person less is the larger p-value.
    s = np.minimum(both.astype(np.float64), np.minimum(having, total).sum(axis=1) - 0.5)
    tilt = _tilt(cells, s)
    now, then = cells.held(tilt), cells.held(0 * tilt)
    away = np.zeros(len(both))
    for people, p, q in zip((having, lacking), cells.shares(now), cells.shares(then), strict=True):
        away += (people * (_entropy(p, q) + _entropy(1 - p, 1 - q))).sum(axis=1)
    w = np.sqrt(np.maximum(2 * away, 0))
    (a, b), (c, d) = cells.parts(now), cells.parts(then)
    is_open = (c + d > 1e-9) & (a + b > 1e-300)
    growth = np.where(is_open, np.log(np.where(is_open, a + b, 1)) - np.log(np.where(is_open, c + d, 1)), 0).sum(axis=1)
    scale = np.sqrt(cells.variance(now).sum(axis=1)) * np.exp(growth / 2)
    with np.errstate(all="ignore"):
        u = -np.expm1(-tilt) * scale
        p_values = _normal_tail(w) + np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi) * (1 / u - 1 / w)
    # Where strata are so sparse that the approximation leaves the sure bounds, Chernoff's bound stands for it.
    chernoff = np.exp(-(w**2) / 2)
    is_sound = np.isfinite(p_values) & (p_values > chernoff / 1000) & (p_values <= chernoff)
    return np.where(tilt > 0.01, np.where(is_sound, p_values, chernoff), 1.0)


def _tilt(cells: Cells, wanted: Floats) -> Floats:
    """The tilt at which `wanted` people are expected: Newton's steps, kept short."""
    tilt = np.zeros(len(wanted))
    for _ in range(STEPS):
        held = cells.held(tilt)
        missing = wanted - held.sum(axis=1)
        if np.all(np.abs(missing) <= 1e-7 * (1 + wanted)):
            break
        tilt += np.clip(missing / np.maximum(cells.variance(held).sum(axis=1), 1e-12), -1, 1)
    return tilt


def _entropy(p: Floats, q: Floats) -> Floats:
    return np.asarray(np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / np.maximum(q, 1e-300)), 0.0))


def _log_odds(shares: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(shares) - np.log1p(-shares), -SURE, SURE))


def _normal_tail(w: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(-w))
