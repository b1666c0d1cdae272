"""The process that looks all along: ``python -m xmkt_assets_tests.chaos.reader HOME STATES.json``.

It opens the lake anew for every look, as an analyst's shell would, until it is told to end (SIGTERM); then it prints
how often it looked, what it saw that was neither the old nor the new version, and looks that failed.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final

import duckdb

from xmkt_assets_tests.chaos.looking import States, look, mixed

PAUSE_SECONDS: Final = 0.02


def watch(home: Path, *, old: States, new: States) -> dict[str, Any]:
    """Look until SIGTERM comes."""
    told: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, end)
    looks, halves, failures = 0, list[str](), list[str]()
    sys.stdout.write("looking\n")
    sys.stdout.flush()
    while not told:
        try:
            halves += mixed(look(home), old=old, new=new)
            looks += 1
        except duckdb.Error as error:
            failures.append(str(error).splitlines()[0])
        time.sleep(PAUSE_SECONDS)
    return {"looks": looks, "halves": sorted(set(halves)), "failures": failures}


def read_states(path: Path) -> list[States]:
    """Old and new states from a file; JSON knows no pairs."""
    both = json.loads(path.read_text(encoding="utf-8"))
    return [{t: {p: (n, total) for p, (n, total) in parts.items()} for t, parts in one.items()} for one in both]


if __name__ == "__main__":
    before, after = read_states(Path(sys.argv[2]))
    sys.stdout.write(json.dumps(watch(Path(sys.argv[1]), old=before, new=after)) + "\n")
