"""Where DuckDB puts what does not fit in memory: ``<home>/spill``, a folder per instance, removed when it is left over.

An instance removes its own folder when it closes. One that was killed leaves rows behind, personal ones included; the
next that opens a lake of this home on the same host removes them.
"""

import itertools
import os
import shutil
import socket
from pathlib import Path
from typing import Final

from xmkt_assets.processes import is_running

FOLDER: Final = "spill"
_numbers: Final = itertools.count()


def spill_setting(home: Path) -> dict[str, str]:
    """DuckDB setting of a spill folder nobody else uses; none where this user may not write to the home."""
    folder = home / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    remove_left_over(home)
    return {"temp_directory": str(folder / f"{_host()}-{os.getpid()}-{next(_numbers)}")}


def remove_left_over(home: Path) -> list[str]:
    """Remove the folders of processes of this host that have ended; returns their names."""
    removed = []
    for folder in (home / FOLDER).glob(f"{_host()}-*-*"):
        process_id = int(folder.name.split("-")[-2])
        if not is_running(process_id):
            shutil.rmtree(folder, ignore_errors=True)  # another process may remove it at the same time
            removed.append(folder.name)
    return removed


def _host() -> str:
    return socket.gethostname().replace("-", "_")
