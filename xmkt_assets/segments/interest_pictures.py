"""Pictures of the next interest for the UI and MLflow: the tree as it is read, and what its signals are worth.

Drawing only: every number shown is computed elsewhere (``next_interest``, ``interest_rules``). Topics are written with
the first font of `_FONTS` that the machine has; without one of them Chinese names show as boxes, and the table of rules
is what to read.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.segments.interest_features import in_words
from xmkt_assets.segments.interest_rules import wilson
from xmkt_assets.segments.next_interest import NextInterestModel, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONTS: Final = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Microsoft YaHei", "PingFang SC", "SimHei", "Noto Serif CJK SC", "Noto Serif CJK JP"),
)
_BLUE, _GREY = "#3b6ea5", "0.55"


class _Line(NamedTuple):
    """One line of the tree: a question, or a leaf with its topic."""

    depth: int
    text: str
    leaf: int | None


def tree(model: NextInterestModel) -> "Figure":
    """The tree as questions from the top down, a leaf per bar: the share of held-out people who turned to its topic,
    with its 95 % interval; the tick is the share of the topic among all."""
    from matplotlib.figure import Figure

    lines = list(_lines(model, 0, depth=0, lead=""))
    figure = Figure(figsize=(10.0, 1.4 + 0.28 * len(lines)), layout="constrained")
    words, bars = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1.0])
    everybody = np.sum(list(model.held_out.values()), axis=0)
    for place, line in enumerate(lines):
        colour = "black" if line.leaf is None else _BLUE
        words.text(0.03 * line.depth, place, line.text, va="center", fontsize=9, color=colour, fontfamily=_fonts())
        if line.leaf is not None and (people := int(model.held_out[line.leaf].sum())):
            topic = int(model.tree.shares[line.leaf, :-1].argmax())
            _bar(bars, place, int(model.held_out[line.leaf][topic]), people, base=everybody[topic] / everybody.sum())
    words.set(xlim=(0, 1), ylim=(len(lines) - 0.5, -0.5))
    words.axis("off")
    bars.set_xlim(0, 1)
    bars.set_xlabel("share who turned to the topic\n(line: 95 % interval, tick: share among all)")
    bars.spines[["top", "right", "left"]].set_visible(False)
    bars.tick_params(left=False)
    figure.suptitle(f"What people turn to within 30 days, on {everybody.sum():,} people held out", fontsize=11)
    return figure


def importance(report: Report) -> "Figure":
    """How much worse the chosen model is without each kind of signal, with 95 % intervals."""
    from matplotlib.figure import Figure

    found = report.importance
    figure = Figure(figsize=(6.4, 0.9 + 0.42 * found.height), layout="constrained")
    axes = figure.add_subplot()
    rise, low, high = (found[c].to_numpy() for c in ("log_loss_rise", "low", "high"))
    axes.barh(found["signals"].to_list(), rise, xerr=[rise - low, high - rise], color=_BLUE, ecolor=_GREY, capsize=3)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("rise of the log loss when shuffled among people (nats)")
    axes.set_title(f"{report.chosen.replace('_', ' ')}, {report.held_out:,} people held out", fontsize=10)
    return figure


def calibration(report: Report) -> "Figure":
    """Share promised to the first topic against how often it came, per tenth of the people held out."""
    from matplotlib.figure import Figure

    table = report.calibration
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    observed = table["observed_share"].to_numpy()
    ends = [wilson(round(o * n), n) for o, n in zip(observed, table["people"], strict=True)]
    spread = [[max(o - e[0], 0.0) for o, e in zip(observed, ends, strict=True)]]
    spread.append([max(e[1] - o, 0.0) for o, e in zip(observed, ends, strict=True)])
    axes.errorbar(table["predicted_share"], observed, yerr=spread, fmt="o", color=_BLUE, capsize=3)
    top = 1.05 * max(float(table["predicted_share"].to_numpy().max()), *(high for _, high in ends))
    axes.plot([0, top], [0, top], color="0.6", linewidth=1, label="perfectly calibrated")
    axes.set_xlabel("share given to the first topic")
    axes.set_ylabel("people who turned to it")
    axes.legend(frameon=False)
    return figure


def candidates(report: Report) -> pl.DataFrame:
    """The comparison as a table for people."""
    columns = ("model", "log loss", "first topic right", "among first three")
    rows = [[c.name.replace("_", " "), *map(str, c[1:])] for c in report.candidates]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _lines(model: NextInterestModel, node: int, *, depth: int, lead: str) -> Iterator[_Line]:
    """The yes-branch of a question one step in, the no-branch below it at the same depth."""
    tree = model.tree
    if tree.left[node] < 0:
        topic = model.classes[int(tree.shares[node, :-1].argmax())]
        yield _Line(depth, f"{lead}→ {topic} ({int(model.held_out[node].sum()):,} people)", node)
        return
    feature = model.vocabulary.features[tree.feature[node]]
    yield _Line(depth, f"{lead}{in_words({feature: (float(tree.threshold[node]), float('inf'))})}?", None)
    yield from _lines(model, int(tree.right[node]), depth=depth + 1, lead="yes: ")
    yield from _lines(model, int(tree.left[node]), depth=depth, lead="no: ")


def _bar(axes: Any, place: int, hits: int, people: int, *, base: float) -> None:
    low, high = wilson(hits, people)
    axes.barh(place, hits / people, color=_BLUE, height=0.6)
    axes.plot([low, high], [place, place], color=_GREY, linewidth=1.5)
    axes.plot([base, base], [place - 0.4, place + 0.4], color="black", linewidth=1)


def _fonts() -> list[str]:
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return [*[name for name in _FONTS if name in there][:1], "DejaVu Sans"]
