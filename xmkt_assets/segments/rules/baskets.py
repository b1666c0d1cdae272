"""Baskets: who has what, as numbers. Reading and counting single items; what is found in them is the siblings' work."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Bits = NDArray[np.uint64]


@dataclass(frozen=True)
class Baskets:
    """One basket per person; an item is in it or not, how often does not count.

    `items`: names in order, an item's code is its place. `starts`, shape (people + 1,), and `codes`: the basket of
    person p is ``codes[starts[p]:starts[p + 1]]``, ascending.
    """

    items: tuple[str, ...]
    starts: Ints
    codes: Codes

    @property
    def people(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def sizes(self) -> Ints:
        return np.diff(self.starts)

    @cached_property
    def person(self) -> Codes:
        """The person of each entry of `codes`."""
        return np.repeat(np.arange(self.people, dtype=np.int32), self.sizes)

    @cached_property
    def counts(self) -> Ints:
        """People per item."""
        return np.bincount(self.codes, minlength=len(self.items)).astype(np.int64)

    @cached_property
    def matrix(self) -> Any:
        """People × items as a sparse matrix of ones."""
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self.codes), dtype=np.int32)
        return csr_matrix((ones, self.codes, self.starts), shape=(self.people, len(self.items)))

    @cached_property
    def bits(self) -> Bits:
        """One bit per person and item, shape (items, words of 64 people)."""
        words = (self.people + 63) // 64
        bits = np.zeros((len(self.items), words), dtype=np.uint64)
        place = self.codes.astype(np.int64) * words + (self.person >> 6)
        # Each entry is one bit of its own, so that adding is setting.
        np.add.at(bits.reshape(-1), place, np.uint64(1) << (self.person & 63).astype(np.uint64))
        return bits

    @cached_property
    def entries(self) -> list[Ints]:
        """Where each item stands in `codes`, one place per person who has it."""
        order = np.argsort(self.codes.astype(np.uint16) if len(self.items) < 1 << 16 else self.codes, kind="stable")
        return np.split(order, np.cumsum(self.counts)[:-1])

    @cached_property
    def holders(self) -> list[Codes]:
        """The people of each item, ascending."""
        return [self.person[places] for places in self.entries]

    def holders_of(self, itemset: Sequence[int]) -> Codes:
        """The people who have every item of a set, ascending."""
        first, *rest = sorted(itemset, key=lambda code: int(self.counts[code]))
        people = self.holders[first]
        for code in rest:
            word = self.bits[code][people >> 6]
            people = people[(word >> (people & 63).astype(np.uint64)) & np.uint64(1) == 1]
        return people

    def only(self, kept: Ints) -> "Baskets":
        """The same people with the `kept` items alone, which are coded anew in the order given."""
        chosen = self.matrix.tocsc()[:, kept].tocsr()
        names = tuple(self.items[code] for code in kept)
        return Baskets(names, chosen.indptr.astype(np.int64), chosen.indices.astype(np.int32))


def read_baskets(rows: pl.DataFrame) -> Baskets:
    """Baskets of rows of person_id and item; a row twice counts once, and the order of the rows does not matter."""
    missing = [c for c in ("person_id", "item") if c not in rows.columns]
    if missing:
        raise ValueError(f"The baskets lack {missing}; found {rows.columns}. Rebuild segments.baskets for the day.")
    rows = rows.select("person_id", "item").drop_nulls()
    items = rows["item"].unique().sort()
    codes = rows["item"].replace_strict(items, pl.arange(len(items), eager=True), return_dtype=pl.Int64).to_numpy()
    people = rows["person_id"].unique()
    numbers = pl.DataFrame({"person_id": people, "person": pl.arange(len(people), dtype=pl.Int64, eager=True)})
    person = rows.join(numbers, on="person_id", how="left", maintain_order="left")["person"].to_numpy()
    return of_pairs(person, codes, people=len(people), items=tuple(items.to_list()))


def of_pairs(person: Ints, codes: Ints, *, people: int, items: tuple[str, ...]) -> Baskets:
    """Baskets of pairs of a person's number and an item's code, in any order."""
    width = max(len(items), 1)
    pairs = np.sort(np.asarray(person, dtype=np.int64) * width + np.asarray(codes, dtype=np.int64))
    pairs = pairs[np.concatenate([[True], pairs[1:] != pairs[:-1]])] if len(pairs) else pairs
    starts = np.searchsorted(pairs, np.arange(people + 1, dtype=np.int64) * width)
    return Baskets(items, starts.astype(np.int64), (pairs % width).astype(np.int32))
