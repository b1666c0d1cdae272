"""Known answers: popularity on the Bruun insurance purchases (RecSys 2022), published to four digits."""

import os
from pathlib import Path

import polars as pl
import pytest

from xmkt_assets.recommenders import Popularity, RecentPopularity
from xmkt_assets.recommenders.evaluate import Evaluation, evaluate

HOME = Path(os.environ.get("XMKT_REAL_DATA") or Path(__file__).parents[2] / "shared" / "data")
BRUUN = HOME / "insurance_bruun"

pytestmark = pytest.mark.skipif(
    not BRUUN.is_dir(), reason="the public research data are not here; set XMKT_REAL_DATA to their folder"
)


def purchases(name: str) -> pl.DataFrame:
    return pl.read_csv(BRUUN / name).select(
        person_id=pl.col("user_id").cast(pl.String),
        item_id="item_id",
        occasion_id=pl.col("event_id").cast(pl.String),
        occurred_at=pl.col("event_time").str.to_datetime(),
        event=pl.lit("purchase"),
        weight=pl.lit(1.0),
    )


def judged(*, with_eligibility: bool) -> Evaluation:
    train, test = purchases("purchase_events_train.csv.gz"), purchases("purchase_events_test.csv.gz")
    checked = pl.read_csv(BRUUN / "filter_test.csv.gz").select(pl.col("event_id").cast(pl.String), "item_id")
    found = evaluate(
        (Popularity(), RecentPopularity()),
        train=train,
        test=test,
        items=pl.concat([train, test]).select("item_id").unique(),
        people=pl.concat([train, test]).select("person_id").unique(),
        occasion_eligible=checked.rename({"event_id": "occasion_id"}) if with_eligibility else None,
    )
    assert isinstance(found, Evaluation)
    return found


def test_popularity_scores_what_the_published_replication_scores() -> None:
    found = judged(with_eligibility=False)
    assert found.cases == 5_376
    published = {"hr@1": 0.3715, "hr@3": 0.6217, "hr@5": 0.7147, "mrr@5": 0.4978}
    assert {metric: round(found.estimate("popularity", metric).value, 4) for metric in published} == published


def test_eligibility_lifts_popularity_to_the_known_answer() -> None:
    found = judged(with_eligibility=True)
    hr3 = found.estimate("popularity", "hr@3")
    assert hr3.value == pytest.approx(0.679, abs=0.0005)
    assert (hr3.low, hr3.high) == pytest.approx((0.666, 0.692), abs=0.003)  # known: resampling events, not people
    assert found.estimate("popularity_30d", "hr@3").value == pytest.approx(0.681, abs=0.0005)
    assert found.persons == 5_058
