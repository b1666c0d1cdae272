"""The picture of drift for the UI. Drawing only: every number shown is computed in ``drift``."""

from typing import TYPE_CHECKING, Final

import polars as pl

from xmkt_assets.segments.drift import MAJOR, MAJOR_PSI, MODERATE, MODERATE_PSI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS: Final = 30
COLOURS: Final = {MODERATE: "#c07a2c", MAJOR: "#b03a2e"}


def drift_bars(rows: pl.DataFrame) -> "Figure":
    """Bars of PSI per model and column, the largest first, with the usual lines; a dot is what chance alone gives.

    `rows`: of ``drift_table``. The bar ends where the picture does; its number says how far it goes.
    """
    from matplotlib.figure import Figure

    shown = rows.drop_nulls("psi").sort("psi", descending=True, maintain_order=True).head(MOST_BARS)
    figure = Figure(figsize=(7.6, 1.2 + 0.24 * max(shown.height, 2)), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    places = list(range(shown.height))
    bars = axes.barh(places, shown["psi"], color=[COLOURS.get(level, "#3b6ea5") for level in shown["level"]])
    axes.bar_label(bars, labels=[f" {psi:.2f}" for psi in shown["psi"]], fontsize=8, clip_on=True)
    axes.plot(shown["psi_by_chance"], places, ".", color="0.2", label="by chance")
    for line, name in ((MODERATE_PSI, MODERATE), (MAJOR_PSI, MAJOR)):
        axes.axvline(line, color=COLOURS[name], linewidth=1, linestyle="--", label=f"{name} from {line}")
    axes.set_yticks(places, [f"{model}: {feature}" for model, feature in shown.select("model", "feature").iter_rows()])
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max([3 * MAJOR_PSI, *shown["psi"]]))
    axes.set_xlabel("population stability index against the training")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
