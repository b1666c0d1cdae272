"""Taking turns, and the table of what was found."""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

_NUMBERS: Final = range(2, 7)  # columns of the table that stand to the right


class Comparison(NamedTuple):
    """One line of the table: seconds of each repeat of either side; `bar` is the largest ratio wanted, if one is."""

    what: str
    peer: str
    our_seconds: list[float]
    peer_seconds: list[float]
    bar: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        """Our median time per median time of the peer: below 1 we are faster."""
        return statistics.median(self.our_seconds) / statistics.median(self.peer_seconds)


def seconds_of(work: Callable[[], object]) -> Callable[[], float]:
    """`work` as a function that returns how long it took."""

    def timed() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return timed


def take_turns(
    ours: Callable[[], float], peer: Callable[[], float], *, repeats: int, warm_up: bool = True
) -> tuple[list[float], list[float]]:
    """Seconds of `repeats` turns of either side; who goes first changes every time. The warm-up is not counted."""
    if warm_up:
        ours(), peer()
    our_seconds, peer_seconds = [], []
    for turn in range(repeats):
        pair = [(ours, our_seconds), (peer, peer_seconds)]
        for side, seconds in pair if turn % 2 == 0 else reversed(pair):
            seconds.append(side())
    return our_seconds, peer_seconds


def table(comparisons: Sequence[tuple[str, Comparison]]) -> str:
    """Aligned lines: benchmark, what, our and the peer's median, their ratio and the ratios of single turns."""
    header = ("benchmark", "what", "ours", "peer", "ratio", "by turn", "bar", "peer is", "note")
    lines = [_line(name, one) for name, one in comparisons]
    widths = [max(len(row[i]) for row in (header, *lines)) for i in range(len(header))]
    aligned = [
        "  ".join(f"{row[i]:>{w}}" if i in _NUMBERS else f"{row[i]:<{w}}" for i, w in enumerate(widths)).rstrip()
        for row in (header, tuple("─" * w for w in widths), *lines)
    ]
    return "\n".join(aligned)


def machine() -> str:
    """Cores and how busy they are: a benchmark on a busy machine says little."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def _line(name: str, one: Comparison) -> tuple[str, ...]:
    turns = [a / b for a, b in zip(one.our_seconds, one.peer_seconds, strict=True)]
    return (
        name,
        one.what,
        _seconds(statistics.median(one.our_seconds)),
        _seconds(statistics.median(one.peer_seconds)),
        f"{one.ratio:.2f}",
        f"{min(turns):.2f}–{max(turns):.2f}",
        "" if one.bar is None else f"≤ {one.bar} {'met' if one.ratio <= one.bar else 'MISSED'}",
        one.peer,
        one.note,
    )


def _seconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "none"  # the note says why
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
