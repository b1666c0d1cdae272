"""Delivering the corpus: every kind laid into a landing folder, on a day of its own or beside others.

Kinds that could take other files of the day with them (`alone`) have a day for themselves; the others of a feed share
its first day. Every day also gets a file of good rows, which must be loaded whatever lies beside it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from xmkt_assets.simulate.bad_input.kinds import GOOD_FILE, BadInput, Content, LinkTo, Pipe, Slot, sound_content


class Placed(NamedTuple):
    """One kind with its slot, the names of its files below the landing folder, and the days they belong to."""

    kind: BadInput
    slot: Slot
    names: tuple[str, ...]
    days: tuple[date, ...]


def place(corpus: Sequence[BadInput], *, first_on: date, seed: int) -> list[Placed]:
    """Give every kind its day: the first for those that share one, the next free one of the feed for the others."""
    used: dict[str, int] = {}
    placed = []
    for kind in corpus:
        offset = used[kind.feed] = used.get(kind.feed, 0) + 1 if kind.alone else used.get(kind.feed, 0)
        slot = Slot(first_on + timedelta(days=offset if kind.alone else 0), seed)
        given = [*kind.files(slot), *(kind.again(slot) if kind.again else ())]
        names = tuple(dict.fromkeys(_below_landing(kind, slot, name) for name in given))
        days = tuple(slot.day + timedelta(days=i) for i in range(kind.days))
        placed.append(Placed(kind, slot, names, days))
    return placed


def write_first(placed: Sequence[Placed], landing: Path) -> int:
    """Write what arrives before the first load. Returns the number of files."""
    files: dict[str, Content] = dict(_sound_files(placed))
    for kind, slot, *_ in placed:
        files |= {_below_landing(kind, slot, name): content for name, content in kind.files(slot).items()}
    for name, content in files.items():
        _write(landing / name, content)
    return len(files)


def write_again(placed: Sequence[Placed], landing: Path) -> int:
    """Write what arrives, and take away what goes, after the first load. Returns the number of files."""
    count = 0
    for kind, slot, *_ in placed:
        changes: Mapping[str, Content | None] = kind.again(slot) if kind.again else {}
        for name, content in changes.items():
            path = landing / _below_landing(kind, slot, name)
            path.unlink(missing_ok=True)
            if content is not None:
                _write(path, content)
        count += len(changes)
    return count


def sound_files(placed: Sequence[Placed]) -> list[str]:
    """Names of the files of good rows that must be loaded whatever lies beside them."""
    return sorted(dict(_sound_files([one for one in placed if not one.kind.keeps_sound_out])))


def _sound_files(placed: Sequence[Placed]) -> Iterator[tuple[str, bytes]]:
    for partner, feed, slot in sorted({(kind.partner, kind.feed, slot) for kind, slot, *_ in placed}):
        yield f"{partner}/{feed}/dt={slot.day}/{GOOD_FILE}", sound_content(feed, slot)


def _below_landing(kind: BadInput, slot: Slot, name: str) -> str:
    return name if "/" in name else f"{kind.partner}/{kind.feed}/dt={slot.day}/{name}"


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, LinkTo):
        path.symlink_to(content.target)
    elif isinstance(content, Pipe):
        os.mkfifo(path)
    else:
        path.write_bytes(content)
