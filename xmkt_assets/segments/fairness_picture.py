"""The picture of fairness: two numbers per target and group, with intervals, beside what is in order. Drawing only."""

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from xmkt_assets.segments.fairness import FOUR_FIFTHS, WELL_CALIBRATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS: Final = (
    ("selection_ratio", "selected, against the group selected most", (FOUR_FIFTHS, 1.0)),
    ("calibration_ratio", "happened, against what was foretold", WELL_CALIBRATED),
)
_FOUND, _IN_ORDER = "#b5422c", "#3b6ea5"


def fairness_picture(table: pl.DataFrame) -> "Figure | None":
    """One column of panels per target, groups from top to bottom, the green band is what is in order, red is a finding.

    None where no target has a group to show.
    """
    from matplotlib.figure import Figure

    shown = table.filter(pl.col("people").is_not_null() & (pl.col("group_name") != "unknown"))
    targets = shown["target"].unique(maintain_order=True).to_list()
    if not targets:
        return None
    groups = shown.select("attribute", "group_name").unique(maintain_order=True).rows()
    figure = Figure(figsize=(2.2 + 2.3 * len(targets), 1.6 + 0.5 * len(groups)))
    figure.subplots_adjust(wspace=0.12, hspace=0.4)
    panels = figure.subplots(len(_PANELS), len(targets), squeeze=False, sharey=True, sharex="row")
    for column, target in enumerate(targets):
        rows = {(r["attribute"], r["group_name"]): r for r in shown.filter(target=target).iter_rows(named=True)}
        panels[0, column].set_title(target.replace("_", " "), fontsize=10)
        for line, (number, words, (low, high)) in enumerate(_PANELS):
            axes = panels[line, column]
            axes.axvspan(low, high, color="#dcebdc", linewidth=0)
            axes.axvline(1, color="0.6", linewidth=1)
            axes.tick_params(axis="x", labelsize=8)
            if column == len(targets) // 2:
                axes.set_xlabel(words, fontsize=9)
            if rows and all(row[number] is None for row in rows.values()):
                axes.text(1, len(groups) / 2, "not applicable", ha="center", fontsize=8, color="0.4")
            for place, group in enumerate(groups):
                _dot(axes, rows.get(group), number, place=place, low=low, high=high)
    for line in panels[:, 0]:
        line.set_yticks(range(len(groups)), [name for _, name in groups], fontsize=8)
    panels[0, 0].set_ylim(len(groups) - 0.5, -0.5)
    return figure


def _dot(axes: Any, row: dict[str, Any] | None, number: str, *, place: int, low: float, high: float) -> None:
    if row is None or row[number] is None:
        return
    value, start, end = (row[f"{number}{suffix}"] for suffix in ("", "_low", "_high"))
    is_found = bool(row["finding"]) and not low <= value <= high
    colour = _FOUND if is_found else _IN_ORDER
    axes.plot([start, end], [place, place], color=colour, linewidth=1.5)
    axes.plot([value], [place], "o", color=colour, markersize=5)
