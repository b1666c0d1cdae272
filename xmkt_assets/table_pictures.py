"""Which tables made by SQL show a picture of their rows on their page, and who draws it.

Here: the tuple of pictures. Not here: drawing (pure modules of the stage) and embedding (``materialisation``).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from xmkt_assets.segments.pictures import migration
from xmkt_assets.segments.summary_pictures import groups_beside_each_other

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TablePicture(NamedTuple):
    """A picture of the newest day's rows of a SQL table; `title` is read where pictures are not shown."""

    table: str
    title: str
    draw: Callable[[pl.DataFrame], "Figure"]


TABLE_PICTURES: Final = (
    TablePicture("segments.segment_summary", "value groups beside each other", groups_beside_each_other),
    TablePicture("segments.segment_migration", "who moved between value groups", migration),
)


def picture_of(table: str) -> TablePicture | None:
    """The picture a table has, or None."""
    return next((p for p in TABLE_PICTURES if p.table == table), None)
