"""The leaves of the tree as rules, with what they are worth on people that had no part in growing it.

Here: precision, interval, lift and a test against chance per leaf, corrected for looking at many leaves. Not here: the
tree (``interest_tree``) and the words for conditions (``interest_features``).

The topic of a rule is the likeliest of its leaf among the people the tree was grown on; everything else is counted on
the people held out, so no number is better for having been chosen. The p-value is Fisher's exact test, one-sided, of
"people in the leaf turn to the topic more often than the others"; q-values are Benjamini & Hochberg's (1995) over all
leaves of the tree. Leaves of few people stay in the count but are not shown.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.segments.interest_features import in_words
from xmkt_assets.segments.interest_tree import Ints, Tree
from xmkt_assets.segments.intervals import Floats

LEAST_PEOPLE: Final = 10  # held out, in a leaf; fewer make no rule that may be shown
Q_LEVEL: Final = 0.05

RULES_SCHEMA: Final = pl.Schema(
    {
        "rule_id": pl.Int64,
        "rule": pl.String,
        "topic": pl.String,
        "people": pl.Int64,
        "people_share": pl.Float64,
        "precision": pl.Float64,
        "precision_low": pl.Float64,
        "precision_high": pl.Float64,
        "base_share": pl.Float64,
        "lift": pl.Float64,
        "p_value": pl.Float64,
        "q_value": pl.Float64,
        "is_above_chance": pl.Boolean,
    }
)

RULES_DESCRIPTION: Final = (
    "One row per rule for the next interest as of a date: what people had done, and the topic they then turned to "
    "within 30 days, counted on people who had no part in finding the rule. Trap: rules with is_above_chance = false "
    "are no better than chance; none at all means that no habit tells people apart."
)
RULES_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "rule_id": "Number of the rule on this day, 1 = surest",
    "rule": "What people of the rule had done within the look-back, in words",
    "topic": "What they turned to next: first bought, or looked at longest",
    "people": "People held out who fit the rule",
    "people_share": "Part of all people held out",
    "precision": "Part of them who turned to the topic",
    "precision_low": "Lower end of its 95 % interval (Wilson)",
    "precision_high": "Upper end of the interval",
    "base_share": "Part of all people held out who turned to the topic",
    "lift": "precision over base_share: 2 = twice as often; empty where nobody turned to the topic",
    "p_value": "Probability of so many by chance (Fisher's exact test, one-sided)",
    "q_value": "The same, corrected for all leaves of the tree (Benjamini-Hochberg)",
    "is_above_chance": "Whether q_value is at most .05",
    "model_version": "Version of next_interest in the MLflow registry; empty = no model was good enough to be used",
}


def rules_of(
    tree: Tree, held_out: Mapping[int, Ints], *, features: Sequence[str], classes: Sequence[str]
) -> pl.DataFrame:
    """One row per leaf that makes a rule (`RULES_SCHEMA`), the surest first; none where the tree is its root alone.

    `held_out`: leaf -> people of each class; `features` names the columns of the tree, `classes` its topics, the last
    of which stands for all rare ones and makes no rule.
    """
    leaves = tree.leaves
    if len(leaves) < 2:
        return RULES_SCHEMA.to_frame()
    topic = tree.shares[list(leaves), :-1].argmax(axis=1)
    counts = np.array([held_out[leaf] for leaf in leaves])
    people, hits = counts.sum(axis=1), counts[np.arange(len(leaves)), topic]
    p_values = _fisher(hits, people=people, of_topic=counts.sum(axis=0)[topic], everybody=int(counts.sum()))
    q_values = benjamini_hochberg(p_values)
    base = counts.sum(axis=0) / max(int(counts.sum()), 1)
    rows = [
        {
            "rule": in_words({features[f]: bounds for f, bounds in tree.bounds(leaf).items()}),
            "topic": classes[topic[n]],
            "people": int(people[n]),
            "people_share": float(people[n] / counts.sum()),
            "precision": float(hits[n] / people[n]),
            **dict(zip(("precision_low", "precision_high"), wilson(int(hits[n]), int(people[n])), strict=True)),
            "base_share": float(base[topic[n]]),
            "lift": float(hits[n] / people[n] / base[topic[n]]) if base[topic[n]] else None,
            "p_value": float(p_values[n]),
            "q_value": float(q_values[n]),
            "is_above_chance": bool(q_values[n] <= Q_LEVEL),
        }
        for n, leaf in enumerate(leaves)
        if people[n] >= LEAST_PEOPLE
    ]
    found = pl.DataFrame(rows, schema={name: kind for name, kind in RULES_SCHEMA.items() if name != "rule_id"})
    surest = found.sort(["is_above_chance", "precision_low", "rule"], descending=[True, True, False])
    return surest.select(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("rule_id"), pl.all())


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Q-values: the false discovery rate at which each test would just be kept (Benjamini & Hochberg 1995)."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    q_values = np.empty(len(p_values))
    q_values[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q_values


def wilson(hits: int, people: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    z, share = 1.959964, hits / people
    middle = (share + z**2 / (2 * people)) / (1 + z**2 / people)
    half = z / (1 + z**2 / people) * float(np.sqrt(share * (1 - share) / people + z**2 / (4 * people**2)))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _fisher(hits: Ints, *, people: Ints, of_topic: Ints, everybody: int) -> Floats:
    """Probability of at least so many hits, were the leaf a random draw of the people held out."""
    from scipy.stats import hypergeom

    return np.asarray(hypergeom.sf(hits - 1, everybody, of_topic, people), dtype=np.float64)
