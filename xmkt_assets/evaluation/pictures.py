"""Pictures of results: frames in, matplotlib figures out. How a figure reaches a page is not known here."""

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"assignment_score": "#1b6ca8", "t_learner": "#2a9d5c", "response": "#b8860b"}


def effects_figure(results: pl.DataFrame) -> "Figure":
    """Differences of share metrics with their intervals, one line per arm and metric, in percentage points."""
    from matplotlib.figure import Figure

    rows = results.filter((pl.col("unit") == "share") & pl.col("interval_low").is_not_null()).reverse()
    figure = Figure(figsize=(7.5, 1.2 + 0.42 * max(rows.height, 1)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="#888888", linewidth=1)
    for height, row in enumerate(rows.iter_rows(named=True)):
        low, middle, high = (100 * row[name] for name in ("interval_low", "difference", "interval_high"))
        colour = "#1b6ca8" if row["is_goal"] else "#555555"
        axes.plot([low, high], [height, height], color=colour, linewidth=2)
        axes.plot([middle], [height], "o", color=colour)
    axes.set_yticks(range(rows.height), [f"{r['arm']} · {r['metric']}" for r in rows.iter_rows(named=True)])
    axes.set_xlabel("difference from control, percentage points (95% interval); the goal in blue")
    axes.set_title(", ".join(results["campaign_id"].unique().sort()))
    return figure


def curve_figure(curves: pl.DataFrame) -> "Figure":
    """Qini curves of one experiment, arm and metric: every score with its band, and the random order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    drawn = curves.filter(pl.col("gain").is_not_null())
    for name, part in drawn.sort("share").group_by("score_name", maintain_order=True):
        _draw_curve(axes, str(name[0]), part)
    first = drawn.filter(pl.col("score_name") == drawn["score_name"][0]).sort("share")
    axes.plot(first["share"], first["random_gain"], "--", color="#888888", label="random order")
    campaign, arm, metric = curves.select("campaign_id", "arm", "metric").row(0)
    axes.set_title(f"{campaign} · {arm} · {metric}")
    axes.set_xlabel("share of people contacted, highest score first")
    axes.set_ylabel("outcome gained per treated person")
    axes.legend(fontsize="small")
    return figure


def _draw_curve(axes: "Axes", name: str, part: pl.DataFrame) -> None:
    colour = COLOURS.get(name, "#555555")
    axes.fill_between(part["share"], part["gain_low"], part["gain_high"], color=colour, alpha=0.15, linewidth=0)
    axes.plot(part["share"], part["gain"], color=colour, label=f"{name}, Qini {part['qini'][0]:+.5f}")
