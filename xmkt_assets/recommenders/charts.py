"""Pictures of a leaderboard. matplotlib without pyplot: no global figure list, safe in a long-lived process."""

from typing import TYPE_CHECKING

import polars as pl

from xmkt_assets.recommenders.evaluate import NOTHING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def leaderboard_figure(leaderboard: pl.DataFrame, *, metric: str, title: str) -> "Figure":
    """One bar per model with its 95 % interval over people, best on top."""
    from matplotlib.figure import Figure

    rows = leaderboard.filter(pl.col("metric") == metric, pl.col("compared_with") == NOTHING)
    rows = rows.sort("value", maintain_order=True)
    value = rows["value"].to_numpy()
    below = value - rows["ci_low"].fill_null(rows["value"]).to_numpy()
    above = rows["ci_high"].fill_null(rows["value"]).to_numpy() - value
    figure = Figure(figsize=(7, 0.6 * rows.height + 1.4), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(rows["model"].to_list(), value, xerr=[below, above], color="#4477aa", ecolor="#222222", capsize=4)
    axes.set_xlabel(f"{metric} (95 % interval over people)")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def leaderboard_table(leaderboard: pl.DataFrame) -> pl.DataFrame:
    """The metrics themselves (not the gains) to read: one row per model, a column per metric, "value [low, high]"."""
    rows = leaderboard.filter(pl.col("compared_with") == NOTHING, pl.col("value").is_not_null())
    cells = rows.with_columns(
        shown=pl.struct("value", "ci_low", "ci_high").map_elements(_cell, return_dtype=pl.String),
    )
    return cells.pivot("metric", index="model", values="shown", maintain_order=True)


def _cell(estimate: dict[str, float | None]) -> str:
    value, low, high = estimate["value"], estimate["ci_low"], estimate["ci_high"]
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} [{low:.4f}, {high:.4f}]"
