"""What of this machine one run may use: threads and memory. Pure; the environment is read by ``resources``.

How the share is found, and why so:

* Memory is what the kernel would let this process have: the machine's, or less where a control group (a container, a
  systemd unit) says so, in version 1 or 2, at any level above this process.
* An eighth of it is left to the operating system, its file cache, the daemon and the web server.
* The rest is divided by the number of runs Dagster may have at once (`XMKT_MAX_RUNS`): all may be at their largest.
* Of a run's part DuckDB takes 60 %. The other 40 % are for Python (about 0.5 GiB after its imports), frames, models,
  and what DuckDB takes outside its buffers (lists, long strings, the files it writes).
* 23 GiB and 2 runs: 23 x 7/8 / 2 x 0.6 = 6.0 GiB for DuckDB in each run; 4 GiB: 1.0 GiB. What does not fit is spilled
  to the home.
* Processors are shared out evenly by the kernel, unlike memory, and a run is often alone: the threads are the
  processors (those allowed to this process, or the control group's quota) divided by the runs, but two where there
  are two.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OTHERS_SHARE: Final = 1 / 8
DUCKDB_SHARE: Final = 0.6
LEAST_MEMORY_MIB: Final = 256  # below it DuckDB can hardly sort
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process may use of the machine it runs on."""

    memory_mib: int
    cores: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one run's DuckDB may use."""

    threads: int
    memory_mib: int

    @property
    def memory_limit(self) -> str:
        """As DuckDB reads it."""
        return f"{self.memory_mib}MiB"


def share_of(machine: Machine, *, max_runs: int) -> Share:
    """One run's share where `max_runs` may run at once."""
    of_run = machine.memory_mib * (1 - OTHERS_SHARE) / max_runs
    memory_mib = max(LEAST_MEMORY_MIB, int(of_run * DUCKDB_SHARE))
    return Share(threads=max(min(2, machine.cores), machine.cores // max_runs), memory_mib=memory_mib)


def this_machine(root: Path = Path("/")) -> Machine:
    """Look at the machine; `root` is where /proc and /sys lie."""
    total_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    limits = [limit // _MIB for limit in _memory_limits_bytes(root)]
    quotas = [math.ceil(quota) for quota in _processor_quotas(root)]
    return Machine(min([total_mib, *limits]), max(1, min([len(os.sched_getaffinity(0)), *quotas])))


def _memory_limits_bytes(root: Path) -> Iterator[int]:
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (said := _text(folder / name)).isdigit():
                yield int(said)


def _processor_quotas(root: Path) -> Iterator[float]:
    """Processors' worth of time a second."""
    for folder in _groups(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # "max" and -1 are no limit
            yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of all above it, whichever exist as seen from here.

    In a container the group's own path is often not there; its limits then lie at the top of the mount.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        for mount in {root / "sys/fs/cgroup" / name for name in (controllers, controllers and controller)}:
            group = mount / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
