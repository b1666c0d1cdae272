"""The tables that no SQL file makes: the same as the assets in Python, with the columns and types these write."""

import dagster as dg
import duckdb
import polars as pl
import pytest

from xmkt_assets.assets import STAGES
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_SCHEMA, EXCLUSIONS_SCHEMA
from xmkt_assets.contracts import contracts
from xmkt_assets.definitions import NO_TABLES
from xmkt_assets.erasure import suppression, work
from xmkt_assets.evaluation.tables import CURVES_SCHEMA, RESULTS_SCHEMA
from xmkt_assets.identity_terms import KEYS_SCHEMA, KEYS_TABLE, RULES_SCHEMA, RULES_TABLE
from xmkt_assets.known_tables import known_tables
from xmkt_assets.notices import SCHEMA as NOTICES_SCHEMA
from xmkt_assets.overlap import COLUMNS as OVERLAP_COLUMNS
from xmkt_assets.overlap import TABLE as OVERLAP
from xmkt_assets.raw.books import LEDGER, LEDGER_SCHEMA, QUARANTINE, QUARANTINE_SCHEMA
from xmkt_assets.raw.fixes import FIXES, FIXES_SCHEMA
from xmkt_assets.raw.late import LATE, LATE_COLUMNS
from xmkt_assets.recommenders.base import RECOMMENDATION_SCHEMA
from xmkt_assets.recommenders.evaluate import LEADERBOARD_SCHEMA
from xmkt_assets.recommenders.promote import DECISION_SCHEMA
from xmkt_assets.recommenders.tables import MEANINGS
from xmkt_assets.segments import drift_table
from xmkt_assets.segments.cluster_choice import CHOICE_SCHEMA
from xmkt_assets.segments.clusters import PEOPLE_SCHEMA
from xmkt_assets.segments.fairness import FAIRNESS_COLUMNS, FAIRNESS_SCHEMA
from xmkt_assets.segments.interest_rules import RULES_COLUMNS
from xmkt_assets.segments.interest_rules import RULES_SCHEMA as INTEREST_RULES_SCHEMA
from xmkt_assets.segments.next_interest import SCORES_COLUMNS
from xmkt_assets.segments.next_interest import SCORES_SCHEMA as NEXT_SCHEMA
from xmkt_assets.segments.rules import findings
from xmkt_assets.segments.rules import tables as rules_tables
from xmkt_assets.segments.score_tables import meanings
from xmkt_assets.segments.scoring import COMPARISON_SCHEMA, VALIDATION_SCHEMA, scores_schema
from xmkt_assets.segments.tables import CHOICE_COLUMNS, CLUSTERS_COLUMNS
from xmkt_assets.segments.targets import TARGETS
from xmkt_assets.sql_models import SQL_FOLDER
from xmkt_assets.withdrawals import APPLIED
from xmkt_assets.withdrawals import SCHEMA as APPLIED_SCHEMA

WHOLE = {
    LEDGER: LEDGER_SCHEMA,
    QUARANTINE: QUARANTINE_SCHEMA,
    FIXES: FIXES_SCHEMA,
    KEYS_TABLE: KEYS_SCHEMA,
    RULES_TABLE: RULES_SCHEMA,
    "staging.notices": NOTICES_SCHEMA,
    APPLIED: APPLIED_SCHEMA,
    work.ERASURES: work.SCHEMA,
    "campaigns.campaign_list": CAMPAIGN_LIST_SCHEMA,
    "campaigns.exclusions": EXCLUSIONS_SCHEMA,
    drift_table.TABLE: drift_table.SCHEMA,
    "evaluation.experiment_results": RESULTS_SCHEMA,
    "evaluation.uplift_curves": CURVES_SCHEMA,
}
# Tables whose asset adds columns of its own to what the schema says: the day, the target, the version of the model.
PARTLY = {
    "segments.cluster_choice": CHOICE_SCHEMA,
    "segments.person_clusters": PEOPLE_SCHEMA,
    "segments.fairness": FAIRNESS_SCHEMA,
    "segments.next_interest": NEXT_SCHEMA,
    "segments.interest_rules": INTEREST_RULES_SCHEMA,
    "segments.association_rules": findings.RULES_SCHEMA,
    **{target.table: scores_schema(target) for target in TARGETS},
    **{target.validation_table: VALIDATION_SCHEMA for target in TARGETS},
    **{target.comparison_table: COMPARISON_SCHEMA for target in TARGETS},
    **{f"recommenders.{target}_leaderboard": LEADERBOARD_SCHEMA for target in ("course", "product")},
    **{f"recommenders.{target}_champion": DECISION_SCHEMA for target in ("course", "product")},
    **{f"recommenders.{target}_recommendations": RECOMMENDATION_SCHEMA for target in ("course", "product")},
}
NAMED = {
    OVERLAP: OVERLAP_COLUMNS,
    drift_table.TABLE: drift_table.COLUMNS,
    LATE: LATE_COLUMNS,
    suppression.TABLE: suppression.COLUMNS,
    "segments.cluster_choice": CHOICE_COLUMNS,
    "segments.person_clusters": CLUSTERS_COLUMNS,
    "segments.fairness": FAIRNESS_COLUMNS,
    "segments.next_interest": SCORES_COLUMNS,
    "segments.interest_rules": RULES_COLUMNS,
    "segments.association_rules": rules_tables.RULES_COLUMNS,
    **{table: m.columns for target in TARGETS for table, m in meanings(target).items()},
    **{f"recommenders.{t}_{name}": m.columns for name, m in MEANINGS.items() for t in ("course", "product")},
}


def duckdb_types(schema: object) -> dict[str, str]:
    frame = pl.DataFrame(schema=schema)  # type: ignore[arg-type]
    with duckdb.connect() as con:
        con.register("frame", frame)
        return {row[0]: row[1] for row in con.execute("describe select * from frame").fetchall()}


def test_every_table_of_a_python_asset_is_known_and_no_other() -> None:
    """To mend it: a line in ``known_tables``, so that SQL files that read the table are checked against its columns."""
    made = {
        ".".join(key.path)
        for stage in STAGES.values()
        for asset in stage
        for key in ([asset.key] if isinstance(asset, dg.AssetSpec) else asset.keys)
    }
    assert known_tables().keys() == made - NO_TABLES


def test_no_sql_file_makes_a_table_of_them() -> None:
    assert [t for t in known_tables() if (SQL_FOLDER / f"{t.replace('.', '/')}.sql").exists()] == []


@pytest.mark.parametrize("table", WHOLE)
def test_columns_and_types_are_those_of_the_schema_the_rows_are_made_with(table: str) -> None:
    assert known_tables()[table] == duckdb_types(WHOLE[table])


@pytest.mark.parametrize("table", PARTLY)
def test_columns_that_a_schema_names_have_its_types(table: str) -> None:
    known = known_tables()[table]
    types = duckdb_types(PARTLY[table])
    assert {name: known[name] for name in types} == types


@pytest.mark.parametrize("table", NAMED)
def test_columns_are_those_that_have_a_meaning(table: str) -> None:
    assert set(known_tables()[table]) == set(NAMED[table])


def test_a_feed_has_the_columns_of_its_contract_between_those_of_its_delivery() -> None:
    contract = contracts()["courses"]
    columns = known_tables()["raw.courses"]
    assert list(columns) == [
        *("partner", "dt", *contract.column_names, "source_file", "source_row", "loaded_at"),
    ]
    assert (columns["price_fen"], columns["updated_at"], columns["dt"]) == ("BIGINT", "TIMESTAMP", "DATE")
