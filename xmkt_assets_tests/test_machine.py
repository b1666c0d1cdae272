"""What of the machine a run may use, and where what does not fit in memory goes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.machine import LEAST_MEMORY_MIB, Machine, Share, share_of, this_machine
from xmkt_assets.spill import remove_left_over, spill_setting
from xmkt_assets.warehouse import Lake

GIB = 1 << 30
NO_LIMIT_V1 = "9223372036854771712"


@pytest.mark.parametrize(
    ("memory_mib", "cores", "max_runs", "threads", "expected_mib"),
    [
        (16_000, 8, 2, 4, 4200),  # 16000 x 7/8 / 2 x 0.6
        (16_000, 8, 1, 8, 8400),
        (24_105, 2, 2, 2, 6327),  # two threads where there are two processors, however many runs
        (4_096, 1, 2, 1, 1075),
        (600, 4, 4, 2, LEAST_MEMORY_MIB),
    ],
)
def test_a_share_is_what_the_rules_of_the_module_say(
    memory_mib: int, cores: int, max_runs: int, threads: int, expected_mib: int
) -> None:
    assert share_of(Machine(memory_mib, cores), max_runs=max_runs) == Share(threads, expected_mib)


@settings(max_examples=50, deadline=None)
@given(st.integers(2_000, 4_000_000), st.integers(1, 256), st.integers(1, 8))
def test_all_runs_together_leave_room_for_python_and_for_the_others(memory_mib: int, cores: int, runs: int) -> None:
    share = share_of(Machine(memory_mib, cores), max_runs=runs)
    if share.memory_mib > LEAST_MEMORY_MIB:
        assert runs * share.memory_mib <= 0.53 * memory_mib
    assert 1 <= share.threads <= cores


def groups(root: Path, cgroup: str, **files: str) -> Path:
    """A machine's /proc and /sys as one process sees them; ``__`` stands for a slash, ``_`` before a name's dot."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_a_container_of_version_2_is_seen_at_the_top_of_its_mount(tmp_path: Path) -> None:
    root = groups(tmp_path, "0::/\n", memory_DOT_max=str(GIB), cpu_DOT_max="50000 100000")
    assert this_machine(root) == Machine(memory_mib=1024, cores=1)


def test_the_narrowest_group_on_the_way_up_counts(tmp_path: Path) -> None:
    root = groups(
        tmp_path,
        "0::/user.slice/run.scope\n",
        **{"user.slice__memory_DOT_max": str(2 * GIB), "user.slice__run.scope__memory_DOT_max": "max"},
    )
    assert this_machine(root).memory_mib == 2048


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    root = groups(
        tmp_path,
        "4:memory:/job/7\n2:cpu,cpuacct:/job\n1:name=systemd:/\n",
        memory__memory_DOT_limit_in_bytes=NO_LIMIT_V1,
        memory__job__7__memory_DOT_limit_in_bytes=str(GIB // 2),
        **{"cpu,cpuacct__job__cpu_DOT_cfs_quota_us": "100000", "cpu,cpuacct__job__cpu_DOT_cfs_period_us": "100000"},
    )
    assert this_machine(root) == Machine(memory_mib=512, cores=1)


def test_without_limits_the_whole_machine_counts(tmp_path: Path) -> None:
    whole = Machine(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20, len(os.sched_getaffinity(0)))
    assert this_machine(tmp_path) == whole
    unlimited = {"memory_DOT_max": "max", "cpu_DOT_max": "max 100000", "cpu__cpu_DOT_cfs_quota_us": "-1"}
    assert this_machine(groups(tmp_path, "0::/\n1:cpu:/\n", **unlimited)) == whole


# --- what does not fit ---------------------------------------------------------------------------------------------


def test_what_does_not_fit_in_memory_is_spilled_to_the_home_and_taken_away(tmp_path: Path) -> None:
    lake = Lake(tmp_path, threads=1, memory_limit="60MB")
    with lake.session() as session:
        session.stage("large", "select range as a, hash(range) as b, md5(range::varchar) as c from range(1_500_000)")
        folder = Path(str(session.read("select current_setting('temp_directory') as t").item()))
        assert folder.parent == tmp_path / "spill"
        assert sum(f.stat().st_size for f in folder.iterdir()) > 1_000_000
        assert session.read("select count(distinct c) as n from large").item() == 1_500_000
    assert not folder.exists() or sum(f.stat().st_size for f in folder.iterdir()) == 0


def test_what_a_killed_process_spilled_is_removed_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname().replace("-", "_")
    left, own, elsewhere = f"{host}-{ended.pid}-0", f"{host}-{os.getpid()}-7", f"elsewhere-{ended.pid}-0"
    for name in (left, own, elsewhere):
        (tmp_path / "spill" / name).mkdir(parents=True)
        (tmp_path / "spill" / name / "duckdb_temp_storage-0.tmp").write_text("rows of people")
    Lake(tmp_path, threads=1).replace("w.t", pl.DataFrame({"a": [1]}))
    assert {p.name for p in (tmp_path / "spill").iterdir()} == {own, elsewhere}
    assert remove_left_over(tmp_path) == []


def test_two_instances_of_a_process_do_not_share_a_folder(tmp_path: Path) -> None:
    assert spill_setting(tmp_path) != spill_setting(tmp_path)


def test_who_may_not_write_to_the_home_can_still_read_its_lake(tmp_path: Path) -> None:
    (tmp_path / "spill").write_text("a file where the folder would be")
    assert spill_setting(tmp_path) == {}
