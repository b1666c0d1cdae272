"""A writer of the soak, killed again and again: ``python -m xmkt_assets_tests.chaos.soak_writer HOME WRITER LOG``.

Before a commit it notes the intent in its log, after it the acknowledgement with the snapshot id, both brought to disk
before it goes on. So after a kill the log says which commits must be there and which one may be there or not.
"""

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple, TextIO

from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.chaos.soak_scene import Batch, write_batch


class Note(NamedTuple):
    """What a writer's log says of one batch: the snapshot and how long the commit took where it was acknowledged."""

    batch: Batch
    snapshot_id: int | None
    seconds: float | None


def write_on(home: Path, writer: int, log: Path, *, until: int | None = None) -> None:
    """Write batches up to number `until`, or until killed, beginning after the last one that was meant."""
    number = max((note.batch.number for note in read_log(log, writer=writer)), default=-1) + 1
    with Lake(home, threads=1, memory_limit="400MB").session() as session, log.open("a", encoding="utf-8") as lines:
        while until is None or number < until:
            _note(lines, f"\nintent {number}")  # the empty line ends one that a kill cut off
            started = time.monotonic()
            snapshot_id = write_batch(session, Batch(writer, number))
            _note(lines, f"ack {number} {snapshot_id} {time.monotonic() - started:.6f}")
            number += 1


def read_log(log: Path, *, writer: int) -> list[Note]:
    """Every batch meant to be written, in order. A line that was cut off by the kill says nothing."""
    notes: dict[int, Note] = {}
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        match line.split():
            case ["intent", number]:
                notes[int(number)] = Note(Batch(writer, int(number)), None, None)
            case ["ack", number, snapshot_id, seconds]:
                notes[int(number)] = Note(Batch(writer, int(number)), int(snapshot_id), float(seconds))
    return list(notes.values())


def is_in_commit(log: Path) -> bool:
    """Whether the writer has said that it means to write and not yet that it has."""
    with log.open("rb") as lines:
        lines.seek(max(0, lines.seek(0, os.SEEK_END) - 100))
        last = lines.read().rstrip(b"\n").rpartition(b"\n")[2]
    return last.startswith(b"intent")


def _note(lines: TextIO, text: str) -> None:
    lines.write(f"{text}\n")
    lines.flush()
    os.fsync(lines.fileno())


if __name__ == "__main__":
    write_on(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
