"""Models: which registered versions learnt from the person, and what becomes of their files.

A version that does not serve loses its file. One that serves keeps working until the next training: the person's own
row is taken out of it, and what everybody's rows taught it together stays until it is trained again. The registry comes
through `Registry`, so that this module needs no MLflow.
"""

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import duckdb
import numpy as np

from xmkt_assets.erasure.requests import Person
from xmkt_assets.recommenders.base import Fitted
from xmkt_assets.warehouse import Session

# What each registered model learns from, as of its day.
LEARNS_FROM: Final = {
    "course_recommender": "recommenders.course_interactions",
    "product_recommender": "recommenders.product_interactions",
    "value_clusters": "segments.person_features",
    "claim_risk": "segments.risk_examples",
    "review_sentiment": "staging.gate_profiling",  # everybody whose reviews may be read
    "lapse_risk": "segments.lapse_examples",
    "course_purchase": "segments.course_purchase_examples",
    "product_purchase": "segments.product_purchase_examples",
    "next_interest": "segments.interest_examples",
}


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version: the day it knows data up to, the lake snapshot it read, and its file."""

    model: str
    version: int
    is_champion: bool
    day: date | None
    snapshot_id: int | None
    artifact: Path | None


class Registry(Protocol):
    """The registered versions of a home."""

    def versions(self) -> Iterable[Version]: ...

    def tag(self, version: Version, tags: Mapping[str, str]) -> None: ...


class Trained(NamedTuple):
    """One version that learnt from the person, and what became of its file."""

    model: str
    version: int
    is_champion: bool
    snapshot_id: int | None
    artifact: str


def trained_with(session: Session, versions: Iterable[Version], person: Person) -> list[Version]:
    """Versions whose training rows had the person, or whose file names them."""
    days: dict[str, set[date]] = {}
    found = []
    for version in versions:
        table = LEARNS_FROM.get(version.model)
        if table is not None and table not in days:
            days[table] = _days(session, table, person)
        learnt = table is not None and (version.day in days[table] or _was_there(session, table, version, person))
        if learnt or holds(version.artifact, person.words):
            found.append(version)
    return found


def forget(registry: Registry, version: Version, person: Person, *, request_id: str) -> Trained:
    """Take the person out of the version's file, or the file away, and say on the version that it is to be replaced."""
    done = "had been removed before"
    if version.artifact is not None and version.artifact.exists():
        done = _forget(version, version.artifact, person)
    registry.tag(
        version, {"erasure": f"{request_id}: trained with an erased person; the file {done}", "retrain": "due"}
    )
    return Trained(version.model, version.version, version.is_champion, version.snapshot_id, done)


def _forget(version: Version, artifact: Path, person: Person) -> str:
    if not version.is_champion:
        artifact.unlink()
        return "was removed"
    if not holds(artifact, person.words):
        return "names nobody"
    with artifact.open("rb") as file:
        model = pickle.load(file)  # written by this platform, as the tracker's own load
    if not isinstance(model, Fitted):
        artifact.unlink()
        return "was removed, though it serves: nothing is known of its kind"
    staged = artifact.with_name(f".{artifact.name}.staged")
    staged.write_bytes(pickle.dumps(without(model, person.person_ids), protocol=pickle.HIGHEST_PROTOCOL))
    os.replace(staged, artifact)
    return "serves on without the person's row"


def without(model: Fitted, person_ids: Sequence[str]) -> Fitted:
    """The recommender without the rows of some people; lists of everybody else stay the same."""
    history = model.history
    keep = np.ones(len(history.person_ids), dtype=bool)
    rows = history.rows(person_ids)
    keep[rows[rows >= 0]] = False
    left = replace(
        history,
        person_ids=history.person_ids[keep],
        weights=history.weights[keep],
        owned=history.owned[keep],
    )
    by_person = {f.name: getattr(model, f.name)[keep] for f in fields(model) if f.name.startswith("person_")}
    return replace(model, history=left, **by_person)


def holds(artifact: Path | None, words: Iterable[str]) -> bool:
    """Whether a file names one of the words; numpy keeps text as UTF-32."""
    if artifact is None or not artifact.exists():
        return False
    content = artifact.read_bytes()
    return any(code in content for word in words for code in (word.encode(), word.encode("utf-32-le")))


def _days(session: Session, table: str, person: Person) -> set[date]:
    return {day for (day,) in _rows(session, f"select distinct as_of_on from {table}", person)}


def _was_there(session: Session, table: str, version: Version, person: Person) -> bool:
    """Whether the person was among the rows of that day in the snapshot the model was trained from."""
    if version.snapshot_id is None or version.day is None:
        return False
    with suppress(duckdb.Error):  # a snapshot that is gone says nothing; an earlier erasure has dealt with it
        query = f"select as_of_on from {table} at (version => {version.snapshot_id})"
        return any(day == version.day for (day,) in _rows(session, query, person))
    return False


def _rows(session: Session, query: str, person: Person) -> Iterator[tuple[date]]:
    people = {"people": list(person.person_ids)}
    yield from session.connection.execute(f"{query} where person_id in (select unnest($people))", people).fetchall()
