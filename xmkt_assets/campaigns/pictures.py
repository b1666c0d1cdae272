"""The way from every known person to the list, as a picture. Labels are English: the font may hold no Chinese."""

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def waterfall_figure(waterfall: pl.DataFrame, *, title: str) -> "Figure":
    """Bars of `Decisions.waterfall`: who came to each rule, the part it left out in red, and at last who is listed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    labels = [*waterfall["rule"], "listed"]
    listed = waterfall["went_on_count"][-1]
    axes.barh(labels, [*waterfall["went_on_count"], listed], color="#1b6ca8")
    left_out = [*waterfall["left_out_count"], 0]
    axes.barh(labels, left_out, left=[*waterfall["went_on_count"], listed], color="#c0504d")
    for place, (kept, lost) in enumerate(zip([*waterfall["went_on_count"], listed], left_out, strict=True)):
        axes.text(kept + lost, place, f" {kept:,}" + (f" (−{lost:,})" if lost else ""), va="center", fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("people; red = left out by this rule")
    axes.set_title(title)
    return figure
