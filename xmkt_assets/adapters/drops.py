"""Rows to landing files: the shape a contract asks for, one file per feed and day.

Belongs here: contract columns and types, the dt folder of a row, atomic writing, the summary every adapter returns.
Does not belong here: what a data set means, and validation of values, which is the raw stage's task for every partner.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import polars as pl

from xmkt_assets.contracts import Contract, contracts

_TYPES: Final[Mapping[str, pl.DataType]] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us"),
}


class AdapterSummary(NamedTuple):
    """What one adapter wrote.

    `rows` counts rows per "partner/feed"; `first_on` and `last_on` are the outermost dt folders; `notes` say what in
    the rows was not observed, in sentences to repeat wherever numbers from these rows are shown.
    """

    dataset: str
    files: int
    rows: Mapping[str, int]
    first_on: date
    last_on: date
    notes: tuple[str, ...]


class Adapter(Protocol):
    """`write_drops` of an adapter module: callable with paths alone, seeds and dates as further keywords."""

    def __call__(self, data: Path, landing: Path) -> AdapterSummary:
        """Read the published files under `data` and write drops under `landing`."""
        ...


def write_drops(
    landing: Path, *, dataset: str, feeds: Mapping[str, pl.DataFrame], notes: tuple[str, ...]
) -> AdapterSummary:
    """Write `landing/<partner>/<feed>/dt=<day>/<dataset>.parquet` for each "partner/feed" of `feeds`.

    Columns a frame lacks are written empty. Nothing is written unless every frame fits its contract. Files of the
    same data set left by an earlier call are removed, so that other seeds or dates leave nothing behind; files of
    other senders in the same folders stay.
    """
    files = {
        (landing / place / f"dt={day.isoformat()}" / f"{dataset}.parquet", day): of_day
        for place, rows in feeds.items()
        for day, of_day in _days(rows, contracts()[place.split("/")[1]])
    }
    if not files:
        raise ValueError(f"The published files of {dataset} hold no rows. Get them again from their source.")
    for (path, _), of_day in files.items():
        _write_atomically(of_day, path)
    _remove_left_over(landing, dataset=dataset, written={path for path, _ in files})
    days = [day for _, day in files]
    counts = {place: rows.height for place, rows in feeds.items()}
    return AdapterSummary(dataset, len(files), counts, min(days), max(days), notes)


def as_contract(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Every column of the contract, in its order and type; columns that `rows` lacks are empty.

    Raises ValueError where a column is unknown to the contract, or a required one has empty values.
    """
    feed, names = contract.feed, contract.column_names
    if unknown := sorted(set(rows.columns) - set(names)):
        raise ValueError(f"Feed {feed} got columns {unknown}, but its contract has {names}. Rename or drop them.")
    full = rows.select(
        (pl.col(c.name) if c.name in rows.columns else pl.lit(None)).cast(_TYPES[c.logical_type]).alias(c.name)
        for c in contract.columns
    )
    required = [c.name for c in contract.columns if c.is_required]
    if empty := {name: count for name in required if (count := full[name].null_count())}:
        raise ValueError(f"Feed {feed} has empty values in required columns: {empty}. Fill them in the adapter.")
    return full


def _days(rows: pl.DataFrame, contract: Contract) -> Iterator[tuple[date, pl.DataFrame]]:
    # Snapshots are delivered on the day their rows changed, so nobody is known before their first trace.
    when = contract.event_time or contract.version_by
    if when is None:
        raise ValueError(
            f"Contract {contract.feed} has neither eventTime nor versionBy. Name the one that dates a row."
        )
    ordered = as_contract(rows, contract).sort(when, *contract.key)
    by_day = ordered.with_columns(pl.col(when).dt.date().alias("dt")).partition_by(
        "dt", as_dict=True, include_key=False, maintain_order=True
    )
    return ((day, of_day) for (day,), of_day in by_day.items())


def _write_atomically(rows: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    rows.write_parquet(unfinished)
    os.replace(unfinished, path)


def _remove_left_over(landing: Path, *, dataset: str, written: set[Path]) -> None:
    for path in sorted(set(landing.glob(f"*/*/dt=*/{dataset}.parquet")) - written):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
