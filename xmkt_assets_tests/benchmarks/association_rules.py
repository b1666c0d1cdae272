"""Frequent itemsets beside mlxtend's FP-growth, with the same sets and counts; and alone on five times as many baskets.

Ours begins with baskets of numbered items, mlxtend with the finished table of people × items that it wants; making
either is not timed. Popularity is Zipf's, baskets hold 6 items on average and up to 60. `min_support_millionths` is a
share of the baskets.
"""

import resource
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from xmkt_assets.segments.rules.baskets import Baskets, of_pairs
from xmkt_assets.segments.rules.itemsets import METHODS, frequent_itemsets
from xmkt_assets_tests.benchmarks.measure import Comparison, seconds_of, take_turns

SIZES: Final = {"baskets": 200_000, "alone": 1_000_000, "items": 1_000, "min_support_millionths": 1_000}
BAR: Final = 0.05


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    baskets = _baskets(sizes["baskets"], sizes["items"])
    fewest = max(sizes["baskets"] * sizes["min_support_millionths"] // 1_000_000, 1)
    table = pl.DataFrame(baskets.matrix.toarray().astype(bool), schema=list(baskets.items)).to_pandas()
    compared = []
    for method in METHODS:
        found: dict[str, dict[frozenset[str], int]] = {}
        ours, peer = take_turns(
            seconds_of(lambda method=method, found=found: found.update(ours=_ours(baskets, fewest, method))),
            seconds_of(lambda found=found: found.update(peer=_theirs(table, fewest))),
            repeats=repeats,
            warm_up=False,
        )
        assert found["ours"] == found["peer"], f"{method} and mlxtend find different itemsets"
        what = f"{method}, {sizes['baskets']:,} baskets"
        compared.append(
            Comparison(what, "mlxtend fpgrowth", ours, peer, BAR, f"{len(found['ours']):,} itemsets, the same")
        )
    return [*compared, _alone(sizes)]


def _alone(sizes: Mapping[str, int]) -> Comparison:
    baskets = _baskets(sizes["alone"], sizes["items"])
    fewest = max(sizes["alone"] * sizes["min_support_millionths"] // 1_000_000, 1)
    started, cpu = time.perf_counter(), time.process_time()
    found = frequent_itemsets(baskets, fewest_people=fewest)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    note = f"{sum(len(v.codes) for v in found.levels):,} itemsets, {cpu:.1f} CPU s, {gib:.1f} GiB peak of the whole run"
    return Comparison(f"eclat, {sizes['alone']:,} baskets", "none", [wall], [float("nan")], note=note)


def _ours(baskets: Baskets, fewest: int, method: str) -> dict[frozenset[str], int]:
    fresh = Baskets(baskets.items, baskets.starts, baskets.codes)  # nothing kept from the turn before
    return frequent_itemsets(fresh, fewest_people=fewest, method=method).as_dict()


def _theirs(table: Any, fewest: int) -> dict[frozenset[str], int]:
    from mlxtend.frequent_patterns import fpgrowth

    found = fpgrowth(table, min_support=fewest / len(table), use_colnames=True)
    return {s: round(n * len(table)) for s, n in zip(found["itemsets"], found["support"], strict=True)}


def _baskets(people: int, items: int) -> Baskets:
    rng = np.random.default_rng(7)
    sizes = rng.lognormal(1.8, 0.6, people).astype(np.int64).clip(1, 60)
    popularity = np.cumsum(1 / np.arange(1, items + 1) ** 0.9)
    codes = np.searchsorted(popularity / popularity[-1], rng.random(int(sizes.sum())))
    person = np.repeat(np.arange(people), sizes)
    return of_pairs(person, codes, people=people, items=tuple(f"i{k:05}" for k in range(items)))
