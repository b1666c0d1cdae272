"""What ``make sql-check`` prints, what it refuses, and that it needs neither Dagster nor a lake."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from xmkt_assets.resources import REPOSITORY
from xmkt_assets.sql_check import check, listed, mermaid
from xmkt_assets.sql_models import load_models

TYPES = {"raw.orders": {"order_id": "VARCHAR", "paid_fen": "BIGINT", "ordered_at": "TIMESTAMP"}}
EVENTS = """\
-- grain: order_id
-- partition: ordered_on
-- One row per order.
select
    order_id, -- Id of the order
    paid_fen, -- Price
    cast(ordered_at as date) as ordered_on -- Day (UTC)
from raw.orders
where ordered_at >= $start - interval 6 days and ordered_at < $end + interval 1 day
"""
TOTALS = """\
-- grain: ordered_on
-- One row per day.
select
    ordered_on, -- Day (UTC)
    cast(sum(paid_fen) as bigint) as paid_fen -- Money paid
from staging.orders
group by ordered_on
"""
FILES = {"staging/orders.sql": EVENTS, "segments/totals.sql": TOTALS}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, sql in files.items():
        path = folder / "dbt_like_sql" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sql, encoding="utf-8")
    return folder / "dbt_like_sql"


def test_a_sound_folder_is_listed_upstream_first_with_kind_grain_reads_and_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(write(tmp_path, FILES), known=TYPES) == 0
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "staging.orders partition by ordered_on grain order_id",
        "reads raw.orders, 6 days before and 1 days after",
        "segments.totals table grain ordered_on",
        "reads staging.orders",
        "2 models, 5 promises, 0 queries: all well.",
    ]


def test_days_read_only_to_recognise_repeats_are_told_apart(tmp_path: Path) -> None:
    folder = write(tmp_path, {"staging/orders.sql": f"-- mapping: same day\n{EVENTS}"})
    assert list(listed(load_models(folder)))[1].endswith("1 days after (to recognise repeats only)")


def test_mistakes_of_names_types_and_portability_come_together_and_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "staging/orders.sql": EVENTS.replace("paid_fen, -- Price", "payd_fen as paid_fen, -- Price"),
        "staging/typed.sql": EVENTS.replace("paid_fen, -- Price", "sum(ordered_at) as paid_fen, -- Price"),
        "staging/local.sql": EVENTS.replace("paid_fen, -- Price", "quantile_cont(paid_fen, 0.5) as paid_fen, -- Price"),
    }
    assert check(write(tmp_path, files), known=TYPES) == 1
    said = capsys.readouterr().err
    assert "mistakes in the SQL files:\n" in said
    assert "staging/orders.sql, line 6: raw.orders has no column 'payd_fen'. Did you mean paid_fen?" in said
    assert "staging/typed.sql, line 6: DuckDB refuses the query: No function matches" in said
    assert "staging/local.sql, line 6: quantile" in said


def test_a_file_for_duckdb_alone_need_not_be_portable(tmp_path: Path) -> None:
    local = TOTALS.replace("sum(paid_fen)", "quantile_cont(paid_fen, 0.5)")
    assert check(write(tmp_path, {**FILES, "segments/totals.sql": local}), known=TYPES) == 1
    local = f"-- engine: duckdb - quantile_cont has no exact counterpart\n{local}"
    assert check(write(tmp_path, {**FILES, "segments/totals.sql": local}), known=TYPES) == 0


def test_the_graph_can_be_drawn(tmp_path: Path) -> None:
    drawn = [line.strip() for line in mermaid(load_models(write(tmp_path, FILES)))]
    assert drawn[0] == "flowchart LR"
    assert "raw.orders([orders])" in drawn
    assert "staging.orders[orders]" in drawn
    assert {line for line in drawn if "-->" in line} == {
        "raw.orders --> staging.orders",
        "staging.orders --> segments.totals",
    }
    assert drawn.count("end") == 3


def test_the_command_reads_the_real_folder_and_imports_no_dagster() -> None:
    """Importing Dagster alone takes a second, of the two that the command may take."""
    program = (
        "import sys; from xmkt_assets.sql import main; code = main(['--check']); "
        "assert not {'dagster', 'polars', 'pandas', 'mlflow'} & sys.modules.keys(), sorted(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("queries: all well.")
