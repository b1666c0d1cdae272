"""Run as a program: SQLite files without freed pages and without a write-ahead log, and words overwritten in them.

``python -m xmkt_assets.erasure.compact FILE…``; words come through the pipe, one a line, and every text that holds one
as a whole word gets asterisks there. It imports little, and never runs in a process that has these files open.
"""

import re
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

WAIT_SECONDS: Final = 60.0


def main(paths: Sequence[str], words: Sequence[str]) -> int:
    """Exit code 1 where readers kept a log from being emptied."""
    for path in paths:
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            if words:
                overwrite(connection, words)
            connection.execute("vacuum")
            if not _empty_log(connection):
                sys.stderr.write("Readers hold an older state of the catalog.")
                return 1
        finally:
            connection.close()
    return 0


def overwrite(connection: sqlite3.Connection, words: Sequence[str]) -> int:
    """Overwrite whole words in every text of every table; returns the number of texts changed."""
    masked = masking(words)
    connection.create_function("masked", 1, lambda value: _masked(value, masked), deterministic=True)
    changed = 0
    connection.execute("begin immediate")
    for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
        name = _quoted(table)
        for row in connection.execute(f"pragma table_info({name})").fetchall():
            column = _quoted(row[1])
            changed += connection.execute(
                f"update {name} set {column} = masked({column}) "
                f"where typeof({column}) in ('text', 'blob') and masked({column}) <> {column}"
            ).rowcount
    connection.execute("commit")
    return changed


def masking(words: Sequence[str]) -> Callable[[bytes], bytes]:
    """Overwrites whole words by asterisks of their length in bytes."""
    either = b"|".join(re.escape(w.encode()) for w in sorted(words, key=len, reverse=True))
    pattern = re.compile(rb"(?<![0-9A-Za-z_])(?:" + either + rb")(?![0-9A-Za-z_])")
    return lambda text: pattern.sub(lambda found: b"*" * len(found[0]), text)


def _masked(value: str | bytes, masked: Callable[[bytes], bytes]) -> str | bytes:
    return masked(value) if isinstance(value, bytes) else masked(value.encode()).decode()


def _empty_log(connection: sqlite3.Connection) -> bool:
    until = time.monotonic() + WAIT_SECONDS
    while connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], [word for word in sys.stdin.read().splitlines() if word]))
