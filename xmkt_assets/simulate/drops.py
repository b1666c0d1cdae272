"""The drop files of a simulated world, as a real partner would send them, with a few dirty rows planted.

Belongs here: formats, file names, atomic writing, the dirt. Columns and their order come from the contracts. Does not
belong here: what happens in the world.
"""

import gzip
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.contracts import Contract, contracts
from xmkt_assets.simulate import chance
from xmkt_assets.simulate.campaign_feeds import feeds_with
from xmkt_assets.simulate.world import Feed, World

FORMATS: Final[Mapping[str, str]] = {
    "campaign_events": "jsonl",
    "claims": "csv",
    "consents": "csv",
    "contact_optouts": "csv",
    "course_orders": "csv",
    "course_reviews": "jsonl",
    "course_views": "csv.gz",
    "courses": "csv",
    "customers": "csv",
    "identifiers": "csv.gz",
    "policies": "csv",
    "product_views": "parquet",
    "products": "csv",
    "users": "csv.gz",
}
DIRTY_FEEDS: Final = ("course_views", "course_orders", "course_reviews", "product_views", "policies", "claims")
DIRT: Final = ("duplicate", "missing_value", "wrong_day", "out_of_range", "wrong_type")
DIRTY_SHARE: Final = 0.001
_TIME: Final = "%Y-%m-%d %H:%M:%S"
# The column whose value is spoiled: out of its contract's range, or no number at all.
_MEASURE: Final[Mapping[str, tuple[str, int]]] = {
    "course_views": ("dwell_seconds", 9_999_999),
    "course_orders": ("paid_fen", -1),
    "course_reviews": ("rating", 9),
    "product_views": ("dwell_seconds", -30),
    "policies": ("premium_fen", -1),
    "claims": ("claimed_fen", -1),
}


class DropSummary(NamedTuple):
    """What `write_days` wrote: `rows` in `files`, of which `planted` are dirty on purpose, also by kind of dirt."""

    files: int
    rows: int
    planted: int
    planted_by_kind: Mapping[str, int]


@dataclass(frozen=True)
class _Delivery:
    """The rows of one feed and day: good ones typed, dirty ones as text by column."""

    feed: str
    good: pl.DataFrame
    dirty: list[dict[str, object]]


def write_days(
    world: World, landing: Path, *, from_on: date, until_on: date, campaign: pl.DataFrame | None = None
) -> DropSummary:
    """Write every feed of the days `from_on` to `until_on` (both included) below `landing`, replacing what lies there.

    The same world, days and campaign give the same bytes; days before a campaign's launch do not depend on it. Pass the
    same campaign for every day from its launch on, also after its window: people it brought in stay. Days on which a
    feed has no rows get no file, or an empty one where a file lies.

    Raises ValueError where the days or the campaign leave the world.
    """
    first, last = world.calendar.day_of(from_on), world.calendar.day_of(until_on)
    if not 0 <= first <= last < world.calendar.days:
        end = world.calendar.on(world.calendar.days - 1)
        raise ValueError(
            f"Days {from_on} to {until_on} leave the world, {world.calendar.start_on} to {end}. Ask for days within it."
        )
    files = rows = 0
    planted: Counter[str] = Counter()
    for feed, events in sorted(feeds_with(world, campaign).items()):
        by_day = events.partition_by("day", as_dict=True, maintain_order=True)
        for day in range(first, last + 1):
            path = _path(landing, feed, world.calendar.on(day))
            of_day = by_day.get((day,), events.clear())
            # A file of an earlier call must not outlive its rows: the platform keeps what it loaded until then.
            if of_day.is_empty() and not path.exists():
                continue
            delivery, kinds = _delivery(world, feed, of_day)
            _write(delivery, path)
            files, rows = files + 1, rows + delivery.good.height + len(delivery.dirty)
            planted.update(kinds)
    return DropSummary(files, rows, sum(planted.values()), {kind: planted[kind] for kind in DIRT})


def _delivery(world: World, feed: Feed, of_day: pl.DataFrame) -> tuple[_Delivery, list[str]]:
    contract = contracts()[feed[1]]
    order = [contract.event_time or contract.version_by or contract.key[0], *contract.key]
    good = _contract_columns(of_day, contract).sort(order)
    if feed[1] not in DIRTY_FEEDS:
        return _Delivery(feed[1], good, []), []
    dirty, kinds = [], []
    keys = _key_bits(good[contract.key[0]])
    for at in np.flatnonzero(chance.happens(DIRTY_SHARE, world.seed, f"dirt/{feed[1]}", keys)):
        kind = DIRT[int(chance.whole(0, len(DIRT) - 1, world.seed, f"dirt/{feed[1]}/kind", keys[at : at + 1])[0])]
        if kind == "wrong_type" and FORMATS[feed[1]] == "parquet":
            kind = "out_of_range"  # a typed column cannot hold a wrong type
        dirty.append(_spoiled(good.row(int(at), named=True), contract, kind))
        kinds.append(kind)
    return _Delivery(feed[1], good, dirty), kinds


def _contract_columns(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The contract's columns in its order; optional ones these firms do not send are empty text."""
    lacking = [c.name for c in contract.columns if c.name not in rows.columns]
    if required := [c.name for c in contract.columns if c.is_required and c.name in lacking]:
        raise ValueError(
            f"Feed {contract.feed} requires {required}, which the simulator does not make. Add them to it."
        )
    return rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in lacking).select(
        contract.column_names
    )


def _spoiled(row: dict[str, object], contract: Contract, kind: str) -> dict[str, object]:
    """A copy of a good row with one fault. Unless it is the duplicate, it has an id of its own: no good row is lost."""
    key, moment = contract.key[0], contract.event_time
    measure, nonsense = _MEASURE[contract.feed]
    if kind == "duplicate" or moment is None:
        return row
    fresh = {**row, key: f"{row[key]}x"}
    happened = row[moment]
    if kind == "wrong_day" and isinstance(happened, datetime):
        return {**fresh, moment: happened + timedelta(days=1)}
    if kind == "missing_value":
        person = next(c.name for c in contract.columns if c.is_required and c.classification == "personal")
        return {**fresh, person: None}
    return {**fresh, measure: nonsense if kind == "out_of_range" else "不详"}


def _key_bits(ids: pl.Series) -> chance.Bits:
    """Ids end in 16 hexadecimal digits; those are the key."""
    return np.array([int(one[-16:], 16) for one in ids], dtype=np.uint64)


def _path(landing: Path, feed: Feed, on: date) -> Path:
    partner, name = feed
    return landing / partner / name / f"dt={on.isoformat()}" / f"{name}.{FORMATS[name]}"


def _write(delivery: _Delivery, path: Path) -> None:
    content = {"csv": _csv, "csv.gz": _csv_gz, "jsonl": _jsonl, "parquet": _parquet}[FORMATS[delivery.feed]](delivery)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def _csv(delivery: _Delivery) -> bytes:
    good = delivery.good.write_csv(datetime_format=_TIME)
    return (good + _as_text(delivery).write_csv(include_header=False)).encode()


def _csv_gz(delivery: _Delivery) -> bytes:
    return gzip.compress(_csv(delivery), compresslevel=5, mtime=0)  # mtime 0: the same rows give the same bytes


def _jsonl(delivery: _Delivery) -> bytes:
    times = [name for name, kind in delivery.good.schema.items() if kind == pl.Datetime("us")]
    good = delivery.good.with_columns(pl.col(times).dt.strftime(_TIME)).write_ndjson()
    return (
        good + "".join(f"{json.dumps(row, ensure_ascii=False, default=_as_time)}\n" for row in delivery.dirty)
    ).encode()


def _parquet(delivery: _Delivery) -> bytes:
    dirty = pl.DataFrame(delivery.dirty, schema=delivery.good.schema)
    buffer = BytesIO()
    pl.concat([delivery.good, dirty]).write_parquet(buffer)
    return buffer.getvalue()


def _as_text(delivery: _Delivery) -> pl.DataFrame:
    texts = [{name: None if v is None else _as_time(v) for name, v in row.items()} for row in delivery.dirty]
    return pl.DataFrame(texts, schema=dict.fromkeys(delivery.good.columns, pl.String))


def _as_time(value: object) -> str:
    return value.strftime(_TIME) if isinstance(value, datetime) else str(value)
