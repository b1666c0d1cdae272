"""The published files as frames, before any feed is made of them.

Belongs here: where a file lies, its types, and the two tables that more than one module reads. Does not belong here:
anything drawn by a seed.
"""

from pathlib import Path

import polars as pl


def find_file(data: Path, name: str) -> Path:
    """Path of a published file. Raises FileNotFoundError that says which folder was expected to hold it."""
    path = data / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. The adapters need the published files insurance_bruun/, hahow/ and hillstrom/ under "
            f"one folder; give that folder as the data argument."
        )
    return path


def read_csv(data: Path, name: str) -> pl.DataFrame:
    """One row per line of a published CSV file (plain or gzip), all columns as text."""
    return pl.read_csv(find_file(data, name), infer_schema=False)


def read_bruun_purchases(data: Path) -> pl.DataFrame:
    """One row per item of a purchase event: event_id, customer_id, event_time, item_id.

    An event may hold several items. Train and test events together; their event ids do not collide. customer_id is
    the published user number behind a "b", because a bare number may stand for someone else in another data set.
    """
    names = [f"insurance_bruun/purchase_events_{part}.csv.gz" for part in ("train", "test")]
    parts = [read_csv(data, name).select("event_id", "user_id", "event_time", "item_id") for name in names]
    return pl.concat(parts).select(
        "event_id",
        pl.format("b{}", "user_id").alias("customer_id"),
        pl.col("event_time").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us"),
        "item_id",
    )


def read_hahow_purchases(data: Path) -> pl.DataFrame:
    """One row per user and course bought: user_id, course_id.

    A user's courses are a set: the files say neither when nor in which order they were bought.
    """
    parts = [read_csv(data, f"hahow/val_{part}.csv") for part in ("seen", "unseen")]
    return (
        pl.concat(parts)
        .select("user_id", pl.col("course_id").str.extract_all(r"\S+"))
        .explode("course_id", empty_as_null=False)
    )
