"""Association rules of a day, from baskets to rows: which people are asked, what is tested, what is kept and why.

Rules are looked for in three scopes: the courses of the people of the course platform, the products of the people of
the insurer, and across the firms among the people who have something at both, so that somebody known to one firm alone
neither supports a rule across firms nor counts against it. Every share and lift is of the people of its scope.

A topic is made of the items of its own side: whatever links them is partly the catalogue. So no rule names a topic
together with an item, or another topic, of the same side (`excluded`); across the firms topics take part like any item.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.segments.rules.baskets import Codes, Ints, read_baskets
from xmkt_assets.segments.rules.itemsets import Itemsets, Mask, candidates, frequent_itemsets, may_meet
from xmkt_assets.segments.rules.rules import Rules, rules_of
from xmkt_assets.segments.rules.significance import Chance, Tested, q_values, tested
from xmkt_assets.segments.rules.words import worded

COURSES, PRODUCTS, ACROSS = "courses", "products", "both firms"
SIDES: Final[Mapping[str, str]] = {COURSES: "course_platform", PRODUCTS: "insurer"}
FEWEST_BASKETS: Final = 200  # people; fewer say nothing that is more than chance
RULES_SCHEMA: Final = pl.Schema(
    {
        "scope": pl.String,
        "antecedent": pl.String,
        "consequent": pl.String,
        "in_words": pl.String,
        "people": pl.Int64,
        "antecedent_people": pl.Int64,
        "expected_people": pl.Float64,
        "support_share": pl.Float64,
        "confidence_share": pl.Float64,
        "lift": pl.Float64,
        "leverage": pl.Float64,
        "p_value": pl.Float64,
        "q_value": pl.Float64,
        "is_cross_firm": pl.Boolean,
    }
)
ITEM_SCHEMA: Final = pl.Schema({"item": pl.String, "kind": pl.String, "side": pl.String})


class Findings(NamedTuple):
    """`rules`: one row per rule kept (`RULES_SCHEMA`), the largest leverage first within a scope.

    `scopes`: one row per scope: people, items, tested (rules that could have been found), rules, reason (why none was
    looked for). `reason`: why there is nothing at all; None where at least one scope could be looked at.
    """

    rules: pl.DataFrame
    scopes: pl.DataFrame
    reason: str | None


class Limits(NamedTuple):
    """What a rule must meet. Shares are of the people of the scope, the longest antecedent is in items."""

    min_support_share: float = 0.001
    fewest_people: int = 20
    false_discovery_share: float = 0.05
    longest_antecedent: int = 2
    method: str = "eclat"


class _Scope(NamedTuple):
    name: str
    people: int
    items: int
    tested: int
    reason: str | None
    rules: pl.DataFrame


def association_rules(rows: pl.DataFrame, *, titles: Mapping[str, str], limits: Limits) -> Findings:
    """Rules of one day's baskets; the order of the rows does not matter.

    `rows`: person_id, item, kind (course, product, topic), side (course_platform, insurer). `titles`: item → what
    people call it; an item without one is called by its id.
    """
    missing = [c for c in ("person_id", "item", "kind", "side") if c not in rows.columns]
    if missing:
        raise ValueError(f"The baskets lack {missing}; found {rows.columns}. Rebuild segments.baskets for the day.")
    items = rows.select("item", "kind", "side").unique().sort("item")
    if items["item"].n_unique() < items.height:
        twice = items.filter(items["item"].is_duplicated())["item"][0]
        raise ValueError(f"item {twice!r} has two kinds or sides; an item has one of each. Rebuild segments.baskets.")
    looked = [_look(name, _asked(rows, name), items, limits) for name in (COURSES, PRODUCTS, ACROSS)]
    tries = sum(scope.tested for scope in looked)
    found = pl.concat([scope.rules for scope in looked])
    found = found.with_columns(q_value=q_values(found["p_value"].to_numpy(), tests=tries))
    kept = found.filter(pl.col("q_value") <= limits.false_discovery_share)
    kept = kept.sort("scope", "leverage", "antecedent", "consequent", descending=[False, True, False, False])
    kept = kept.with_columns(in_words=pl.Series(worded(kept, titles), dtype=pl.String)).select(RULES_SCHEMA.names())
    per_scope = dict(kept.group_by("scope").len().iter_rows())
    table = pl.DataFrame(
        [(s.name, s.people, s.items, s.tested, per_scope.get(s.name, 0), s.reason) for s in looked],
        schema={"scope": str, "people": int, "items": int, "tested": int, "rules": int, "reason": str},
        orient="row",
    )
    why_not = None if any(s.reason is None for s in looked) else "; ".join(f"{s.name}: {s.reason}" for s in looked)
    return Findings(kept.cast(RULES_SCHEMA), table, why_not and f"not applicable: {why_not}")


def excluded(items: pl.DataFrame) -> Ints:
    """Pairs of places in `items` (item, kind, side) that no rule names together: a topic and anything of its side."""
    kinds, sides = items["kind"].to_list(), items["side"].to_list()
    pairs = combinations(range(items.height), 2)
    linked = [(a, b) for a, b in pairs if sides[a] == sides[b] and "topic" in (kinds[a], kinds[b])]
    return np.array(linked, dtype=np.int64).reshape(-1, 2)


def _asked(rows: pl.DataFrame, scope: str) -> pl.DataFrame:
    """The baskets of the people who can support or contradict a rule of the scope, with the items it is about."""
    if scope != ACROSS:  # topics make no rule within a side, see `excluded`
        return rows.filter((pl.col("side") == SIDES[scope]) & (pl.col("kind") != "topic"))
    both = rows.group_by("person_id").agg(sides=pl.col("side").n_unique()).filter(pl.col("sides") == len(SIDES))
    return rows.join(both, on="person_id", how="semi")


def _look(name: str, rows: pl.DataFrame, items: pl.DataFrame, limits: Limits) -> _Scope:
    people = rows["person_id"].n_unique()
    own = items.filter(pl.col("item").is_in(rows["item"].unique().implode()))
    if people < FEWEST_BASKETS:
        reason = f"{people} people with a basket, wanted at least {FEWEST_BASKETS}"
        return _Scope(name, people, own.height, 0, reason, _no_rules())
    baskets = read_baskets(rows)
    fewest = max(limits.fewest_people, int(np.ceil(limits.min_support_share * people)))
    forbidden = excluded(own)
    itemsets = frequent_itemsets(
        baskets,
        fewest_people=fewest,
        longest=limits.longest_antecedent + 1,
        forbidden=forbidden,
        method=limits.method,
    )
    is_insurer = (own["side"] == SIDES[PRODUCTS]).to_numpy()
    tries = _could_be_found(itemsets, forbidden, is_insurer, across=name == ACROSS, limits=limits)
    chance = Chance(baskets, _kinds(own))
    made = [_likely(rules, chance, is_insurer, name, limits) for rules in rules_of(itemsets, people=people)]
    return _Scope(name, people, own.height, tries, None, pl.concat([_no_rules(), *made]))


def _kinds(items: pl.DataFrame) -> Ints:
    """Items chosen in place of each other: those of one kind at one firm."""
    return items.select(pl.struct("side", "kind").rank("dense") - 1).to_series().cast(pl.Int64).to_numpy()


def _could_be_found(
    itemsets: Itemsets,
    forbidden: Ints,
    is_insurer: Mask,
    *,
    across: bool,
    limits: Limits,
) -> int:
    """Rules of all sets whose parts are frequent: known before anybody counts the people of the set itself."""
    if not itemsets.levels:
        return 0
    single = itemsets.levels[0].codes[:, 0].astype(np.int64)
    allowed = np.triu(may_meet(len(single), single, forbidden), 1)
    if across:
        allowed &= is_insurer[single][:, None] != is_insurer[single][None, :]
    tries = 2 * int(allowed.sum())
    for level in itemsets.levels[1 : limits.longest_antecedent]:
        sets = candidates(level)
        tries += (level.size + 1) * int(_is_asked(sets, is_insurer, across=across).sum())
    return tries


def _is_asked(sets: Codes, is_insurer: Mask, *, across: bool) -> Mask:
    sides = is_insurer[sets]
    return np.asarray(sides.any(axis=1) & ~sides.all(axis=1)) if across else np.ones(len(sets), dtype=bool)


def _likely(rules: Rules, chance: Chance, is_insurer: Mask, scope: str, limits: Limits) -> pl.DataFrame:
    """Productive rules that may be kept: those whose p-value alone is low enough. The others count as tried."""
    sets = np.column_stack([rules.antecedents, rules.consequents])
    rules = rules.where(rules.is_productive & _is_asked(sets, is_insurer, across=scope == ACROSS))
    found = tested(rules, chance)
    is_likely = found.p_values <= limits.false_discovery_share
    rules, found = rules.where(is_likely), Tested(*(part[is_likely] for part in found))
    names = chance.baskets.items
    return pl.DataFrame(
        {
            "scope": [scope] * len(rules),
            "antecedent": [" + ".join(names[c] for c in codes) for codes in rules.antecedents.tolist()],
            "consequent": [names[c] for c in rules.consequents.tolist()],
            "antecedent_items": [[names[c] for c in codes] for codes in rules.antecedents.tolist()],
            "people": rules.people,
            "antecedent_people": rules.antecedent_people,
            "expected_people": found.expected_people,
            "support_share": rules.support,
            "confidence_share": rules.confidence,
            "lift": rules.lift,
            "leverage": rules.leverage,
            "p_value": found.p_values,
            "is_cross_firm": [scope == ACROSS] * len(rules),
        },
        schema=_no_rules().schema,
    )


def _no_rules() -> pl.DataFrame:
    types = {name: kind for name, kind in RULES_SCHEMA.items() if name not in ("in_words", "q_value")}
    return pl.DataFrame(schema=types | {"antecedent_items": pl.List(pl.String)})
