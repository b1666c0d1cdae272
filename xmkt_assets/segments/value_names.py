"""Names of value groups: by rule from the centres, kept from one snapshot to the next while they stay true. Pure.

A name is a claim about a centre, in order of precedence. Worth and interest are means of the centre's features in
standard deviations from the mean person on the log scale; days are the centre's own, taken back from the log scale
(a geometric mean):

=============== =====================================================================================================
high value      the largest worth, over the mean
dormant         the longest since the last event, 30 days or more
newcomer        the shortest since the first event, 45 days or fewer
high potential  the most present interest beyond the worth; interest over the mean
occasional      the smallest present interest, both it and the worth under the mean
steady          the rest
=============== =====================================================================================================

A name whose condition no centre meets is not given. Further groups that meet the condition of dormant, newcomer or
occasional are "dormant 2" and so on, the rest "steady 2", ... in order of falling worth: two groups never share a name.

A group keeps the name of a group of the last snapshot when it is the same one and the name is still true:

* Groups of the two snapshots are paired so that the centres move least in all (Kuhn 1955, Munkres 1957), measured in
  the standardisation of the last snapshot. A pair is the same group when its centre moved less than `MOVED_SHARE` of
  the way to the nearest other group of the last snapshot, or when of the people in both snapshots more than half of
  the old group are in the new one and more than half of the new group come from the old one.
* Where the last snapshot's model is gone (an erasure removes files), the pairs are those that share most people.
* A name is still true when its condition holds but for a margin: `SLACK_SD` standard deviations, `SLACK_SHARE` of the
  days; "high value" also not when another group's worth is larger by more than `LEAD_SD`. The margin keeps a group at
  a threshold from changing its name every week.

All other groups are named by the rule, with the names that are left.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xmkt_assets.segments.grouping import distances_to
from xmkt_assets.segments.intervals import Floats

DORMANT_DAYS: Final = 30
NEWCOMER_DAYS: Final = 45
MOVED_SHARE: Final = 0.5  # beyond half of the way, the other group is the nearer one
SLACK_SD: Final = 0.1
SLACK_SHARE: Final = 0.1
LEAD_SD: Final = 0.25
NUMBERED: Final = ("dormant", "newcomer", "occasional")  # names that several groups may earn


class Profile(NamedTuple):
    """What names are given by, each of shape (groups,)."""

    worth: Floats
    interest: Floats
    idle_days: Floats
    known_days: Floats


class Before(NamedTuple):
    """The groups of the last snapshot: their names, and per pair (old, new) the people who are in both snapshots.

    `old`, `new`: centres of both snapshots in the standardisation of the last one; None where its model is gone.
    """

    labels: tuple[str, ...]
    shared: Floats
    old: Floats | None
    new: Floats | None


class Named(NamedTuple):
    """One name per group and, in words, where it comes from."""

    labels: tuple[str, ...]
    origins: tuple[str, ...]


def names(found: Profile, *, before: Before | None = None) -> Named:
    """Names of all groups: kept where they may be, by the rule elsewhere."""
    kept: dict[int, str] = {}
    origins = ["by rule"] * len(found.worth)
    for old, new, why in same_groups(before) if before else ():
        label = before.labels[old] if before else ""
        if is_still_true(label, found, new):
            kept[new], origins[new] = label, f"kept: {why}"
        else:
            origins[new] = f"by rule: {label!r} is no longer true of the group ({why})"
    return Named(by_rule(found, kept=kept), tuple(origins))


def by_rule(found: Profile, *, kept: dict[int, str] | None = None) -> tuple[str, ...]:
    """One name per group; `kept` are given already."""
    named = dict(kept or {})
    rules = _rules(found)
    for name, (fit, is_fitting) in rules.items():
        unnamed = [c for c in range(len(found.worth)) if c not in named and is_fitting[c]]
        if unnamed and name not in named.values():
            named[max(unnamed, key=lambda c: (fit[c], -c))] = name
    rest = sorted((c for c in range(len(found.worth)) if c not in named), key=lambda c: (-found.worth[c], c))
    for c in rest:
        earned = next((n for n in NUMBERED if rules[n][1][c]), "steady")
        named[c] = _next(earned, taken=set(named.values()))
    return tuple(named[c] for c in range(len(found.worth)))


def is_still_true(label: str, found: Profile, group: int) -> bool:
    """Whether `label` is not plainly false of a group: its condition holds but for the margin of the rule."""
    worth, interest, idle_days, known_days = (float(values[group]) for values in found)
    is_dormant = idle_days >= DORMANT_DAYS * (1 - SLACK_SHARE)
    is_newcomer = known_days <= NEWCOMER_DAYS * (1 + SLACK_SHARE)
    name = label.rstrip("0123456789 ")
    claims = {
        "high value": worth > -SLACK_SD and worth >= float(found.worth.max()) - LEAD_SD,
        "dormant": is_dormant,
        "newcomer": is_newcomer,
        "high potential": interest > -SLACK_SD,
        "occasional": interest < SLACK_SD and worth < SLACK_SD,
        "steady": idle_days < DORMANT_DAYS * (1 + SLACK_SHARE) and known_days > NEWCOMER_DAYS * (1 - SLACK_SHARE),
    }
    return claims.get(name, False)


def same_groups(before: Before) -> list[tuple[int, int, str]]:
    """(old group, new group, why) of every pair that is one and the same group."""
    from scipy.optimize import linear_sum_assignment

    cost = -before.shared if before.old is None or before.new is None else distances_to(before.old, before.new)
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    judged = [(int(old), int(new), _why_same(before, int(old), int(new))) for old, new in pairs]
    return [(old, new, why) for old, new, why in judged if why]


def _why_same(before: Before, old: int, new: int) -> str:
    """Why two groups are one; empty where they are not."""
    if before.old is not None and before.new is not None and len(before.old) > 1:
        way = distances_to(before.old, before.old[[old]])[:, 0]
        way[old] = np.inf
        moved, nearest_other = float(distances_to(before.new[[new]], before.old[[old]])[0, 0]), float(way.min())
        if moved < MOVED_SHARE * nearest_other:
            return f"its centre moved {moved / nearest_other:.0%} of the way to the nearest other group"
    stayed, came = _part(before.shared[old, :], new), _part(before.shared[:, new], old)
    return f"{stayed:.0%} of its people stayed" if min(stayed, came) > 0.5 else ""


def _part(people: Floats, group: int) -> float:
    total = float(people.sum())
    return float(people[group]) / total if total else 0.0


def _rules(found: Profile) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """Name → (how well each group fits it, whether it meets the condition), in order of precedence."""
    worth, interest, idle_days, known_days = found
    return {
        "high value": (worth, worth > 0),
        "dormant": (idle_days, idle_days >= DORMANT_DAYS),
        "newcomer": (-known_days, known_days <= NEWCOMER_DAYS),
        "high potential": (interest - worth, interest > 0),
        "occasional": (-interest, (interest < 0) & (worth < 0)),
    }


def _next(name: str, *, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"
