"""Frequent itemsets: every set of items that enough people have, and how many have it. Exact.

Two ways to the same sets:

apriori   level by level (Agrawal & Srikant 1994): a set is counted only if all its parts were frequent
eclat     item by item, deep (Zaki 2000): the people of one item become a small world of their own, as in FP-growth's
          conditional trees (Han, Pei & Yin 2000), but held as bits

Both count pairs by adding up those of every basket, and longer sets by the AND of bit vectors, many in one numpy call.
Items are taken from the rarest up, so that the small worlds stay small. Not here: rules made of the sets.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments.rules.baskets import Baskets, Bits, Codes, Ints

Mask = NDArray[np.bool_]
MOST_COUNTERS: Final = 4000  # items; a counter per pair of them takes 128 MB
PAIRS_AT_ONCE: Final = 1 << 18  # more leave the processor's cache: twice as slow from four times as many
CHUNK_BYTES: Final = 1 << 20  # bit vectors handled in one numpy call: small enough for a processor's cache


class Level(NamedTuple):
    """Sets of one size. `codes`, shape (sets, size): ascending in a set, sets in lexical order; `people`: (sets,)."""

    codes: Codes
    people: Ints

    @property
    def size(self) -> int:
        return int(self.codes.shape[1])


class Itemsets(NamedTuple):
    """Every frequent set, by size from 1 up; `items` are the names of the codes."""

    items: tuple[str, ...]
    levels: tuple[Level, ...]

    def as_dict(self) -> dict[frozenset[str], int]:
        """Set → people."""
        return {
            frozenset(self.items[c] for c in codes): int(n)
            for level in self.levels
            for codes, n in zip(level.codes.tolist(), level.people, strict=True)
        }

    def frame(self) -> pl.DataFrame:
        """One row per set: items (a list in order of name), people."""
        rows = [([self.items[c] for c in s], int(n)) for v in self.levels for s, n in zip(v.codes, v.people)]  # noqa: B905
        return pl.DataFrame(rows, schema={"items": pl.List(pl.String), "people": pl.Int64}, orient="row")


def frequent_itemsets(
    baskets: Baskets,
    *,
    fewest_people: int,
    longest: int | None = None,
    forbidden: Ints | None = None,
    method: str = "eclat",
) -> Itemsets:
    """Sets of up to `longest` items that `fewest_people` or more have.

    `forbidden`, shape (pairs, 2): codes of items that never stand in one set.
    """
    if fewest_people < 1:
        raise ValueError(f"fewest_people is {fewest_people}; a set that nobody has is not frequent. Ask for 1 or more.")
    if method not in METHODS:
        raise ValueError(f"no method is called {method!r}; there are {', '.join(METHODS)}")
    rarest_first = np.argsort(baskets.counts, kind="stable")
    kept = rarest_first[baskets.counts[rarest_first] >= fewest_people]
    small = baskets.only(kept)
    most = len(kept) if longest is None else longest
    levels = [Level(np.arange(len(kept), dtype=np.int32)[:, None], small.counts)]
    if most >= 2 and len(kept) >= 2:
        levels.append(_pairs(small, fewest_people, may_meet(len(kept), kept, forbidden)))
        levels += METHODS[method](small, levels[1], fewest_people, most)
    found = [_in_order(np.sort(kept[v.codes], axis=1), v.people) for v in levels if len(v.codes)]
    return Itemsets(baskets.items, tuple(found))


def may_meet(size: int, kept: Ints, forbidden: Ints | None) -> Mask:
    """Which pairs of the `kept` items may stand in one set; symmetric, shape (size, size)."""
    allowed = np.ones((size, size), dtype=bool)
    if forbidden is not None and len(forbidden):
        place = np.full(int(max(kept.max(initial=0), forbidden.max())) + 1, -1)
        place[kept] = np.arange(size)
        a, b = place[forbidden].T
        both = (a >= 0) & (b >= 0)
        allowed[a[both], b[both]] = allowed[b[both], a[both]] = False
    return allowed


def candidates(level: Level) -> Codes:
    """Sets of one item more, all of whose parts are in `level`: what is worth counting, before anybody counts."""
    size = level.size
    if not len(level.codes):
        return np.empty((0, size + 1), dtype=np.int32)
    _, first = np.unique(_keys(level.codes[:, :-1]), return_index=True) if size > 1 else (None, np.array([0]))
    left, right = _siblings(np.sort(first), len(level.codes))
    joined = np.column_stack([level.codes[left], level.codes[right, -1]])
    for dropped in range(size - 1):  # without the last or the one before it, the set is one of the two joined
        if len(joined):
            joined = joined[places_of(np.delete(joined, dropped, axis=1), level.codes) >= 0]
    return joined.astype(np.int32)


def places_of(sets: Codes, known: Codes) -> Ints:
    """Where each set stands in `known`, which is in lexical order; -1 where it does not."""
    keys, wanted = _keys(known), _keys(sets)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)


def _pairs(baskets: Baskets, fewest: int, allowed: Mask) -> Level:
    a, b, people = _by_product(baskets) if len(baskets.items) > MOST_COUNTERS else _by_counters(baskets)
    kept = (people >= fewest) & allowed[a, b]
    return _in_order(np.column_stack([a[kept], b[kept]]), people[kept])


def _by_counters(baskets: Baskets) -> tuple[Ints, Ints, Ints]:
    """One counter per pair of items, and every pair of every basket adds to its own."""
    items = len(baskets.items)
    people = np.zeros(items * items, dtype=np.int64)
    pairs_until = np.cumsum(baskets.sizes * (baskets.sizes - 1) // 2)
    cuts = np.searchsorted(pairs_until, np.arange(0, pairs_until[-1], PAIRS_AT_ONCE)[1:])
    for begin, end in pairwise(np.unique([0, *cuts, baskets.people])):
        first, last = baskets.starts[begin], baskets.starts[end]
        codes = baskets.codes[first:last].astype(np.int64)
        left, right = _siblings(_nonempty(baskets.starts[begin:end] - first, last - first), len(codes))
        people += np.bincount(codes[left] * items + codes[right], minlength=items * items)
    place = np.flatnonzero(people)
    return place // items, place % items, people[place]


def _nonempty(starts: Ints, end: int) -> Ints:
    return starts[np.append(starts[1:], end) > starts]


def _by_product(baskets: Baskets) -> tuple[Ints, Ints, Ints]:
    """The same by a sparse matrix product, for more items than there can be counters."""
    matrix = baskets.matrix
    product = (matrix.T.tocsr() @ matrix).tocoo()
    upper = product.row < product.col
    return product.row[upper], product.col[upper], product.data[upper]


def _apriori(baskets: Baskets, pairs: Level, fewest: int, longest: int) -> list[Level]:
    levels, level = [], pairs
    while level.size < longest and len(level.codes) > level.size:
        level = _counted(baskets.bits, candidates(level), fewest)
        levels.append(level)
    return levels


def _counted(bits: Bits, sets: Codes, fewest: int) -> Level:
    people = np.zeros(len(sets), dtype=np.int64)
    for part in _chunks(len(sets), bits.shape[1]):
        held = bits[sets[part, 0]]
        for column in range(1, sets.shape[1]):
            held &= bits[sets[part, column]]
        people[part] = _popcount(held)
    kept = people >= fewest
    return Level(sets[kept], people[kept])


def _eclat(baskets: Baskets, pairs: Level, fewest: int, longest: int) -> list[Level]:
    if longest < 3 or len(pairs.codes) < 3:
        return []
    is_pair = np.zeros((len(baskets.items), len(baskets.items)), dtype=bool)
    a, b = pairs.codes.T
    is_pair[a, b] = True
    found: dict[int, list[tuple[Codes, Ints]]] = {}
    for prefix in np.unique(a):
        rest = np.flatnonzero(is_pair[prefix])
        if len(rest) < 2:
            continue
        bits = _bits_beside(baskets, int(prefix), rest)
        for codes, people in _deep(bits, is_pair[np.ix_(rest, rest)], fewest, longest - 1):
            whole = np.column_stack([np.full(len(codes), prefix, dtype=np.int32), rest[codes]])
            found.setdefault(whole.shape[1], []).append((whole, people))
    parts = [tuple(map(np.concatenate, zip(*found[size], strict=True))) for size in sorted(found)]
    return [Level(codes, people) for codes, people in parts]


def _deep(bits: Bits, is_pair: Mask, fewest: int, longest: int) -> Iterator[tuple[Codes, Ints]]:
    """Sets of 2 and more of the rows of `bits` that `fewest` people have, size by size."""
    codes = np.arange(len(bits), dtype=np.int32)[:, None]
    while codes.shape[1] < longest and len(codes) > 1:
        heads = np.any(codes[1:, :-1] != codes[:-1, :-1], axis=1)
        left, right = _siblings(np.concatenate([[0], np.flatnonzero(heads) + 1]), len(codes))
        paired = is_pair[codes[left, -1], codes[right, -1]]
        left, right = left[paired], right[paired]
        chunks = [_frequent(bits, left[c], right[c], fewest) for c in _chunks(len(left), bits.shape[1])]
        if not chunks:
            return
        kept, people, held = map(np.concatenate, zip(*chunks, strict=True))
        codes, bits = np.column_stack([codes[left[kept]], codes[right[kept], -1]]), held
        if len(codes):
            yield codes, people


def _frequent(bits: Bits, left: Ints, right: Ints, fewest: int) -> tuple[Mask, Ints, Bits]:
    both = bits[left] & bits[right]
    people = _popcount(both)
    kept = people >= fewest
    return kept, people[kept], both[kept]


def _bits_beside(baskets: Baskets, prefix: int, items: Ints) -> Bits:
    """One bit per item and person who has `prefix`; the items come after it, so only the end of a basket is read."""
    people = baskets.holders[prefix]
    ends = baskets.starts[people + 1]
    first = baskets.entries[prefix] + 1
    sizes = ends - first
    entries = np.arange(int(sizes.sum())) + np.repeat(first - np.cumsum(sizes) + sizes, sizes)
    place = np.full(len(baskets.items), -1, dtype=np.int32)
    place[items] = np.arange(len(items))
    item, person = place[baskets.codes[entries]], np.repeat(np.arange(len(people)), sizes)
    kept = item >= 0
    held = np.zeros((len(items), (len(people) + 63) // 64 * 64), dtype=bool)
    held[item[kept], person[kept]] = True
    return np.packbits(held, axis=1).view(np.uint64)


def _siblings(starts: Ints, size: int) -> tuple[Ints, Ints]:
    """Every pair of places within the same run; runs of 0 … size − 1 begin at `starts`."""
    ends = np.repeat(np.append(starts[1:], size), np.diff(np.append(starts, size)))
    later = ends - np.arange(size) - 1
    left = np.repeat(np.arange(size), later)
    first = np.repeat(np.cumsum(later) - later, later)
    return left, left + 1 + np.arange(len(left)) - first


def _keys(codes: Codes) -> NDArray[np.bytes_]:
    """One comparable key per set, in the lexical order of the codes."""
    wide = np.ascontiguousarray(codes.astype(">u4"))
    return wide.view(f"S{4 * codes.shape[1]}").ravel()


def _in_order(codes: Codes | Ints, people: Ints) -> Level:
    order = np.lexsort(codes.T[::-1])
    return Level(codes[order].astype(np.int32), people[order].astype(np.int64))


def _popcount(bits: Bits) -> Ints:
    return np.asarray(np.bitwise_count(bits).sum(axis=1, dtype=np.int64))


def _chunks(size: int, words: int) -> Iterator[slice]:
    step = max(CHUNK_BYTES // (8 * max(words, 1)), 1)
    return (slice(begin, begin + step) for begin in range(0, size, step))


METHODS: Final[Mapping[str, Callable[[Baskets, Level, int, int], list[Level]]]] = {"apriori": _apriori, "eclat": _eclat}
