"""The contract every recommender keeps, and the one ranking rule they all share.

Here: the recipe (`Recommender`), what it becomes on data (`Fitted`), what it knows then (`History`), and how scores
turn into lists. Not here: any particular method (one module each), judging them (`evaluate`), choosing one
(`promote`), storing one (``tracking``).

Frames in:
  interactions  person_id, item_id, occasion_id, occurred_at (naive UTC), event ('purchase' | 'view'), weight (> 0)
  items         item_id, …            the catalogue; interactions with other items teach nothing and are left out
  people        person_id, …
  eligible      person_id, item_id    what each person may be offered; None = everything in the catalogue

Two kinds of score, never mixed up. `Fitted.score` is what the method can say about *this* person; where it can say
nothing (a cold person, an item without neighbours) it says NaN, and the item takes its place by `Fitted.prior`,
popularity, below everything personal. The column `basis` of a recommendation says which of the two spoke.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

PERSONAL: Final = "personal"
POPULARITY: Final = "popularity"
RECENT_DAYS: Final = 30
CHUNK_PERSONS: Final = 4096
_TIE_BREAK: Final = 1e-6

RECOMMENDATION_SCHEMA: Final = pl.Schema(
    {"person_id": pl.String, "item_id": pl.String, "rank": pl.Int64, "score": pl.Float64, "basis": pl.String}
)


def natural_key(item_id: str) -> tuple[str | int, ...]:
    """Sort key by which item_2 comes before item_10: digits compare as numbers, the rest as text."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", item_id))


@dataclass(frozen=True)
class History:
    """What is known when a recommender is fitted: ids in a fixed order and person × item matrices over them.

    `person_ids` are sorted as text, `item_ids` naturally. `weights` sums the weight of every interaction, `owned` is
    True where the person bought the item. `bought` counts purchases per item (their weights added up),
    `bought_recently` those of the last 30 days before the newest purchase.
    """

    person_ids: npt.NDArray[np.str_]
    item_ids: tuple[str, ...]
    weights: "csr_matrix"
    owned: "csr_matrix"
    bought: FloatArray
    bought_recently: FloatArray

    @classmethod
    def of(cls, interactions: pl.DataFrame, items: pl.DataFrame) -> "History":
        """Index the interactions with items of the catalogue. Either frame may be empty."""
        item_ids = item_order(items)
        known = with_positions(interactions, item_ids)
        purchases = known.filter(pl.col("event") == "purchase")
        person_ids = np.array(known["person_id"].unique().sort().to_list(), dtype=np.str_)
        return cls(
            person_ids=person_ids,
            item_ids=item_ids,
            weights=_matrix(known, person_ids, len(item_ids)),
            owned=_matrix(purchases, person_ids, len(item_ids)).astype(bool),
            bought=counts(purchases, len(item_ids)),
            bought_recently=counts(since(purchases, days=RECENT_DAYS), len(item_ids)),
        )

    def rows(self, person_ids: Sequence[str]) -> IntArray:
        """Position of each person in the matrices, -1 for a person without history."""
        return positions(person_ids, self.person_ids)


def item_order(items: pl.DataFrame) -> tuple[str, ...]:
    """The catalogue's item ids, each once, in natural order: the order in which ties are broken."""
    return tuple(sorted(items["item_id"].unique().to_list(), key=natural_key))


def positions(wanted: Sequence[str], ordered: npt.NDArray[np.str_]) -> IntArray:
    """Position of each wanted id in a sorted array of ids, -1 where it is not there."""
    if ordered.size == 0 or len(wanted) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    ids = np.asarray(wanted, dtype=np.str_)
    at = np.minimum(np.searchsorted(ordered, ids), ordered.size - 1)
    return np.where(ordered[at] == ids, at, -1).astype(np.int64)


def since(purchases: pl.DataFrame, *, days: int, as_of: datetime | None = None) -> pl.DataFrame:
    """Purchases of the last `days` days before `as_of`; without it, before the newest purchase itself."""
    end = as_of or purchases["occurred_at"].max()
    if end is None:
        return purchases
    return purchases.filter(pl.col("occurred_at") > end - timedelta(days=days))  # type: ignore[operator]


def counts(known: pl.DataFrame, n_items: int) -> FloatArray:
    """Summed weights per item position."""
    at, weight = known["item_at"].to_numpy(), known["weight"].to_numpy()
    return np.bincount(at, weights=weight, minlength=n_items).astype(np.float64)


def with_positions(interactions: pl.DataFrame, item_ids: Sequence[str]) -> pl.DataFrame:
    index = pl.DataFrame(
        {"item_id": list(item_ids), "item_at": np.arange(len(item_ids))},
        schema={"item_id": pl.String, "item_at": pl.Int64},
    )
    columns = ["person_id", "item_id", "occurred_at", "event", "weight"]
    return interactions.select(columns).join(index, on="item_id", how="inner").filter(pl.col("weight") > 0)


def _matrix(known: pl.DataFrame, person_ids: npt.NDArray[np.str_], n_items: int) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    cells = known.group_by("person_id", "item_at").agg(pl.col("weight").sum()).sort("person_id", "item_at")
    at = positions(cells["person_id"].to_list(), person_ids)
    values = cells["weight"].to_numpy().astype(np.float64)
    return csr_matrix((values, (at, cells["item_at"].to_numpy())), shape=(len(person_ids), n_items))


class Ranking(NamedTuple):
    """The first k items of each list. Shape (lists, k); `items` is -1 where a list has fewer than k candidates."""

    items: IntArray
    scores: FloatArray
    is_personal: BoolArray


@dataclass(frozen=True)
class Recommender(ABC):
    """A recipe: a method and its settings, nothing learned yet."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name on leaderboards and in the model registry."""

    @abstractmethod
    def fit(self, interactions: pl.DataFrame, items: pl.DataFrame, people: pl.DataFrame) -> "Fitted":
        """Learn from all interactions given. The same data and settings give the same lists."""

    def settings(self) -> dict[str, object]:
        """The settings, to be logged beside the results."""
        return asdict(self)


@dataclass(frozen=True)
class Fitted(ABC):
    """A recommender that has learned. It holds arrays only, so a pickle of it opens without the library that made it.

    `prior` (items,) is the order in which items come where nothing personal is known: purchases of the last
    `prior_days` days, or of all time where that is None.
    """

    history: History
    prior: FloatArray
    prior_days: int | None

    @abstractmethod
    def score(self, person_ids: Sequence[str], candidates: BoolArray) -> FloatArray:
        """Personal scores, shape (persons, items); NaN where the method has nothing to say about this person.

        `candidates`, same shape, tells what is on offer to each; methods may use it as a feature or ignore it.
        """

    def because(self, person_ids: Sequence[str], item_ids: Sequence[str]) -> list[str | None]:
        """Per (person, item): the item of the person's history that spoke loudest for it, None where unknown."""
        return [None] * len(item_ids)

    def rank(self, person_ids: Sequence[str], candidates: BoolArray, *, k: int) -> Ranking:
        """The k best candidates of each person; ties fall to the more popular item, then the lower item number."""
        personal = self.score(person_ids, candidates)
        total = np.where(candidates, blend(personal, self.prior), -np.inf)
        items = np.argsort(-total, axis=1, kind="stable")[:, :k].astype(np.int64)
        scores = np.take_along_axis(total, items, axis=1)
        is_personal = ~np.isnan(np.take_along_axis(personal, items, axis=1))
        return Ranking(np.where(np.isneginf(scores), -1, items), scores, is_personal)

    def recommend(
        self, people: pl.DataFrame, k: int, eligible: pl.DataFrame | None = None, *, exclude_owned: bool = False
    ) -> pl.DataFrame:
        """One row per person and rank 1…k, sorted so: person_id, item_id, rank, score, basis.

        Trap: scores compare only within one person's list. A person without history is not left out but gets the
        popular items (basis 'popularity'), as do the places a method cannot fill. Only items eligible for the person
        are listed; with `exclude_owned` items bought before count as not eligible. A person with no eligible item
        has no row, everybody else has min(k, eligible items) rows.
        """
        if k < 1:
            raise ValueError(f"k = {k}: a recommendation list needs at least one place. Give k >= 1.")
        person_ids = people["person_id"].unique().sort().to_list()
        offered = None if eligible is None else eligible.select("person_id", "item_id").unique()
        parts = [
            self._lists(chunk, self._candidates(chunk, offered, exclude_owned=exclude_owned), k=k)
            for chunk in _chunks(person_ids)
        ]
        return pl.concat([pl.DataFrame(schema=RECOMMENDATION_SCHEMA), *parts])

    def _candidates(self, person_ids: list[str], eligible: pl.DataFrame | None, *, exclude_owned: bool) -> BoolArray:
        shape = (len(person_ids), len(self.history.item_ids))
        item_ids = self.history.item_ids
        mask = np.ones(shape, dtype=bool) if eligible is None else offer_mask(person_ids, item_ids, eligible)
        return mask & ~self.owned(person_ids) if exclude_owned else mask

    def owned(self, person_ids: Sequence[str]) -> BoolArray:
        """Shape (persons, items): True where the person bought the item before."""
        rows = self.history.rows(person_ids)
        owned = np.zeros((len(rows), len(self.history.item_ids)), dtype=bool)
        owned[rows >= 0] = self.history.owned[rows[rows >= 0]].toarray()
        return owned

    def _lists(self, person_ids: list[str], candidates: BoolArray, *, k: int) -> pl.DataFrame:
        ranking = self.rank(person_ids, candidates, k=k)
        at, place = np.nonzero(ranking.items >= 0)
        names = pl.Series("item_id", self.history.item_ids, dtype=pl.String)
        return pl.DataFrame(
            {
                "person_id": pl.Series(person_ids, dtype=pl.String).gather(at),
                "item_id": names.gather(ranking.items[at, place]),
                "rank": place.astype(np.int64) + 1,
                "score": ranking.scores[at, place],
                "basis": np.where(ranking.is_personal[at, place], PERSONAL, POPULARITY),
            },
            schema=RECOMMENDATION_SCHEMA,
        )


def blend(personal: FloatArray, prior: FloatArray) -> FloatArray:
    """One score per cell: personal ones on top, cells without one below them in order of the prior.

    A row without any personal score carries the prior itself. Elsewhere the prior weighs 1e-6 of its share of the
    best item: enough to break ties, too little to turn over anything a method can tell apart.
    """
    share = prior / prior.max() if prior.size and prior.max() > 0 else np.zeros_like(prior)
    known = ~np.isnan(personal)
    low = np.where(known, personal, 0.0).min(axis=1, initial=0.0, keepdims=True)
    total = np.where(known, personal + _TIE_BREAK * share, low + _TIE_BREAK * (share - 2))
    return np.where(known.any(axis=1, keepdims=True), total, prior)


def offer_mask(
    ids: Sequence[str], item_ids: Sequence[str], offers: pl.DataFrame, *, by: str = "person_id"
) -> BoolArray:
    """Shape (ids, items): True where the frame (`by`, item_id) offers the item. `ids` sorted, each once.

    Offers to other ids or of items outside `item_ids` are ignored.
    """
    known = offers.join(pl.DataFrame({by: ids}, schema={by: pl.String}), on=by, how="semi")
    at = positions(known[by].to_list(), np.array(ids, dtype=np.str_))
    places = {item: i for i, item in enumerate(item_ids)}
    item_at = np.array([places.get(item, -1) for item in known["item_id"].to_list()], dtype=np.int64)
    mask = np.zeros((len(ids), len(item_ids)), dtype=bool)
    mask[at[item_at >= 0], item_at[item_at >= 0]] = True
    return mask


def _chunks(person_ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(person_ids), CHUNK_PERSONS):
        yield person_ids[start : start + CHUNK_PERSONS]
