"""Rules in words, for a marketer. Wording only: every number is computed elsewhere."""

from collections.abc import Iterable, Mapping

import polars as pl

HAVING = {"course": "bought the course {}", "product": "hold {}"}
TOPIC = {"course_platform": "care for {} on the course platform", "insurer": "care for {} at the insurer"}


def worded(rules: pl.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """One sentence per rule; `rules`: antecedent_items, consequent, people, their shares and lift."""
    return [_sentence(rule, titles) for rule in rules.iter_rows(named=True)]


def name_of(item: str, titles: Mapping[str, str]) -> str:
    """What people call an item: its title with what it is."""
    return titles.get(item, item.partition(":")[2].partition("@")[0])


def items_in_words(items: Iterable[str], titles: Mapping[str, str]) -> str:
    return " and ".join(_did(item, titles) for item in items)


def _did(item: str, titles: Mapping[str, str]) -> str:
    kind, _, side = item.partition(":")[0], None, item.rpartition("@")[2]
    phrase = TOPIC.get(side, "care for {}") if kind == "topic" else HAVING.get(kind, "have {}")
    return phrase.format(name_of(item, titles))


def _sentence(rule: Mapping[str, object], titles: Mapping[str, str]) -> str:
    items = rule["antecedent_items"]
    assert isinstance(items, list)
    usual = float(str(rule["confidence_share"])) / float(str(rule["lift"]))
    return (
        f"Of those who {items_in_words(items, titles)}, {rule['confidence_share']:.1%} "
        f"{_did(str(rule['consequent']), titles)}; of all it is {usual:.1%} "
        f"({rule['people']:,} of {rule['antecedent_people']:,} people, {rule['lift']:.1f} times as often)."
    )
