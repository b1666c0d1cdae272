"""What a kind of bad input is, and the good rows it is made from. Pure.

Here: `BadInput`, what must become of it, and the writers that turn rows into the bytes of a file. The kinds
themselves are in the other modules of this package; laying them into a landing folder is ``deliver``'s work.
"""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, NamedTuple

import polars as pl

from xmkt_assets.contracts import contracts

Row = Mapping[str, Any]
Status = Literal[
    "loaded", "partly quarantined", "rejected", "held back", "unreadable", "empty", "stray", "waits", "stops"
]


class LinkTo(NamedTuple):
    """A symbolic link in place of a file."""

    target: str


class Pipe(NamedTuple):
    """A named pipe in place of a file: whoever opens it waits for ever."""


Content = bytes | LinkTo | Pipe
Files = Mapping[str, Content]


class Slot(NamedTuple):
    """Where a kind is delivered: the day of its folder, and the seed its contents are drawn by."""

    day: date
    seed: int

    def chance(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}/{name}")


class Expected(NamedTuple):
    """What must become of the kind's files: the worst status among them, and their rows together.

    `waits` is a file that is not looked at yet, `stray` one that belongs to no feed, `held back` one whose day keeps
    the rows it had, `stops` one whose day is not taken further than ``raw``: a step fails and says why. `kept` rows
    stay of an earlier delivery of a file of which nothing can be used.
    """

    status: Status
    loaded: int = 0
    quarantined: int = 0
    duplicate: int = 0
    kept: int = 0

    @property
    def rows_in(self) -> int:
        return self.loaded + self.quarantined + self.duplicate


@dataclass(frozen=True)
class BadInput:
    """One kind of bad input: why a partner sends such a thing, its files, and what must become of them.

    `files` gives name → content; a name without a slash lies in the folder of the slot, one with slashes below the
    landing folder. `must_say` are texts a person must find in the ledger's note, the quarantine's reasons, the stray's
    reason or the failure. `again` are the files that change after the first load (None: deleted); `expected` holds
    after the load that follows. `planted` must be found nowhere in the home outside the landing folder.
    """

    name: str
    why: str
    files: Callable[[Slot], Files]
    expected: Expected
    must_say: tuple[str, ...] = ()
    feed: str = "course_views"
    alone: bool = False  # has a day of its own: it could take other files of the day with it
    keeps_sound_out: bool = False  # the day's file of good rows is not loaded either
    days: int = 1  # from the slot's day on, those its files belong to
    again: Callable[[Slot], Mapping[str, Content | None]] | None = None
    planted: tuple[str, ...] = ()

    @property
    def partner(self) -> str:
        return contracts()[self.feed].partners[0]


def loaded(rows: int, *, duplicate: int = 0) -> Expected:
    return Expected("loaded", loaded=rows, duplicate=duplicate)


def partly(rows: int, *, refused: int = 1) -> Expected:
    return Expected("partly quarantined", loaded=rows, quarantined=refused)


def rejected(rows: int) -> Expected:
    return Expected("rejected", quarantined=rows)


UNREADABLE: Final = Expected("unreadable")
EMPTY: Final = Expected("empty")
STRAY: Final = Expected("stray")
WAITS: Final = Expected("waits")

# --- good rows -----------------------------------------------------------------------------------------------------

_GOOD: Final[Mapping[str, Mapping[str, str]]] = {
    "course_views": {
        "view_id": "{key}",
        "user_id": "u1",
        "course_id": "c1",
        "viewed_at": "{day}T08:30:00Z",
        "dwell_seconds": "30",
        "source": "search",
    },
    "course_orders": {
        "order_line_id": "{key}",
        "order_id": "o-{key}",
        "user_id": "u1",
        "course_id": "c1",
        "ordered_at": "{day}T08:30:00Z",
        "paid_fen": "19900",
        "status": "paid",
    },
    "course_reviews": {
        "review_id": "{key}",
        "user_id": "u1",
        "course_id": "c1",
        "reviewed_at": "{day}T08:30:00Z",
        "rating": "5",
        "review_text": "课程很好",
    },
    "users": {
        "user_id": "{key}",
        "phone_hash": "",
        "email_hash": "",
        "link_is_synthetic": "false",
        "gender": "female",
        "birth_year": "1990",
        "occupation": "teacher",
        "city_tier": "2",
        "interests": "math",
        "registered_at": "2026-01-05T08:00:00Z",
        "updated_at": "{day}T08:30:00Z",
    },
    "campaign_events": {
        "event_id": "{key}",
        "campaign_id": "k1",
        "subject_id": "u1",
        "event": "click",
        "channel": "email",
        "occurred_at": "{day}T08:30:00Z",
        "amount_fen": "100",
        "score": "0.5",
    },
    "consents": {
        "consent_id": "{key}",
        "subject_id": "u1",
        "purpose": "profiling",
        "decision": "granted",
        "notice_version": "2026-01",
        "source": "app",
        "decided_at": "{day}T08:30:00Z",
        "expires_on": "2028-07-01",
    },
    "contact_optouts": {
        "optout_id": "{key}",
        "subject_id": "u1",
        "channel": "email",
        "decision": "opted_out",
        "decided_at": "{day}T08:30:00Z",
    },
    "products": {
        "product_id": "{key}",
        "product_name": "Travel",
        "product_class": "travel",
        "is_on_sale": "true",
        "updated_at": "{day}T08:30:00Z",
    },
}


def good(feed: str, slot: Slot, key: str, **changed: str) -> dict[str, str]:
    """A row of the feed without a fault, as text; `changed` columns hold something else."""
    whole = {name: text.format(key=key, day=slot.day) for name, text in _GOOD[feed].items()}
    return {**whole, **changed}


def several(feed: str, slot: Slot, prefix: str, count: int) -> list[dict[str, str]]:
    """`count` good rows with keys ``<prefix>-1`` and so on."""
    return [good(feed, slot, f"{prefix}-{i}") for i in range(1, count + 1)]


GOOD_FILE: Final = "sound.csv"
GOOD_ROWS: Final = 600  # many, so that the refused share of a day stays below what blocks it


def sound_content(feed: str, slot: Slot) -> bytes:
    """The file of good rows that lies beside the kinds of a day."""
    return as_csv(several(feed, slot, f"sound-{slot.day}", GOOD_ROWS)).encode()


# --- writers -------------------------------------------------------------------------------------------------------


def as_csv(
    rows: Iterable[Row], *, delimiter: str = ",", end: str = "\n", columns: Sequence[str] = (), header: bool = True
) -> str:
    """Rows as CSV text with the columns of the first one, unless others are given."""
    rows = list(rows)
    text = io.StringIO()
    names = list(columns or rows[0])
    writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator=end, extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_jsonl(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_parquet(rows: Sequence[Row], **typed: pl.Series) -> bytes:
    """Rows as Parquet, every column text but those given as series."""
    return parquet_of(pl.DataFrame(list(rows), schema=dict.fromkeys(rows[0], pl.String)).with_columns(**typed))


def parquet_of(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def gzipped(content: str | bytes) -> bytes:
    return gzip.compress(content.encode() if isinstance(content, str) else content, mtime=0)
