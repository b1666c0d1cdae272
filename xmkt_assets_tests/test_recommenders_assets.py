"""The six assets on a small lake: a first champion, a day later, a day before, and targets without data."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from xmkt_assets.assets.recommenders import ASSETS, PRODUCTS
from xmkt_assets.resources import Tracking, Warehouse

DAY, NEXT, BEFORE = date(2026, 7, 20), date(2026, 7, 21), date(2026, 7, 19)
PEOPLE = [f"p{n:02d}" for n in range(24)]
CONFIG = {"resamples": 30, "horizon_days": 5}


class Platform:
    """A lake, an MLflow home, and the assets run on them."""

    def __init__(self, home: Path) -> None:
        self.warehouse, self.tracking = Warehouse(home=str(home)), Tracking(home=str(home))
        self.seed("staging.gate_profiling", [{"person_id": p} for p in [*PEOPLE, PEOPLE[0], "stranger"]])
        courses = [{"item_id": f"c{n}", "title": f"课程{n}", "published_on": date(2026, 7, 1)} for n in range(8)]
        courses.append({"item_id": "future", "title": "not yet", "published_on": date(2027, 1, 1)})
        self.warehouse.replace("recommenders.course_items", pl.DataFrame(courses))
        products = [{"item_id": f"x{n}", "title": f"product {n}"} for n in range(4)]
        self.warehouse.replace("recommenders.product_items", pl.DataFrame(products))
        may_buy = [{"person_id": p, "item_id": f"x{n}"} for p in PEOPLE for n in range(3)]
        self.seed("recommenders.product_eligibility", may_buy)
        nothing = pl.DataFrame(schema={"as_of_on": pl.Date, "occasion_id": pl.String, "item_id": pl.String})
        self.warehouse.replace("recommenders.occasion_eligibility", nothing)
        self.seed("recommenders.course_interactions", self.course_purchases())
        self.warehouse.replace("recommenders.product_interactions", self.no_interactions())

    def seed(self, table: str, rows: list[dict[str, object]]) -> None:
        """The same rows as of each of the three days."""
        days = pl.DataFrame({"as_of_on": [BEFORE, DAY, NEXT]})
        self.warehouse.replace(table, days.join(pl.DataFrame(rows), how="cross"))

    @staticmethod
    def course_purchases() -> list[dict[str, object]]:
        """Two tastes (even, odd courses); everybody buys three of theirs early and the fourth in the last days."""
        rows: list[dict[str, object]] = []
        for n, person in enumerate(PEOPLE):
            own = [f"c{2 * k + n % 2}" for k in range(4)]
            last = own[(n // 2) % 4]
            bought = [(item, date(2026, 7, 5)) for item in own if item != last] + [(last, date(2026, 7, 18))]
            for item, on in bought:
                at = datetime.combine(on, time(9)) + timedelta(minutes=n)
                interaction = {"occasion_id": f"{person}-{item}", "occurred_at": at, "event": "purchase", "weight": 1.0}
                rows.append({"person_id": person, "item_id": item, **interaction})
        return rows

    @staticmethod
    def no_interactions() -> pl.DataFrame:
        text = dict.fromkeys(("person_id", "item_id", "occasion_id", "event"), pl.String)
        return pl.DataFrame(
            schema={"as_of_on": pl.Date, **text, "occurred_at": pl.Datetime("us"), "weight": pl.Float64}
        )

    def run(self, day: date, *, only: str | None = None) -> Mapping[str, dict[str, object]]:
        """Materialise one day; returns the metadata of each asset by table name."""
        boards = {f"recommenders__{t}_leaderboard": {"config": CONFIG} for t in ("course", "product")}
        result = dg.materialize(
            ASSETS,
            selection=None if only is None else f"key:recommenders/{only}",
            partition_key=day.isoformat(),
            resources={"warehouse": self.warehouse, "tracking": self.tracking},
            run_config={"ops": {k: v for k, v in boards.items() if only is None or k.endswith(only)}},
        )
        found = result.get_asset_materialization_events()
        return {event.asset_key.path[-1]: dict(event.materialization.metadata) for event in found if event.asset_key}

    def rows(self, table: str, day: date = DAY) -> pl.DataFrame:
        return self.warehouse.read(f"select * from recommenders.{table} where as_of_on = $day", day=day)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, Mapping[str, dict[str, object]]]:
    platform = Platform(tmp_path_factory.mktemp("home"))
    return platform, platform.run(DAY)


def test_the_member_that_knows_tastes_wins_and_becomes_champion(first) -> None:  # type: ignore[no-untyped-def]
    platform, _ = first
    board = platform.rows("course_leaderboard").filter(metric="hr@1", compared_with="nothing")
    scores = dict(board.select("model", "value").rows())
    assert scores["item_knn"] == scores["als"] == 1
    assert scores["popularity"] < 0.5
    assert board["cases"].unique().to_list() == [24]
    decision = platform.rows("course_champion").row(0, named=True)
    assert (decision["outcome"], decision["model"], decision["model_version"]) == ("first", "item_knn", 1)
    assert decision["is_champion"]
    assert platform.tracking.champion("course_recommender") == 1


def test_everybody_gets_courses_they_do_not_own_with_a_reason(first) -> None:  # type: ignore[no-untyped-def]
    platform, _ = first
    lists = platform.rows("course_recommendations")
    assert lists.columns == [
        "as_of_on",
        "person_id",
        "item_id",
        "rank",
        "score",
        "basis",
        "model",
        "model_version",
        "reason",
    ]
    assert lists["person_id"].n_unique() == 25
    assert "future" not in lists["item_id"].to_list()
    owned = platform.rows("course_interactions").select("person_id", "item_id")
    assert lists.join(owned, on=["person_id", "item_id"], how="semi").is_empty()
    assert lists.filter(person_id="p00").height == 4
    assert lists.filter(person_id="stranger")["basis"].unique().to_list() == ["popularity"]
    assert lists["reason"].is_not_null().all()
    assert lists["model_version"].unique().to_list() == [1]


def test_a_target_without_interactions_says_so_and_does_not_fail(first) -> None:  # type: ignore[no-untyped-def]
    platform, metadata = first
    assert platform.rows("product_leaderboard").select("model", "note").rows() == [
        ("not applicable", "no interaction with an item of the catalogue before the split, so nothing to learn from")
    ]
    decision = platform.rows("product_champion").row(0, named=True)
    assert (decision["outcome"], decision["model"], decision["model_version"]) == ("not applicable", None, None)
    assert platform.rows("product_recommendations").is_empty()
    assert "nothing to learn from" in str(metadata["product_recommendations"]["outcome"].value)  # type: ignore[attr-defined]
    assert platform.tracking.champion(PRODUCTS.registered_model) is None


def test_the_leaderboard_shows_a_picture_and_links_to_one_run_per_member(first) -> None:  # type: ignore[no-untyped-def]
    platform, metadata = first
    shown = metadata["course_leaderboard"]
    assert "data:image/png;base64," in shown["leaderboard"].value  # type: ignore[attr-defined]
    assert "item_knn" in shown["metrics"].value  # type: ignore[attr-defined]
    assert platform.rows("course_leaderboard").group_by("model").agg(pl.col("run_id").n_unique())["run_id"].sum() == 4
    assert platform.rows("course_leaderboard")["run_id"].n_unique() == 4


def test_later_and_earlier_days_of_the_same_flow(first) -> None:  # type: ignore[no-untyped-def]
    """One after the other on one lake: products arrive a day later, then an older day is filled in."""
    platform, _ = first
    old = platform.rows("course_recommendations")
    arrived = pl.DataFrame(platform.course_purchases()).with_columns(
        pl.col("item_id").str.replace("c[0-9]", "x1"), as_of_on=pl.lit(NEXT)
    )
    platform.warehouse.replace("recommenders.product_interactions", arrived, where={"as_of_on": NEXT})

    platform.run(NEXT)
    decision = platform.rows("course_champion", NEXT).row(0, named=True)
    assert (decision["outcome"], decision["champion_before"], decision["model_version"]) == ("kept", "item_knn", 2)
    assert platform.tracking.champion("course_recommender") == 2
    assert platform.rows("course_recommendations").equals(old)
    lists = platform.rows("product_recommendations", NEXT)
    assert lists["person_id"].n_unique() == 24  # the stranger is eligible for nothing
    assert set(lists["item_id"]) == {"x0", "x1", "x2"}
    assert lists.filter(rank=1)["item_id"].unique().to_list() == ["x1"]  # held already, and offered again

    platform.run(BEFORE)
    decision = platform.rows("course_champion", BEFORE).row(0, named=True)
    assert (decision["outcome"], decision["is_champion"], decision["model_version"]) == ("first", False, 3)
    assert "the alias stays: its model knows data to 2026-07-21" in decision["reason"]
    assert platform.tracking.champion("course_recommender") == 2
    assert platform.rows("course_recommendations", BEFORE)["model_version"].unique().to_list() == [3]


def test_recommendations_without_a_decision_name_the_next_step(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    platform.warehouse.replace(
        "recommenders.course_champion",
        pl.DataFrame(schema={"as_of_on": pl.Date, "model": pl.String, "model_version": pl.Int64, "reason": pl.String}),
    )
    with pytest.raises(dg.Failure, match=r"no decision for 2026-07-20\. Materialise"):
        platform.run(DAY, only="course_recommendations")
