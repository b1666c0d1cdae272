"""Who may write a lake when: the file lock of a home, the shared lock of a Postgres catalogue, trying again. Pure.

Here: taking turns and saying who is waited for. Not here: what is written (``warehouse``).

* A SQLite catalogue loses about half the commits of two unlocked writers and none with a lock (measured; README,
  "Parallel use"), so every transaction holds one exclusive file lock. The kernel frees it when its process ends,
  however it ends. It needs a local POSIX file system on one host.
* A Postgres catalogue takes writers of any number of hosts at once. It refuses one of two that delete from one table
  at the same time, and that one tries again (`Turns`). All hold an advisory lock together; who was refused often, or
  must be alone (maintenance, erasure), takes it for itself. The database frees it when the connection ends.
"""

import fcntl
import logging
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from xmkt_assets.lake_address import QUIET, WarehouseError, literal

LOG: Final = logging.getLogger(__name__)
LOCK_WAIT_SECONDS: Final = 600.0
TELL_EVERY_SECONDS: Final = 10.0
METADATA: Final = "__ducklake_metadata_lake"
_POLL_SECONDS: Final = 0.01
_ADVISORY_KEY: Final = 0x786D6B74  # "xmkt"
_LONGEST_NAME: Final = 63  # of a Postgres application_name, in bytes
# What the database says of a transaction that has rolled back and can be run again as it is.
_CONFLICTS: Final = (
    "transaction conflict",
    "could not serialize access",
    "deadlock detected",
    "exceeded the maximum retry count",
    "tuple concurrently",
    "duplicate key value violates unique constraint",
    "database is locked",
)


class Turn(NamedTuple):
    """One try of a transaction, and whether it must be alone."""

    number: int
    is_alone: bool


class Turns:
    """How often a refused transaction is tried: after each refusal a longer pause, by chance, so that two part.

    The last tries are made alone, where nobody who keeps to the lock can refuse them.
    """

    TOGETHER: Final = 3
    ALONE: Final = 3
    FIRST_PAUSE_SECONDS: Final = 0.05
    LONGEST_PAUSE_SECONDS: Final = 3.0

    def __init__(self, purpose: str, *, chance: random.Random | None = None) -> None:
        self.purpose = purpose
        self._chance = chance or random.Random()

    def __iter__(self) -> Iterator[Turn]:
        for number in range(1, self.TOGETHER + self.ALONE + 1):
            yield Turn(number, number > self.TOGETHER)

    def after(self, turn: Turn, error: duckdb.Error) -> None:
        """Wait before the next turn; raise what the caller should know where there is none, or none would help."""
        if not is_conflict(error):
            raise error
        if turn.number == self.TOGETHER + self.ALONE:
            raise WarehouseError(
                f"{self.purpose}: refused {turn.number} times because others write the same tables at the same time, "
                "the last ones outside the platform's lock. See who writes to the lake besides the platform, or let "
                "fewer runs at once (XMKT_MAX_RUNS); then run it again. Nothing was written."
            ) from error
        pause = self.pause_seconds(turn)
        LOG.info(
            "%s: another writer changed the same tables; trying again in %.2f s (try %d of %d)",
            *(self.purpose, pause, turn.number + 1, self.TOGETHER + self.ALONE),
        )
        time.sleep(pause)

    def pause_seconds(self, turn: Turn) -> float:
        """Between half and the whole of a pause that doubles with each turn."""
        whole = min(self.LONGEST_PAUSE_SECONDS, self.FIRST_PAUSE_SECONDS * 2.0 ** (turn.number - 1))
        return whole * self._chance.uniform(0.5, 1.0)


def is_conflict(error: BaseException) -> bool:
    """Whether a transaction failed only because of another one at the same time."""
    return isinstance(error, duckdb.Error) and any(words in str(error).lower() for words in _CONFLICTS)


@contextmanager
def write_lock(root: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS, purpose: str = "") -> Iterator[None]:
    """Hold the one write lock of the lake folder `root`. Waits with a line every 10 s, then gives up by name."""
    path = root / "write.lock"
    root.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        _acquire(handle.fileno(), path, wait_seconds=wait_seconds)
        try:
            handle.truncate(0)
            handle.write(f"process {os.getpid()} since {_now()}{f', {purpose}' if purpose else ''}\n")
            handle.flush()
            yield
        finally:
            fcntl.flock(handle.fileno(), fcntl.LOCK_UN)


@contextmanager
def advisory_lock(
    connection: duckdb.DuckDBPyConnection, *, is_alone: bool, wait_seconds: float, purpose: str = ""
) -> Iterator[None]:
    """Hold the lock of the Postgres catalogue attached to `connection`, with other writers or alone.

    It lies in a transaction of a connection of its own, so it is held over every statement of the block.
    """
    keeper = connection.cursor()
    try:
        keeper.execute(QUIET)
        _queue(keeper, is_alone=is_alone, wait_seconds=wait_seconds, purpose=purpose)
        yield
    finally:
        with suppress(duckdb.Error):  # the connection may have broken; then the lock is gone already
            keeper.execute("rollback")
        keeper.close()


def _acquire(descriptor: int, path: Path, *, wait_seconds: float) -> None:
    started = told = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            holder = path.read_text(encoding="utf-8").strip() or "an unnamed process"
            if now - started > wait_seconds:
                raise WarehouseError(_refusal(path.name, wait_seconds, holder)) from None
            if now - told > TELL_EVERY_SECONDS:
                told = now
                LOG.info("waiting %.0f s for the lake's write lock, held by %s", now - started, holder)
            time.sleep(_POLL_SECONDS)
        else:
            return


def _queue(keeper: duckdb.DuckDBPyConnection, *, is_alone: bool, wait_seconds: float, purpose: str) -> None:
    """Stand in the database's queue, so that nobody is overtaken for ever; step out of it to say a word."""
    started = time.monotonic()
    name = f"xmkt {os.getpid()}@{socket.gethostname()} {purpose}".encode()[:_LONGEST_NAME].decode(errors="ignore")
    shared = "" if is_alone else "_shared"
    while True:
        left = wait_seconds - (time.monotonic() - started)
        patience = max(1, int(1000 * min(TELL_EVERY_SECONDS, left)))
        keeper.execute("begin transaction")
        try:
            _ask(
                keeper,
                f"select set_config('application_name', {literal(name)}, true) as name, "
                f"set_config('lock_timeout', '{patience}ms', true) as patience, "
                f"pg_advisory_xact_lock{shared}({_ADVISORY_KEY})::text as lock",
            )
        except duckdb.Error as error:
            keeper.execute("rollback")
            if "lock timeout" not in str(error):
                raise
        else:
            return
        waited = time.monotonic() - started
        if waited >= wait_seconds:
            raise WarehouseError(_refusal("of the Postgres catalogue", wait_seconds, _holders(keeper)))
        LOG.info("waiting %.0f s for the lake's write lock, held by %s", waited, _holders(keeper))


def _holders(keeper: duckdb.DuckDBPyConnection) -> str:
    """Who holds the advisory lock: process and host, since when, what for."""
    rows = _ask(
        keeper,
        "select coalesce(nullif(a.application_name, ''), 'database process ' || a.pid) || ' since ' "
        "|| to_char(a.xact_start at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') || ' UTC' as holder "
        "from pg_locks as l join pg_stat_activity as a on a.pid = l.pid "
        f"where l.locktype = 'advisory' and l.granted and l.objid = {_ADVISORY_KEY} "
        "and l.database = (select oid from pg_database where datname = current_database()) order by a.xact_start",
    )
    return "; ".join(str(row[0]) for row in rows) or "an unnamed process"


def _ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[object, ...]]:
    """Rows of a query that Postgres itself answers."""
    return connection.execute(f"select * from postgres_query('{METADATA}', {literal(query)})").fetchall()


def _refusal(lock: str, wait_seconds: float, holder: str) -> str:
    return (
        f"The lake's write lock {lock} was held for {wait_seconds:.0f} s by {holder}. Wait for that run to end or stop "
        "it, then run again (XMKT_LOCK_WAIT_SECONDS says how long is waited); nothing was written."
    )


def _now() -> str:
    return f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='seconds')} UTC"
