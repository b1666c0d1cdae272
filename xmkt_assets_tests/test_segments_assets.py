"""The Python assets of segments in Dagster, on a real lake and a real MLflow under a temporary home."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import NamedTuple

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from xmkt_assets.assets.segments import clusters, scores
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments.clusters import ValueClusters
from xmkt_assets.segments.scoring import ScoreModel
from xmkt_assets.segments.standing import STANDING_TAGS, StandingModel
from xmkt_assets.segments.tables import CLUSTERS_COLUMNS
from xmkt_assets_tests.test_segments_clusters import planted_people
from xmkt_assets_tests.test_segments_scores import planted_examples

DAY, EARLIER = date(2026, 9, 28), date(2026, 9, 27)
ASSETS = [*clusters.ASSETS, scores.ASSETS[0]]  # of the scores, claim risk
TOO_FEW = "not applicable: 20 people, wanted at least 50 to choose groups by"


class Home(NamedTuple):
    warehouse: Warehouse
    tracking: Tracking

    def materialise(self, day: date) -> dg.ExecuteInProcessResult:
        upstream = [
            dg.AssetSpec(["segments", t], partitions_def=ASSETS[0].partitions_def) for t in ("person_features",)
        ]
        return dg.materialize(
            [*ASSETS, *upstream],
            partition_key=day.isoformat(),
            resources=self._asdict(),
            instance=dg.DagsterInstance.ephemeral(),
        )

    def rows(self, table: str, day: date) -> pl.DataFrame:
        return self.warehouse.read(f"select * from segments.{table} where as_of_on = $day order by person_id", day=day)


def give(warehouse: Warehouse, day: date, features: pl.DataFrame, examples: pl.DataFrame) -> None:
    for table, rows in (("person_features", features), ("risk_examples", examples)):
        warehouse.replace(f"segments.{table}", rows.with_columns(as_of_on=pl.lit(day)), where={"as_of_on": day})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Plenty of people on `DAY`; on `EARLIER` too few for groups and no claims at all."""
    folder = str(tmp_path_factory.mktemp("home"))
    warehouse = Warehouse(home=folder)
    examples = planted_examples(people=1500).drop("truth", "happened")
    give(warehouse, DAY, planted_people(each=60)[0], examples)
    no_claims = examples.with_columns(has_claim_60d=pl.when(pl.col("has_claim_60d").is_not_null()).then(False))
    give(warehouse, EARLIER, planted_people(each=4)[0], no_claims)
    return Home(warehouse, Tracking(home=folder))


@pytest.fixture(scope="module")
def result(home: Home) -> dg.ExecuteInProcessResult:
    assert home.materialise(EARLIER).success
    return home.materialise(DAY)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    made = result.asset_materializations_for_node(f"segments__{asset}")
    (event,) = (event for event in made if event.asset_key.path[-1] == asset)
    return {key: value.value for key, value in event.metadata.items()}


def test_every_person_gets_one_group_and_every_insured_person_one_risk(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    groups, risks = home.rows("person_clusters", DAY), home.rows("claim_risk", DAY)
    assert groups.columns == list(CLUSTERS_COLUMNS)
    assert groups["person_id"].n_unique() == groups.height == 300
    assert risks["person_id"].n_unique() == risks.height == 1500
    assert groups["value_label"].n_unique() == 5
    assert risks["claim_risk_share"].null_count() == 0


def test_the_registered_models_are_the_ones_that_made_the_rows(home: Home, result: dg.ExecuteInProcessResult) -> None:
    groups, risks = home.rows("person_clusters", DAY), home.rows("claim_risk", DAY)
    standing = home.tracking.load("value_clusters", groups["model_version"][0])
    assert isinstance(standing, StandingModel)
    assert isinstance(standing.model, ValueClusters)
    again = standing.model.assign(home.rows("person_features", DAY))
    assert_frame_equal(again, groups.select(again.columns))
    risk_model = home.tracking.load("claim_risk", risks["model_version"][0])
    assert isinstance(risk_model, StandingModel)
    assert isinstance(risk_model.model, ScoreModel)
    to_score = home.rows("risk_examples", DAY).filter(pl.col("observed_at") == datetime(2026, 9, 29))
    assert risk_model.model.shares(to_score) == pytest.approx(risks["claim_risk_share"].to_numpy())


def test_mlflow_holds_the_numbers_with_intervals_the_pictures_and_the_way_back(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    client = home.tracking._tracker.client
    for asset, metric, files in (
        ("person_clusters", "silhouette", {"groups.json", "group_sizes.png", "model.pkl"}),
        ("claim_risk", "lightgbm_auc", {"candidates.json", "calibration.png", "model.pkl", "model_card.md"}),
    ):
        shown = metadata(result, asset)
        run = client.get_run(shown["mlflow/run_id"])
        low, value, high = (run.data.metrics[f"{metric}{end}"] for end in ("_low", "", "_high"))
        assert low < value < high
        assert {f.path for f in client.list_artifacts(run.info.run_id)} == files
        assert run.data.tags["dagster.asset_key"] == f"segments/{asset}"
        assert run.data.tags["dagster.partition_key"] == "2026-09-28"
        assert run.data.tags["warehouse_snapshot"] == str(shown["snapshot_read"])
        assert run.info.status == "FINISHED"


def test_the_ui_shows_sizes_centres_and_calibration(result: dg.ExecuteInProcessResult) -> None:
    groups, risks = metadata(result, "person_clusters"), metadata(result, "claim_risk")
    assert "| high value | 60 | 20.0% |" in str(groups["groups"])
    assert groups["outcome"] == risks["outcome"] == "applicable"
    for shown in (groups["group_sizes"], risks["calibration"]):
        assert "](data:image/png;base64,iVBOR" in str(shown)
    assert risks["chosen"] in str(risks["candidates"])
    assert groups["dagster/partition_row_count"] == 300


def test_what_cannot_be_estimated_is_stored_as_unknown_with_its_reason(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    groups, risks = home.rows("person_clusters", EARLIER), home.rows("claim_risk", EARLIER)
    assert groups.select("value_label", "model_version").unique().rows() == [("unknown", None)]
    assert groups["reason"].unique().to_list() == [TOO_FEW]
    assert risks.select("claim_risk_band", "claim_risk_share", "model").unique().rows() == [("unknown", None, None)]
    assert risks["reason"].str.contains("0 of 1500 people seen").all()


def test_a_day_made_again_replaces_its_own_rows_only(home: Home, result: dg.ExecuteInProcessResult) -> None:
    earlier, before = home.rows("person_clusters", EARLIER), home.rows("person_clusters", DAY)
    assert home.materialise(DAY).success
    assert_frame_equal(home.rows("person_clusters", EARLIER), earlier)
    assert_frame_equal(home.rows("person_clusters", DAY).drop("model_version"), before.drop("model_version"))
    assert home.rows("person_clusters", DAY)["model_version"].unique().to_list() == [2]


def test_with_a_standing_model_people_are_scored_and_nothing_is_learnt(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    before = home.rows("claim_risk", DAY)
    assert home.rows("claim_risk_validation", DAY).height == 1500
    again = dg.materialize(
        [scores.ASSETS[0]],
        partition_key=DAY.isoformat(),
        resources=home._asdict(),
        instance=dg.DagsterInstance.ephemeral(),
        tags=STANDING_TAGS,
    )
    assert again.success
    assert_frame_equal(home.rows("claim_risk", DAY), before)  # the version, too
    assert home.rows("claim_risk_validation", DAY).is_empty()
    compared = home.warehouse.read("select * from segments.claim_risk_comparison where as_of_on = $day", day=DAY)
    assert compared.is_empty()
