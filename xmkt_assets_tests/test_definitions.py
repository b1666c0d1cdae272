"""The platform as Dagster loads it: fast, whole, described, owned, in order, each asset in one job."""

import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from xmkt_assets.automation.jobs import ERASE, EVALUATE, LOAD, MAINTAIN, PLAN, RETRAIN, SCORE
from xmkt_assets.contracts import contracts
from xmkt_assets.definitions import MAY_BE_EMPTY, build_defs
from xmkt_assets.known_tables import known_tables
from xmkt_assets.partitions import CAMPAIGNS, DAYS, contiguous, range_tags
from xmkt_assets.promises import FULL_LOOK
from xmkt_assets.raw.books import LEDGER, QUARANTINE
from xmkt_assets.raw.late import LATE
from xmkt_assets.resources import REPOSITORY, SQL_FOLDER, PartnerDrops
from xmkt_assets.sql_models import load_models
from xmkt_assets_tests.platform_helper import FIRST_DAY

FLOW = ("raw", "staging", "segments", "recommenders", "campaigns", "evaluation", "published")
BOOKS = {LEDGER, QUARANTINE, LATE}
HEAVY = ("torch", "transformers", "mlflow", "sklearn", "lightgbm", "implicit", "scipy", "matplotlib", "pandas")
JOBS = (LOAD, RETRAIN, SCORE, PLAN, EVALUATE, ERASE, MAINTAIN)


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs()


@pytest.fixture(scope="module")
def nodes(defs: dg.Definitions) -> dict[str, Any]:
    """Every asset of the graph by table name."""
    return {".".join(node.key.path): node for node in defs.resolve_asset_graph().asset_nodes}


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment from the repository, with a home of its own."""
    (home / "dagster").mkdir(exist_ok=True)
    own = {"XMKT_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XMKT_", "DAGSTER_"))} | own
    return subprocess.run(
        arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fresh_interpreter_builds_everything_without_a_heavy_library(tmp_path: Path) -> None:
    code = (
        "import json, sys, xmkt_assets.definitions as d; d.defs().resolve_asset_graph(); "
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    done = command(tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"dagster", "polars", "duckdb"} < loaded
    assert loaded & set(HEAVY) == set()


def test_dagster_validates_the_workspace(tmp_path: Path) -> None:
    done = command(tmp_path, program("dagster"), "definitions", "validate", "-w", "workspace.yaml")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Validation successful for code location xmkt_assets." in said


def test_dg_checks_the_project(tmp_path: Path) -> None:
    done = command(tmp_path, program("dg"), "check", "defs")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "All definitions loaded successfully." in said


def test_the_definitions_are_loadable_and_build_without_a_warning_of_dagster() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        built = build_defs()
        dg.Definitions.validate_loadable(built)
        for job in JOBS:
            built.resolve_job_def(job)


def test_resources_can_be_replaced() -> None:
    drops = PartnerDrops(landing="/elsewhere")
    assert build_defs(resource_overrides={"drops": drops}).resources["drops"] is drops


# ── every asset ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_asset_has_a_stage_an_owner_a_description_and_kinds(nodes: dict[str, Any]) -> None:
    assert len(nodes) > 60
    for table, node in nodes.items():
        assert node.group_name in (*FLOW, "lake"), table
        assert node.group_name == table.split(".")[0], table
        assert node.owners, table
        assert all(owner.startswith("team:") for owner in node.owners), table
        assert len(node.description or "") > 30, table
        assert node.kinds, table


def test_every_table_says_under_which_name_it_lies_in_the_lake(nodes: dict[str, Any]) -> None:
    named = {t: n.metadata.get("dagster/table_name") for t, n in nodes.items()}
    assert {t for t, name in named.items() if name not in (None, t)} == set()
    sql = load_models(SQL_FOLDER)
    assert all(named[t] == t for t in [*sql, *(f"raw.{feed}" for feed in contracts()), *BOOKS])


def test_every_table_shows_every_column_with_its_meaning_before_it_was_ever_made(nodes: dict[str, Any]) -> None:
    no_tables = {"campaigns.exports", "published.xmkt_duckdb", "lake.maintenance"}
    for table in nodes.keys() - no_tables:
        columns = nodes[table].metadata["dagster/column_schema"].columns
        assert columns, table
        assert [c.name for c in columns if len(c.description or "") < 3] == [], table
    for table, known in known_tables().items():
        assert [c.name for c in nodes[table].metadata["dagster/column_schema"].columns] == list(known), table


def test_a_sql_table_shows_its_file_its_grain_and_its_text_apart_from_its_description(nodes: dict[str, Any]) -> None:
    for table, model in load_models(SQL_FOLDER).items():
        shown = nodes[table].metadata
        assert shown["file"] == model.path, table
        assert shown["sql"].value == f"```sql\n{model.sql}\n```", table
        assert (REPOSITORY / model.path).samefile(shown["dagster/code_references"].code_references[0].file_path)
        assert "select" not in nodes[table].description, table


def test_every_table_that_a_load_or_a_training_makes_says_how_old_it_may_grow(nodes: dict[str, Any]) -> None:
    def hours(window: Any) -> float:
        return window.to_timedelta().total_seconds() / 3600

    without = {t for t, node in nodes.items() if node.freshness_policy is None}
    by_request = {"staging.erasures", "raw.erased_subjects", "raw.quarantine_fixes"}
    assert without == BOOKS | by_request | {t for t in nodes if t.startswith("campaigns.")}
    windows = {
        t: (hours(n.freshness_policy.warn_window), hours(n.freshness_policy.fail_window))
        for t, n in nodes.items()
        if t not in without
    }
    late_days = contracts()["course_orders"].late_days
    assert windows["raw.course_orders"] == windows["staging.course_orders"] == (36, 36 + 24 * late_days)
    assert windows["raw.courses"] == windows["staging.courses"] == (36, 60)
    assert windows["segments.person_profile"] == windows["staging.gate_profiling"] == (72, 192)


def test_every_table_of_events_can_be_looked_through_for_repeats_and_no_job_does_it_by_the_way(
    defs: dg.Definitions,
) -> None:
    wanted = {
        dg.AssetCheckKey(dg.AssetKey(t.split(".")), FULL_LOOK)
        for t, m in load_models(SQL_FOLDER).items()
        if m.kind == "partition" and not m.is_snapshot and m.partition_column not in m.grain
    }
    assert wanted
    assert {k for k in defs.resolve_asset_graph().asset_check_keys if k.name == FULL_LOOK} == wanted
    for job in JOBS:
        assert not [n for n in defs.resolve_job_def(job).nodes if FULL_LOOK in n.name], job


def test_every_sql_file_and_every_contract_is_an_asset(nodes: dict[str, Any]) -> None:
    assert load_models(SQL_FOLDER).keys() <= nodes.keys()
    assert {f"raw.{feed}" for feed in contracts()} <= nodes.keys()


def test_what_names_people_or_their_accounts_is_tagged_as_personal(nodes: dict[str, Any]) -> None:
    accounts = {"person_id", "user_id", "customer_id", "subject_id", "fixed_text"}  # a mended row names its person
    columns = {t: {c.name for c in m.columns} for t, m in load_models(SQL_FOLDER).items()}
    columns |= {t: set(names) for t, names in known_tables().items()}
    tagged = {t for t in columns if nodes[t].tags.get("personal") == "yes"}
    assert tagged == {t for t, names in columns.items() if names & accounts}


def test_tables_that_may_be_missing_at_first_are_tables_of_the_graph(nodes: dict[str, Any]) -> None:
    assert set(MAY_BE_EMPTY) <= nodes.keys()


# ── the graph looks like the flow ────────────────────────────────────────────────────────────────────────────────────


def test_data_flows_only_forward_through_the_stages(nodes: dict[str, Any]) -> None:
    back = [
        (".".join(parent.path), table)
        for table, node in nodes.items()
        for parent in node.parent_keys
        if FLOW.index(parent.path[0]) > FLOW.index(table.split(".")[0])
    ]
    assert back == []


def test_every_stage_is_fed_by_the_one_before_it_or_an_earlier_one_and_feeds_a_later(nodes: dict[str, Any]) -> None:
    steps = {(parent.path[0], table.split(".")[0]) for table, node in nodes.items() for parent in node.parent_keys}
    steps = {(a, b) for a, b in steps if a != b}
    assert {b for _, b in steps} == set(FLOW) - {"raw"}
    assert {a for a, _ in steps} == set(FLOW) - {"published"}
    chain = {("raw", "staging"), ("staging", "segments"), ("recommenders", "campaigns"), ("campaigns", "evaluation")}
    assert chain <= steps


def test_campaign_tables_are_partitioned_by_campaign_and_all_others_by_day_or_not(
    nodes: dict[str, Any],
) -> None:
    for table, node in nodes.items():
        wanted = (CAMPAIGNS,) if table.startswith("campaigns.") else (DAYS, None)
        assert node.partitions_def in wanted, table


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def members(defs: dg.Definitions, job: str) -> set[str]:
    return {".".join(key.path) for key in defs.resolve_job_def(job).asset_layer.executable_asset_keys}


def test_every_asset_is_in_exactly_one_job(defs: dg.Definitions, nodes: dict[str, Any]) -> None:
    """But the books, which the feeds write along; and scoring, which is a part of retraining."""
    times = Counter(table for job in JOBS if job != SCORE for table in members(defs, job))
    assert times == Counter(nodes.keys() - BOOKS)


def test_the_gates_are_built_with_the_models_and_everything_else_of_staging_with_the_load(defs: dg.Definitions) -> None:
    models = {t: m for t, m in load_models(SQL_FOLDER).items() if t.startswith("staging.")}
    snapshots = {t for t, m in models.items() if m.is_snapshot}
    snapshots |= {t for t, m in models.items() if m.reads & snapshots} | {"staging.cleaning_rules"}
    assert {"staging.gate_profiling", "staging.consent_decisions", "staging.do_not_contact"} <= snapshots
    staging = {t for t in load_models(SQL_FOLDER) if t.startswith("staging.")}
    assert members(defs, RETRAIN) & staging == snapshots
    assert members(defs, LOAD) & staging == staging - snapshots


def test_scoring_is_retraining_without_the_recommenders_and_says_so_by_its_tag(defs: dg.Definitions) -> None:
    without = {t for t in members(defs, RETRAIN) if not t.startswith("recommenders.")}
    assert members(defs, SCORE) == without > {"staging.gate_profiling", "segments.person_profile"}
    tags = {job: defs.resolve_job_def(job).tags.get("xmkt/models") for job in JOBS}
    assert tags == {**dict.fromkeys(JOBS), SCORE: "standing"}


def test_no_job_mixes_backfill_policies(defs: dg.Definitions, nodes: dict[str, Any]) -> None:
    """Dagster would take the smallest for all of them, and a range of a year would become 365 runs."""
    for job in JOBS:
        partitioned = [nodes[t] for t in members(defs, job) if nodes[t].partitions_def]
        policies = {node.backfill_policy for node in partitioned}
        assert len(policies) <= 1, job
    assert {n.backfill_policy for t, n in nodes.items() if t in members(defs, LOAD) and n.partitions_def} == {
        dg.BackfillPolicy.single_run()
    }


def test_jobs_run_in_process(defs: dg.Definitions) -> None:
    """Ten small assets take 6 s so, and 41 s with Dagster's default executor."""
    assert {defs.resolve_job_def(job).executor_def.name for job in JOBS} == {"in_process"}


def test_every_job_says_what_it_does(defs: dg.Definitions) -> None:
    assert all(len(defs.resolve_job_def(job).description or "") > 30 for job in JOBS)


# ── days ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_adjacent_days_make_one_range_whatever_their_order_and_repeats() -> None:
    one, two, three, five = (FIRST_DAY.replace(day=n) for n in (1, 2, 3, 5))
    assert contiguous([three, one, five, two, one]) == [(one, three), (five, five)]
    assert contiguous([]) == []
    assert range_tags(one, three) == {
        "dagster/asset_partition_range_start": one.isoformat(),
        "dagster/asset_partition_range_end": three.isoformat(),
    }
