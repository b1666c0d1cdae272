"""What the columns of the table of association rules mean, and the same rules for the page of the asset."""

from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES_TABLE: Final = "segments.association_rules"
RULES_DESCRIPTION: Final = (
    "One row per rule as of a date: people who have these things have that one too, more often than chance gives "
    "people who have so much. Trap: shares and lifts are of the people of the scope; a rule is no cause, and is not "
    "about any one person."
)
RULES_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "scope": "Among whom: courses = who bought one, products = who hold one, both firms = who have something at both",
    "antecedent": "What they have: course:ID, product:ID or topic:NAME@FIRM, several joined by ' + '",
    "consequent": "What they have, too",
    "in_words": "The rule as a sentence",
    "people": "People who have all of it; never fewer than the fewest set in the configuration",
    "antecedent_people": "People who have the antecedent",
    "expected_people": "People who would have all of it if the least needed item of the antecedent did nothing, given "
    "how much each person has",
    "support_share": "people by all people of the scope",
    "confidence_share": "people by antecedent_people",
    "lift": "confidence_share by the share of all people of the scope who have the consequent. Trap: over 1 also by "
    "chance where some people have much more than others; compare people with expected_people",
    "leverage": "support_share less what independence of antecedent and consequent would give",
    "p_value": "Probability of so many people by chance, given how much each has and how popular the consequent is",
    "q_value": "Share of false rules expected among those with this q_value or a smaller one, all rules tried counted",
    "is_cross_firm": "Whether the rule leads from one firm to the other",
}
_SHOWN: Final = 20


def for_the_page(rules: pl.DataFrame) -> pl.DataFrame:
    """The rules a marketer reads first: across the firms before within, the largest leverage first."""
    first = rules.sort("is_cross_firm", "leverage", descending=True).head(_SHOWN)
    times = (pl.col("people") / pl.col("expected_people")).round(2)
    return first.select("in_words", "people", "lift", times.alias("times_what_chance_gives"), "q_value")


def ranked(rules: pl.DataFrame, titles: dict[str, str]) -> "Figure":
    """Horizontal bars: people of each of the first rules, beside how many chance gives."""
    from matplotlib.figure import Figure

    from xmkt_assets.segments.rules.words import name_of

    first = rules.sort("is_cross_firm", "leverage", descending=True).head(_SHOWN)
    figure = Figure(figsize=(8.0, 1.0 + 0.36 * max(first.height, 1)), layout="constrained")
    axes: Any = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    names = [
        " + ".join(name_of(item, titles) for item in rule["antecedent"].split(" + "))
        + " → "
        + name_of(rule["consequent"], titles)
        for rule in first.iter_rows(named=True)
    ]
    places = range(first.height)
    axes.barh(places, first["people"].to_list(), color="#3b6ea5", label="people")
    axes.plot(first["expected_people"].to_list(), list(places), "|", color="#c05a2b", markersize=14, label="by chance")
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xlabel("people who have both")
    if first.height:
        axes.legend(frameon=False)
    return figure
