"""Pictures of segments for the UI and MLflow. Drawing only: every number shown is computed elsewhere, and
embedding a figure in the UI is ``xmkt_assets.materialisation``'s work.

Figures are made without pyplot, so that nothing is kept between runs of a long-lived process.
"""

from typing import TYPE_CHECKING, Any

import polars as pl

from xmkt_assets.segments.scoring import ScoreReport
from xmkt_assets.segments.targets import Target

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


def calibration(target: Target, report: ScoreReport) -> "Figure":
    """Predicted against observed share per tenth of the examples, out of fold, with 95 % intervals."""
    figure, axes = _sheet(width=5.2, height=4.6)
    table = report.calibration
    predicted, observed = table["predicted_share"].to_numpy(), table["observed_share"].to_numpy()
    spread = [observed - table["low"].to_numpy(), table["high"].to_numpy() - observed]
    axes.errorbar(predicted, observed, yerr=spread, fmt="o", color="#3b6ea5", capsize=3, label=report.chosen)
    end = float(max(predicted.max(), table["high"].to_numpy().max())) * 1.05
    axes.plot([0, end], [0, end], color="0.6", linewidth=1, label="perfectly calibrated")
    axes.set_xlabel(f"predicted share of people who {target.done} within {target.horizon_days} days")
    axes.set_ylabel("observed share")
    axes.set_title(f"Out of fold, {report.examples:,} examples, AUC {report.best.auc}", fontsize=10)
    axes.legend(frameon=False)
    return figure


def cluster_choice(rows: pl.DataFrame) -> "Figure":
    """Silhouette and stability per number of groups and method, what was chosen ringed; `rows` of
    ``xmkt_assets.segments.cluster_choice``. What was not compared is not drawn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    panels = zip(figure.subplots(1, 2), ("silhouette", "stability"), ("#3b6ea5", "#c07a2c"), strict=True)
    drawn = rows.drop_nulls("silhouette").sort("k")
    for axes, name, chosen_colour in panels:
        axes.spines[["top", "right"]].set_visible(False)
        for (method,), part in drawn.group_by("method", maintain_order=True):
            k, value = part["k"].to_numpy(), part[name].to_numpy()
            below, above = value - part[f"{name}_low"].to_numpy(), part[f"{name}_high"].to_numpy() - value
            spread = [below.clip(min=0), above.clip(min=0)]  # of few people an interval may leave its value out
            style = "-o" if method == "k-means" else "--s"
            axes.errorbar(k, value, yerr=spread, fmt=style, color="0.35", markersize=4, capsize=2, label=method)
        chosen = drawn.filter("is_chosen")
        axes.scatter(chosen["k"], chosen[name], s=140, facecolors="none", edgecolors=chosen_colour, linewidths=2)
        axes.set_xlabel("groups")
        axes.set_title(name, fontsize=10)
    if not drawn.is_empty():
        axes.legend(frameon=False)
    return figure


def migration(rows: pl.DataFrame) -> "Figure":
    """Heat map of where the people of each value group went: rows of ``segments.segment_migration`` of one day.

    Each cell: people, and their part of the group they come from; nobody comes from or goes to what is not shown.
    """
    before = _in_order(rows["from_label"].to_list(), last="new")
    after = _in_order(rows["to_label"].to_list(), last="gone")
    figure, axes = _sheet(width=2.4 + 1.15 * max(len(after), 1), height=1.2 + 0.5 * max(len(before), 1))
    shares = [[0.0] * len(after) for _ in before]
    for start, end, people, share in rows.select("from_label", "to_label", "people", "people_share").iter_rows():
        at = before.index(start), after.index(end)
        shares[at[0]][at[1]] = share
        colour = "white" if share > 0.55 else "black"
        axes.text(at[1], at[0], f"{people:,}\n{share:.0%}", ha="center", va="center", fontsize=8, color=colour)
    if shares:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(after)), after, rotation=20, ha="right")
    axes.set_yticks(range(len(before)), before)
    axes.set_xlabel("group on the day")
    axes.set_ylabel("group before")
    return figure


def _in_order(labels: list[str], *, last: str) -> list[str]:
    return sorted(set(labels), key=lambda label: (label == last, label))


def _sheet(*, width: float, height: float) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
