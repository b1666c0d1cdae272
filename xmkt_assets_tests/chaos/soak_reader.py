"""A reader of the soak: ``python -m xmkt_assets_tests.chaos.soak_reader HOME WRITERS WAY``, until SIGTERM.

Every look asks for the state of both tables twice within one transaction: all days must be whole, both answers the
same, and no day may show an earlier batch than a look before. Ways: ``attached`` opens the lake read-only and anew
every few looks, as an analyst's shell does; ``session`` reads through `Lake`, as assets do. Nothing that fails is tried
again.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import duckdb

from xmkt_assets.warehouse import Lake, open_lake
from xmkt_assets_tests.chaos.soak_scene import STATE_SQL, State, days_of, judge, went_back

LOOKS_PER_OPENING: Final = 10
_PAUSE_SECONDS: Final = 0.01


class Looking:
    """What one reader has seen so far."""

    def __init__(self, writers: int) -> None:
        self._days = days_of(writers)
        self._before: State = {}
        self.seconds: list[float] = []
        self.inconsistent: list[str] = []
        self.failed: list[str] = []

    def look(self, connection: duckdb.DuckDBPyConnection) -> None:
        """One read; `connection` uses the lake."""
        query = STATE_SQL.format(at="")
        connection.execute("begin transaction read only")
        try:
            first = connection.execute(query).fetchall()
            second = connection.execute(query).fetchall()
        finally:
            connection.execute("rollback")
        state, complaints = judge(first, days=self._days)
        if first != second:
            complaints.append("one transaction saw two states")
        self.inconsistent += [*complaints, *went_back(self._before, state)]
        self._before = state

    def told(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "inconsistent": self.inconsistent, "failed": self.failed}


@contextmanager
def opened(home: Path, way: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that uses the lake, in one of the ways."""
    if way == "session":
        with Lake(home, threads=1, memory_limit="400MB").session() as session:
            yield session.connection
    else:
        with duckdb.connect(config={"threads": "1", "memory_limit": "400MB"}) as connection:
            open_lake(connection, home / "lake", read_only=True)
            yield connection


def watch(home: Path, *, writers: int, way: str) -> dict[str, Any]:
    """Look until SIGTERM comes."""
    told: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, end)
    looking = Looking(writers)
    sys.stdout.write("looking\n")
    sys.stdout.flush()
    while not told:
        started = time.monotonic()
        try:
            with opened(home, way) as connection:
                for _ in range(LOOKS_PER_OPENING):
                    looking.look(connection)
                    looking.seconds.append(time.monotonic() - started)
                    time.sleep(_PAUSE_SECONDS)
                    if told:
                        break
                    started = time.monotonic()
        except Exception as error:  # noqa: BLE001 - any exception of a read is what the soak counts
            looking.failed.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
    return looking.told()


if __name__ == "__main__":
    found = watch(Path(sys.argv[1]), writers=int(sys.argv[2]), way=sys.argv[3])
    sys.stdout.write(json.dumps(found) + "\n")
