"""The next interest in Dagster, on a real lake and a real MLflow under a temporary home."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from xmkt_assets.assets.segments.next_interest import ASSETS
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import next_interest
from xmkt_assets.segments.standing import STANDING_TAGS, StandingModel
from xmkt_assets_tests.test_segments_next import planted_examples

DAY, EARLIER, LATER = date(2026, 9, 28), date(2026, 9, 27), date(2026, 9, 29)
END = datetime(2026, 9, 29)


class Home(NamedTuple):
    warehouse: Warehouse
    tracking: Tracking

    def materialise(self, day: date, **tags: str) -> dg.ExecuteInProcessResult:
        result = dg.materialize(
            [*ASSETS, dg.AssetSpec(["segments", "interest_examples"], partitions_def=DAYS)],
            partition_key=day.isoformat(),
            resources=self._asdict(),
            tags=tags,
            instance=dg.DagsterInstance.ephemeral(),
        )
        assert result.success
        return result

    def rows(self, table: str, day: date) -> pl.DataFrame:
        return self.warehouse.read(f"select * from segments.{table} where as_of_on = $day order by all", day=day)

    def give(self, day: date, examples: pl.DataFrame) -> None:
        rows = examples.with_columns(as_of_on=pl.lit(day))
        self.warehouse.replace("segments.interest_examples", rows, where={"as_of_on": day})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Plenty of people on `DAY`; on `EARLIER` too few that are known to have turned to anything; `LATER` as `DAY`, with
    one more topic."""
    folder = str(tmp_path_factory.mktemp("home"))
    home = Home(Warehouse(home=folder), Tracking(home=folder))
    labelled = planted_examples(people=800)
    to_score = planted_examples(people=300, seed=1).with_columns(next_topic=pl.lit(None, pl.String))
    new_topic = to_score.head(5).with_columns(topic=pl.lit("天文"))
    home.give(DAY, pl.concat([labelled, to_score]))
    home.give(EARLIER, pl.concat([labelled.filter(pl.col("person_id") < "p00050"), to_score]))
    home.give(LATER, pl.concat([to_score, new_topic]))
    return home


@pytest.fixture(scope="module")
def result(home: Home) -> dg.ExecuteInProcessResult:
    home.materialise(EARLIER)
    return home.materialise(DAY)


def metadata(result: dg.ExecuteInProcessResult, table: str) -> dict[str, Any]:
    key = dg.AssetKey(["segments", table])
    (event,) = [e.materialization for e in result.get_asset_materialization_events() if e.asset_key == key]
    return {name: value.value for name, value in event.metadata.items()}


def test_every_person_gets_three_ranked_topics_and_the_rules_of_the_same_model(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    people, rules = home.rows("next_interest", DAY), home.rows("interest_rules", DAY)
    assert people.height == 3 * people["person_id"].n_unique() == 900
    assert people.group_by("person_id").agg(pl.col("rank").sort())["rank"].to_list() == [[1, 2, 3]] * 300
    assert people["topic"].null_count() == people["why"].null_count() == 0
    assert people["model_version"].unique().to_list() == rules["model_version"].unique().to_list() == [1]
    assert rules.filter("is_above_chance").height >= 3


def test_the_registered_model_is_the_one_that_made_the_rows(home: Home, result: dg.ExecuteInProcessResult) -> None:
    standing = home.tracking.load("next_interest", 1)
    assert isinstance(standing, StandingModel)
    assert isinstance(standing.model, next_interest.NextInterestModel)
    assert (standing.trained_as_of, standing.features[0]) == (DAY, "topic")
    to_score = home.rows("interest_examples", DAY).filter(pl.col("next_topic").is_null())
    again = next_interest.score(standing.model, to_score).rows
    stored = home.rows("next_interest", DAY).sort("person_id", "rank")
    assert_frame_equal(again, stored.select(again.columns))


def test_mlflow_holds_the_numbers_with_intervals_and_the_pictures(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    client, shown = home.tracking._tracker.client, metadata(result, "next_interest")
    run = client.get_run(shown["mlflow/run_id"])
    for metric in ("gain", "cart_log_loss", "random_forest_top_3", "strongest_topic_so_far_top_1"):
        low, value, high = (run.data.metrics[f"{metric}{end}"] for end in ("_low", "", "_high"))
        assert low <= value <= high, metric
    pictures = {"tree.png", "importance.png", "calibration.png"}
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {
        *pictures,
        *("candidates.json", "rules.json", "model.pkl"),
    }
    assert run.data.tags["dagster.asset_key"] == "segments/next_interest"


def test_the_ui_shows_the_comparison_the_rules_and_the_tree(result: dg.ExecuteInProcessResult) -> None:
    people, rules = metadata(result, "next_interest"), metadata(result, "interest_rules")
    assert people["outcome"] == rules["outcome"] == "applicable"
    assert "strongest topic so far" in str(people["candidates"])
    assert "理财" in str(rules["rules"])
    for shown in (people["importance"], people["calibration"], rules["tree"]):
        assert "](data:image/png;base64,iVBOR" in str(shown)
    assert (people["dagster/partition_row_count"], rules["rules_above_chance"]) == (900, 3)


def test_what_cannot_be_learnt_is_stored_without_a_topic_and_with_its_reason(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    people = home.rows("next_interest", EARLIER)
    assert people.select("rank", "topic", "share", "why", "model", "model_version").unique().rows() == [
        (1, None, None, None, None, None)
    ]
    assert people.height == people["person_id"].n_unique() == 300
    assert people["reason"].unique().to_list() == [
        "not applicable: of 50 people is known what they turned to within 30 days, wanted at least 200"
    ]
    assert home.rows("interest_rules", EARLIER).is_empty()


def test_a_standing_model_only_scores_and_says_which_topics_it_does_not_know(
    home: Home, result: dg.ExecuteInProcessResult
) -> None:
    shown = metadata(home.materialise(LATER, **STANDING_TAGS), "next_interest")
    people, before = home.rows("next_interest", LATER), home.rows("next_interest", DAY)
    assert_frame_equal(people.drop("as_of_on"), before.drop("as_of_on"))
    assert_frame_equal(
        home.rows("interest_rules", LATER).drop("as_of_on"), home.rows("interest_rules", DAY).drop("as_of_on")
    )
    assert shown["topics_unknown_to_the_model"] == "天文 (5 people)"
    assert [v.version for v in home.tracking._tracker.versions()] == [1]
