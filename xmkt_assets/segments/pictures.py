"""Pictures of segments for the UI and MLflow. Drawing only: every number shown is computed elsewhere, and
embedding a figure in the UI is ``xmkt_assets.materialisation``'s work.

Figures are made without pyplot, so that nothing is kept between runs of a long-lived process.
"""

from typing import TYPE_CHECKING, Any

import polars as pl

from xmkt_assets.segments.risk import RiskReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def group_sizes(groups: pl.DataFrame) -> "Figure":
    """Horizontal bars: people per value group; `groups` as of `xmkt_assets.segments.clusters.Clustering`."""
    figure, axes = _sheet(width=6.4, height=0.8 + 0.42 * max(groups.height, 1))
    bars = axes.barh(groups["value_label"].to_list(), groups["people"].to_list(), color="#3b6ea5")
    axes.bar_label(bars, labels=[f" {n:,} ({s:.0%})" for n, s in groups.select("people", "people_share").iter_rows()])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("people")
    return figure


def calibration(report: RiskReport) -> "Figure":
    """Predicted against observed claim share per tenth of the examples, out of fold, with 95 % intervals."""
    figure, axes = _sheet(width=5.2, height=4.6)
    table = report.calibration
    predicted, observed = table["predicted_share"].to_numpy(), table["observed_share"].to_numpy()
    spread = [observed - table["low"].to_numpy(), table["high"].to_numpy() - observed]
    axes.errorbar(predicted, observed, yerr=spread, fmt="o", color="#3b6ea5", capsize=3, label=report.chosen)
    end = float(max(predicted.max(), table["high"].to_numpy().max())) * 1.05
    axes.plot([0, end], [0, end], color="0.6", linewidth=1, label="perfectly calibrated")
    axes.set_xlabel("predicted share with a claim in 60 days")
    axes.set_ylabel("observed share")
    axes.set_title(f"Out of fold, {report.examples:,} examples, AUC {report.best.auc}", fontsize=10)
    axes.legend(frameon=False)
    return figure


def _sheet(*, width: float, height: float) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
