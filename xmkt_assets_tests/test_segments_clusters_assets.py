"""Value groups in Dagster, on a real lake: snapshots one after another. Models lie on a shelf of files instead of in
MLflow (``test_segments_assets`` has the real one), because the order of days is what is tested here.

On `FIRST` too few people for groups, on `SECOND` and `THIRD` the same planted groups, who pay twice as much on the
latter. Later days belong to the test that names them.
"""

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from xmkt_assets.assets.segments import clusters as family
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments.clusters import FEATURES, ValueClusters
from xmkt_assets.segments.standing import STANDING_TAGS, StandingModel
from xmkt_assets.segments.tables import CHOICE_COLUMNS, CLUSTERS_COLUMNS
from xmkt_assets.tracking import ModelGoneError
from xmkt_assets_tests.test_segments_clusters import planted_people

FIRST, SECOND, THIRD, CONFIGURED, STANDING_DAY = (date(2026, 9, day) for day in (14, 21, 28, 30, 29))


class Shelf(Tracking):
    """Registered models as files of a folder; what else is logged is forgotten."""

    @contextmanager
    def run(self, name: str, **_: Any) -> Iterator[Any]:
        run = MagicMock(run_id=name)
        run.pickle.side_effect = lambda file, model: self._keep(Path(self.home) / name.replace(" ", "_"), model)
        yield run

    def register(self, model: str, run_id: str, artifact: str, *, tags: Mapping[str, str]) -> int:
        version = len(self._versions(model)) + 1
        Path(artifact).rename(Path(self.home) / f"{model}.{version}.{tags['dagster.partition_key']}")
        return version

    def load(self, model: str, version: int) -> object:
        (path,) = [p for p in self._versions(model) if int(p.name.split(".")[1]) == version]
        if path.stat().st_size == 0:
            raise ModelGoneError(f"{model} {version} is gone")
        return pickle.loads(path.read_bytes())

    def newest(self, model: str, *, until: date) -> int | None:
        known = [p.name.split(".") for p in self._versions(model)]
        return max(((day, int(n)) for _, n, day in known if day <= until.isoformat()), default=(None, None))[1]

    def ui_url(self, run_id: str, experiment: str) -> str:
        return f"http://localhost/{experiment}/{run_id}"

    def lose(self, model: str, version: int) -> None:
        """As an erasure does: the version stays, its file does not."""
        for path in Path(self.home).glob(f"{model}.{version}.*"):
            path.write_bytes(b"")

    def _versions(self, model: str) -> list[Path]:
        return list(Path(self.home).glob(f"{model}.*"))

    def _keep(self, path: Path, model: object) -> str:
        path.write_bytes(pickle.dumps(model))
        return str(path)


class Home(NamedTuple):
    warehouse: Warehouse
    tracking: Shelf

    def materialise(
        self, day: date, *, config: dict[str, object] | None = None, tags: Mapping[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        features = dg.AssetSpec(["segments", "person_features"], partitions_def=family.cluster_choice.partitions_def)
        return dg.materialize(
            [*family.ASSETS, features],
            partition_key=day.isoformat(),
            resources=self._asdict(),
            instance=dg.DagsterInstance.ephemeral(),
            run_config={"ops": {"segments__cluster_choice": {"config": config}}} if config else None,
            tags=tags,
        )

    def rows(self, table: str, day: date) -> pl.DataFrame:
        by = "method, k" if table == "cluster_choice" else "person_id"
        return self.warehouse.read(f"select * from segments.{table} where as_of_on = $day order by {by}", day=day)

    def give(self, day: date, features: pl.DataFrame) -> None:
        rows = features.with_columns(as_of_on=pl.lit(day))
        self.warehouse.replace("segments.person_features", rows, where={"as_of_on": day})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    shelf = str(tmp_path_factory.mktemp("shelf"))
    home = Home(Warehouse(home=str(tmp_path_factory.mktemp("home"))), Shelf(home=shelf))
    home.give(FIRST, planted_people(each=4)[0])
    home.give(SECOND, planted_people(each=60)[0])
    busier = planted_people(each=60, seed=1)[0].with_columns(pl.col("paid_clean_fen") * 2)
    home.give(THIRD, busier)
    home.give(STANDING_DAY, busier.with_columns(pl.col("paid_clean_fen") / 2))
    return home


@pytest.fixture(scope="module")
def results(home: Home) -> dict[date, dg.ExecuteInProcessResult]:
    return {day: home.materialise(day) for day in (FIRST, SECOND, THIRD)}


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(f"segments__{asset}")
    return {key: value.value for key, value in event.metadata.items()}


def test_every_person_gets_one_group_with_words_and_the_choice_has_its_evidence(
    home: Home, results: dict[date, dg.ExecuteInProcessResult]
) -> None:
    people, choice = home.rows("person_clusters", SECOND), home.rows("cluster_choice", SECOND)
    assert people.columns == list(CLUSTERS_COLUMNS)
    assert choice.columns == list(CHOICE_COLUMNS)
    assert people["person_id"].n_unique() == people.height == 300
    assert people["value_label"].n_unique() == 5
    assert people["why"].str.contains(r"\+ ").all()
    assert choice.height == 14
    assert choice.filter("is_chosen").select("k", "silhouette", "stability").row(0) >= (5, 0.8, 0.9)
    shown = metadata(results[SECOND], "cluster_choice")
    assert str(shown["chosen"]).startswith("5 groups by ")
    assert "](data:image/png;base64,iVBOR" in str(shown["silhouette_and_stability"])


def test_the_registered_model_made_the_rows_and_says_what_it_was_trained_on(
    home: Home, results: dict[date, dg.ExecuteInProcessResult]
) -> None:
    people = home.rows("person_clusters", THIRD)
    standing = home.tracking.load("value_clusters", people["model_version"][0])
    assert isinstance(standing, StandingModel)
    assert isinstance(standing.model, ValueClusters)
    assert (standing.trained_as_of, standing.features) == (THIRD, FEATURES)
    again = standing.model.assign(home.rows("person_features", THIRD))
    assert_frame_equal(again, people.select(again.columns))


def test_names_are_kept_from_the_newest_earlier_snapshot(
    home: Home, results: dict[date, dg.ExecuteInProcessResult]
) -> None:
    said = str(metadata(results[THIRD], "person_clusters")["names"])
    assert said.count("kept: its centre moved") == 5
    assert str(metadata(results[SECOND], "person_clusters")["names"]).count("by rule") == 5  # the first had no groups


def test_a_day_made_again_does_not_see_later_days(home: Home, results: dict[date, dg.ExecuteInProcessResult]) -> None:
    before = home.rows("person_clusters", SECOND).drop("model_version")
    choice = home.rows("cluster_choice", SECOND)
    assert home.materialise(SECOND).success
    assert_frame_equal(home.rows("person_clusters", SECOND).drop("model_version"), before)
    assert_frame_equal(home.rows("cluster_choice", SECOND), choice)


def test_too_few_people_are_unknown_and_both_tables_say_why(
    home: Home, results: dict[date, dg.ExecuteInProcessResult]
) -> None:
    why = "not applicable: 20 people, wanted at least 50 to choose groups by"
    people, choice = home.rows("person_clusters", FIRST), home.rows("cluster_choice", FIRST)
    assert people.select("value_label", "reason", "model_version").unique().rows() == [("unknown", why, None)]
    assert choice.select("method", "k", "is_chosen", "why").rows() == [(None, None, False, why)]
    assert metadata(results[FIRST], "person_clusters")["outcome"] == why


def test_a_run_with_standing_models_only_assigns(home: Home, results: dict[date, dg.ExecuteInProcessResult]) -> None:
    assert home.materialise(STANDING_DAY, tags=STANDING_TAGS).success
    people, trained = home.rows("person_clusters", STANDING_DAY), home.rows("person_clusters", THIRD)
    assert people["model_version"].unique().to_list() == trained["model_version"].unique().to_list()
    model = home.tracking.load("value_clusters", people["model_version"][0])
    assert isinstance(model, StandingModel)
    assert isinstance(model.model, ValueClusters)
    assigned = model.model.assign(home.rows("person_features", STANDING_DAY))
    assert_frame_equal(assigned, people.select(assigned.columns))
    (row,) = home.rows("cluster_choice", STANDING_DAY).rows(named=True)
    assert (row["k"], row["is_chosen"], row["silhouette"]) == (5, True, None)
    assert row["why"].startswith(f"standing: version {people['model_version'][0]} of value_clusters, trained as of")


def test_the_configuration_sets_groups_and_method_and_names_are_kept_by_people_where_the_model_is_gone(
    home: Home, results: dict[date, dg.ExecuteInProcessResult]
) -> None:
    home.tracking.lose("value_clusters", home.rows("person_clusters", THIRD)["model_version"][0])
    home.give(CONFIGURED, planted_people(each=60)[0])
    result = home.materialise(CONFIGURED, config={"k": 4, "method": "ward"})
    assert metadata(result, "cluster_choice")["chosen"] == "4 groups by ward: as configured"
    people = home.rows("person_clusters", CONFIGURED)
    assert (people["cluster"].n_unique(), people["method"].unique().to_list()) == (4, ["ward"])
    assert str(metadata(result, "person_clusters")["names"]).count("kept: 100% of its people stayed") == 3


def test_people_are_not_grouped_before_it_is_chosen_how(home: Home) -> None:
    day = date(2026, 9, 1)
    home.give(day, planted_people(each=4)[0])
    with pytest.raises(dg.Failure, match=r"segments.cluster_choice has no row of 2026-09-01. Materialise it"):
        family._chosen(home.warehouse, day)
