"""segments.fairness in Dagster: planted predictions on a real lake; an unfair score warns, and blocks nothing."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl
import pytest

from xmkt_assets.assets.segments import fairness
from xmkt_assets.purposes import SENSITIVE_TABLES
from xmkt_assets.resources import Warehouse
from xmkt_assets.segments.fairness import FAIRNESS_COLUMNS
from xmkt_assets.segments.targets import TARGETS
from xmkt_assets_tests.test_segments_fairness import simulated

EMPTY, FAIR, DAY = date(2026, 9, 26), date(2026, 9, 27), date(2026, 9, 28)
UNFAIR = "lapse_risk"


def give(warehouse: Warehouse) -> None:
    """The same 1500 people for every target; on `DAY` the scorer of `UNFAIR` takes 0.9 log-odds from the women."""

    def write(table: str, rows: dict[date, pl.DataFrame]) -> None:
        warehouse.replace(table, pl.concat(r.with_columns(as_of_on=pl.lit(day)) for day, r in rows.items()))

    fair, people = simulated(people=1500, bias=0.0, seed=2)
    unfair, _ = simulated(people=1500, bias=0.9, seed=2)
    for target in TARGETS:
        rows = {FAIR: fair, DAY: unfair if target.name == UNFAIR else fair}
        if target.name == "course_purchase":
            rows = {FAIR: fair}
        write(target.validation_table, rows)
    write("segments.person_features", {FAIR: people, DAY: people})
    labels = people.select("person_id", value_label=pl.Series(["high value", "steady", "steady"] * 500))
    write("segments.person_clusters", {FAIR: labels, DAY: labels})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Warehouse, dict[date, dg.ExecuteInProcessResult]]:
    warehouse = Warehouse(home=str(tmp_path_factory.mktemp("home")))
    results = {}
    give(warehouse)
    for day in (EMPTY, FAIR, DAY):
        results[day] = dg.materialize(
            fairness.ASSETS,
            partition_key=day.isoformat(),
            resources={"warehouse": warehouse},
            instance=dg.DagsterInstance.ephemeral(),
        )
    return warehouse, results


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("segments__fairness")
    return {key: value.value for key, value in event.metadata.items()}


def test_every_target_and_the_value_label_are_compared_by_both_attributes(made: Any) -> None:
    rows = made[0].read("select * from segments.fairness where as_of_on = $day", day=DAY)
    assert rows.columns == list(FAIRNESS_COLUMNS)
    compared = rows.filter(pl.col("attribute") != "all").select("target", "attribute").unique()
    judged = {t.name for t in TARGETS} - {"course_purchase"} | {"value_label"}
    assert set(compared.rows()) == {(t, a) for t in judged for a in ("gender", "age_band")}
    (left,) = rows.filter(attribute="all").iter_rows(named=True)
    assert left["target"] == "course_purchase"
    assert left["reason"].startswith("not applicable")


def test_an_unfair_score_warns_with_target_and_group_and_the_run_succeeds(made: Any) -> None:
    result = made[1][DAY]
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description.startswith("lapse_risk, gender female: selected 0.")
    assert "four-fifths rule" in check.description
    assert check.description.count("gender") == 1


def test_fair_scores_pass(made: Any) -> None:
    (check,) = made[1][FAIR].get_asset_check_evaluations()
    assert check.passed
    assert check.description == "nothing to look into"


def test_the_page_says_it_in_words_and_shows_table_and_picture_and_no_sample(made: Any) -> None:
    page = shown(made[1][DAY])
    assert "- lapse_risk, gender female: selected 0." in str(page["findings"])
    assert "- claim_risk: nothing to look into among 5 groups" in str(page["findings"])
    assert "](data:image/png;base64,iVBOR" in str(page["how_groups_fare"])
    assert "| product_purchase | gender | female |" in str(page["groups"])
    assert str(page["sample"]).startswith("none")
    assert "segments.fairness" in SENSITIVE_TABLES


def test_without_anybody_the_table_says_not_applicable_and_there_is_no_picture(made: Any) -> None:
    result = made[1][EMPTY]
    assert result.success
    assert "how_groups_fare" not in shown(result)
    rows = made[0].read("select * from segments.fairness where as_of_on = $day", day=EMPTY)
    assert rows.height == len(TARGETS) + 1
    assert rows["reason"].str.starts_with("not applicable").all()
