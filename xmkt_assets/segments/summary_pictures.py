"""Pictures of the segments' SQL tables: groups beside each other, and who moved between them. Drawing only.

Not here: pictures of one model (``pictures``), and how a page shows a figure (``xmkt_assets.table_pictures``).
"""

from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Column of segments.segment_summary -> (title, what one unit is divided by)
PANELS: Final = (
    ("people", "people", 1.0),
    ("mean_paid_fen", "paid for courses, yuan", 100.0),
    ("mean_premium_fen", "premiums, yuan", 100.0),
    ("mean_visit_84d_count", "visits in 84 days", 1.0),
    ("mean_days_since_last_activity", "days since the last event", 1.0),
    ("mean_lapse_risk_share", "lapse risk, %", 0.01),
    ("mean_course_purchase_share", "buys a course, %", 0.01),
    ("mean_product_purchase_share", "takes out a policy, %", 0.01),
)
INK: Final = "#3b6ea5"


def groups_beside_each_other(summary: pl.DataFrame) -> "Figure":
    """One panel of bars per measure of `PANELS`, one bar per value group; `summary` is segments.segment_summary of a
    day. An empty mean (nobody of the group was scored) has no bar and says so."""
    groups = summary.sort("people", descending=True)
    names = groups["value_label"].to_list()
    figure = _sheet(width=10.0, height=1.2 + 0.62 * len(names))
    for place, (column, title, unit) in enumerate(PANELS, start=1):
        axes = figure.add_subplot(2, 4, place)
        values = [None if v is None else v / unit for v in groups[column].to_list()]
        bars = axes.barh(names, [v or 0.0 for v in values], color=INK)
        axes.bar_label(bars, labels=["–" if v is None else f" {v:,.{_digits(v)}f}" for v in values], fontsize=7)
        axes.set_title(title, fontsize=9)
        axes.invert_yaxis()
        axes.margins(x=0.3)
        axes.set_xticks([])
        axes.tick_params(axis="y", labelsize=7, labelleft=place in (1, 5))
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def _digits(value: float) -> int:
    return 0 if value >= 10 else 1


def _sheet(*, width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
