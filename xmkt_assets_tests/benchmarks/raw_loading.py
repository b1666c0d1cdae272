"""Raw loading with validation, ledger and quarantine beside plain DuckDB reading of the same file.

Each turn is a process of its own (``python -m … raw_loading SIDE FOLDER``), so that peak memory is that side's alone.
The time counts from opening the database to the last commit, not the start of Python. CPU seconds are told beside the
wall clock: on a busy machine they say more. A small run: ``--raw-loading-rows 100000``.
"""

import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Final

import duckdb

from xmkt_assets_tests.benchmarks.measure import Comparison, take_turns

SIZES: Final = {"rows": 10_000_000}
DAY: Final = date(2026, 7, 1)
BAR: Final = 1.5
MOST_MIB: Final = 4096
FEED: Final = "course_views"
# Of 1000 rows one is no number, one lies on the day after, and one comes twice.
_ROWS: Final = """
    with numbered as (select case when i % 1000 = 2 then i + 1 else i end as i from range($rows) as r(i))
    select
        'cv_' || md5(cast(i as varchar))[:16] as view_id,
        'u' || (100000 + hash(i, 1) % 200000) as user_id,
        'c' || lpad(cast(hash(i, 2) % 5000 as varchar), 4, '0') as course_id,
        strftime(
            cast($day as timestamp) + to_seconds(cast(hash(i, 3) % 86400 as bigint))
            + case when i % 1000 = 1 then interval 1 day else interval 0 day end,
            '%Y-%m-%d %H:%M:%S'
        ) as viewed_at,
        case when i % 1000 = 0 then '不详' else cast(hash(i, 4) % 7200 as varchar) end as dwell_seconds,
        ['organic', 'search', 'campaign', 'insurer_page'][cast(1 + hash(i, 5) % 4 as bigint)] as source
    from numbered
"""


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    peaks: dict[str, list[float]] = {"ours": [], "duckdb": []}
    cpu: dict[str, list[float]] = {"ours": [], "duckdb": []}
    with tempfile.TemporaryDirectory() as folder:
        path = _write_file(Path(folder), sizes["rows"])
        size_mib = path.stat().st_size / 2**20

        def turn(side: str) -> float:
            found = _in_a_process(side, Path(folder))
            assert found["rows"] == sizes["rows"], f"{side} saw {found['rows']} rows of {sizes['rows']}"
            peaks[side].append(found["peak_mib"])
            cpu[side].append(found["cpu_seconds"])
            return found["seconds"]

        ours, peer = take_turns(lambda: turn("ours"), lambda: turn("duckdb"), repeats=repeats)
    ratio = statistics.median(cpu["ours"]) / statistics.median(cpu["duckdb"])
    note = (
        f"{size_mib:,.0f} MiB; peak {max(peaks['ours']):,.0f} MiB (at most {MOST_MIB:,}) against "
        f"{max(peaks['duckdb']):,.0f} MiB; CPU seconds {ratio:.2f} times the peer's"
    )
    return [Comparison(f"load {sizes['rows']:,} CSV rows", "create table as read_csv", ours, peer, BAR, note)]


def _write_file(folder: Path, rows: int) -> Path:
    path = folder / "landing" / "course_platform" / FEED / f"dt={DAY}" / f"{FEED}.csv"
    path.parent.mkdir(parents=True)
    relation = duckdb.sql(_ROWS, params={"rows": rows, "day": DAY})
    relation.write_csv(str(path), header=True)
    return path


def _in_a_process(side: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "xmkt_assets_tests.benchmarks.raw_loading", side, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"The side {side!r} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _load_ours(folder: Path, work: Path) -> int:
    from xmkt_assets.contracts import contracts
    from xmkt_assets.raw.landing import take_inventory
    from xmkt_assets.raw.load import load_feed
    from xmkt_assets.warehouse import Lake

    feeds = contracts()
    files = take_inventory(folder / "landing", feeds, only_feed=FEED).files
    with Lake(work).session() as session:
        ledger = load_feed(session, feeds[FEED], files, run_id="benchmark", loaded_at=datetime(2026, 7, 2)).ledger
    (line,) = ledger.iter_rows(named=True)
    rows = int(line["rows_in"])
    planted = {"rows_quarantined": 2 * rows // 1000, "rows_duplicate": rows // 1000}
    found = {name: line[name] for name in planted}
    assert found == planted, f"planted {planted}, found {found}"
    return rows


def _load_plainly(folder: Path, work: Path) -> int:
    (path,) = (folder / "landing").rglob("*.csv")
    with duckdb.connect(str(work / "plain.duckdb")) as connection:
        connection.execute("create table course_views as select * from read_csv($path)", {"path": str(path)})
        row = connection.execute("select count(*) from course_views").fetchone()
    return int(row[0]) if row else 0


def _one_side(side: str, folder: Path) -> dict[str, float]:
    if side == "ours":  # the import is not part of the load; DuckDB imports the last two when it is given a list
        for name in ("xmkt_assets.raw.load", "pandas", "pyarrow"):
            importlib.import_module(name)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        started, used = time.perf_counter(), _cpu_seconds()
        rows = (_load_ours if side == "ours" else _load_plainly)(folder, Path(work))
        seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - used
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib, "rows": rows}


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(_one_side(sys.argv[1], Path(sys.argv[2]))))
