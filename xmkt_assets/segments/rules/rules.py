"""Rules: people who have these items have that one too. What each is worth, from the counts of frequent itemsets.

With the people of the scope n, those who have all of the antecedent a, the consequent c, both a and c:

support     both / n                       Agrawal, Imielinski & Swami 1993
confidence  both / a                       the same
lift        confidence / (c / n)           "interest" of Brin, Motwani & Silverstein 1997
leverage    both / n - (a / n) (c / n)     Piatetsky-Shapiro 1991

A rule is productive when its confidence is above that of every rule to the same item from fewer of its items, none
included (Webb 2007, section 2.2): else the shorter rule says it all. Whether it is more than chance is the work of
``significance``.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xmkt_assets.segments.intervals import Floats
from xmkt_assets.segments.rules.baskets import Codes, Ints
from xmkt_assets.segments.rules.itemsets import Itemsets, Level, places_of

ROUNDING: Final = 1e-12  # confidences of equal counts must not differ


class Rules(NamedTuple):
    """Every rule with one antecedent size; one row per itemset and choice of its consequent.

    `antecedents`, shape (rules, size): codes ascending; the others have shape (rules,). `without`, shape (rules, size):
    people who have the consequent and the antecedent less that item.
    """

    antecedents: Codes
    consequents: Codes
    people: Ints
    antecedent_people: Ints
    consequent_people: Ints
    without: Ints
    is_productive: NDArray[np.bool_]
    total_people: int

    def __len__(self) -> int:
        return len(self.people)

    @property
    def support(self) -> Floats:
        return np.asarray(self.people / self.total_people)

    @property
    def confidence(self) -> Floats:
        return np.asarray(self.people / self.antecedent_people)

    @property
    def lift(self) -> Floats:
        return np.asarray(self.confidence * self.total_people / self.consequent_people)

    @property
    def leverage(self) -> Floats:
        return np.asarray(self.support - self.antecedent_people * self.consequent_people / self.total_people**2)

    def where(self, is_kept: NDArray[np.bool_] | Ints) -> "Rules":
        columns: Any = (*(part[is_kept] for part in self[:-1]), self.total_people)
        return Rules(*columns)


def rules_of(itemsets: Itemsets, *, people: int) -> list[Rules]:
    """All rules with one consequent, by size of the antecedent from 1 up; `people`: everybody in the scope."""
    if not itemsets.levels:
        return []
    before = itemsets.levels[0]
    counts = np.zeros(len(itemsets.items), dtype=np.int64)
    counts[before.codes[:, 0]] = before.people
    best = (before.people / people)[:, None]  # the highest confidence so far, per set and choice of consequent
    found = []
    for level in itemsets.levels[1:]:
        parts = _parts(level, before)
        confidence = level.people[:, None] / before.people[parts]
        general = _general(parts, best)
        found.append(
            _rules(level, before, parts, counts=counts, is_productive=confidence > general + ROUNDING, people=people)
        )
        best, before = np.maximum(confidence, general), level
    return found


def _parts(level: Level, before: Level) -> Ints:
    """Place in `before` of each set less its item at each position, shape (sets, size)."""
    return np.column_stack([places_of(np.delete(level.codes, i, axis=1), before.codes) for i in range(level.size)])


def _general(parts: Ints, best: Floats) -> Floats:
    """Highest confidence of a rule to the item at each position from fewer of the set's other items."""
    size = parts.shape[1]
    general = np.zeros(parts.shape)
    for c in range(size):
        for dropped in range(size):
            if dropped != c:
                shorter = best[parts[:, dropped], c - (dropped < c)]
                general[:, c] = np.maximum(general[:, c], shorter)
    return general


def _rules(
    level: Level, before: Level, parts: Ints, *, counts: Ints, is_productive: NDArray[np.bool_], people: int
) -> Rules:
    made = []
    for c in range(level.size):
        others = [i for i in range(level.size) if i != c]
        antecedent = parts[:, c]
        made.append(
            (
                level.codes[:, others],
                level.codes[:, c],
                level.people,
                before.people[antecedent],
                counts[level.codes[:, c]],
                before.people[parts[:, others]],
                is_productive[:, c],
            )
        )
    columns: Any = (*(np.concatenate(column) for column in zip(*made, strict=True)), people)
    return Rules(*columns)
