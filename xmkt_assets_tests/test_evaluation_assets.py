"""The evaluation assets on a lake: both tables, what the user sees, and no experiment at all."""

import os
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from xmkt_assets.assets.evaluation import CURVES, RESULTS, UpliftConfig, experiment_results, uplift_curves
from xmkt_assets.evaluation.tables import CURVES_COLUMNS, CURVES_SCHEMA, RESULTS_SCHEMA
from xmkt_assets.resources import Warehouse
from xmkt_assets.warehouse import Replace, Whole
from xmkt_assets_tests.test_evaluation import assigned

OUTCOMES = (
    *("has_course_view", "has_course_order", "has_course_repurchase", "has_policy", "has_policy_renewal"),
    *("has_visit", "has_conversion", "spend_fen", "currency"),
)


def lake(home: Path, people: pl.DataFrame, features: pl.DataFrame | None) -> Warehouse:
    made = Warehouse(home=str(home))
    key = ["campaign_id", "person_id"]
    given = {
        "evaluation.experiment_assignments": people.drop(OUTCOMES),
        "evaluation.experiment_outcomes": people.select(*key, *OUTCOMES),
    }
    given |= {} if features is None else {"segments.person_features": features}
    with made.session() as session:
        for number, rows in enumerate(given.values()):
            session.stage_rows(f"given_{number}", rows)
        session.commit([Replace(table, f"given_{number}", Whole()) for number, table in enumerate(given)])
    return made


def run(warehouse: Warehouse) -> dict[str, dict[str, dg.MetadataValue]]:
    """Metadata of both assets by table name."""
    config = dg.RunConfig({"evaluation__uplift_curves": UpliftConfig(bootstrap_count=20)})
    result = dg.materialize([experiment_results, uplift_curves], resources={"warehouse": warehouse}, run_config=config)
    assert result.success
    made = [e.materialization for e in result.get_asset_materialization_events()]
    return {".".join(m.asset_key.path): dict(m.metadata) for m in made}


def test_the_results_and_curves_of_a_list_reach_the_lake_and_the_page(tmp_path: Path) -> None:
    people = assigned(6000)
    young = np.arange(people.height) % 2 == 0
    works = pl.Series(np.random.default_rng(1).random(people.height) < 0.05 + 0.2 * young)
    people = people.with_columns(has_policy=works & (pl.col("arm") == "treatment") | pl.col("has_policy"))
    features = people.select("person_id", as_of_on="known_on", age_years=pl.Series(np.where(young, 25, 60)))
    later = features.with_columns(as_of_on=pl.lit(date(2026, 10, 1)), age_years=pl.lit(1))
    warehouse = lake(tmp_path, people, pl.concat([features, later.cast(features.schema)]))
    shown = run(warehouse)
    goal = warehouse.read(f"select * from {RESULTS} where is_goal").row(0, named=True)
    assert goal["verdict"] in str(shown[RESULTS]["results"].value)
    assert str(shown[RESULTS]["effects_autumn"].value).startswith("![effects of autumn with 95% intervals](data:image")
    learnt = warehouse.read(
        f"select * from {CURVES} where score_name = 't_learner' and metric = 'product_conversion_share'"
    )
    assert learnt.height == 21
    assert learnt["qini"][0] > 0
    assert "autumn, treatment, product_conversion_share by t_learner: Qini +" in str(shown[CURVES]["findings"].value)
    assert "curve_autumn_treatment" in shown[CURVES]


def test_a_lake_without_person_features_learns_no_score_and_says_so(tmp_path: Path) -> None:
    warehouse = lake(tmp_path, assigned(500), None)
    run(warehouse)
    notes = warehouse.read(
        f"select distinct note from {CURVES} where score_name = 't_learner' and metric = 'spend_fen'"
    )
    assert notes["note"].to_list() == ["no covariates"]


def test_without_any_experiment_both_tables_exist_and_are_empty(tmp_path: Path) -> None:
    warehouse = lake(tmp_path, assigned(10).clear(), None)
    shown = run(warehouse)
    assert shown[CURVES]["findings"].value == "no experiment"
    for table, schema in ((RESULTS, RESULTS_SCHEMA), (CURVES, CURVES_SCHEMA)):
        found = warehouse.read(f"select * from {table}")
        assert (found.height, found.columns) == (0, list(schema))


def test_the_columns_of_both_tables_carry_their_meaning_in_the_lake(tmp_path: Path) -> None:
    warehouse = lake(tmp_path, assigned(10).clear(), None)
    run(warehouse)
    with warehouse.session() as session:
        comments = session.read(
            "select column_name, comment from duckdb_columns() where table_name = 'uplift_curves' and not internal"
        )
    assert dict(comments.iter_rows()) == {name: meaning for name, (_, meaning) in CURVES_COLUMNS.items()}


@pytest.fixture(autouse=True)
def _no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from or written to the home of whoever runs the tests."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setitem(os.environ, "XMKT_HOME", str(tmp_path))
