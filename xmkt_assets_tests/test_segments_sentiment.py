"""Sentiment of reviews: planted moods come back, nobody is scored by a model that saw them, the rest says why not."""

import pickle
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from xmkt_assets.assets.segments.sentiment import ASSETS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import sentiment
from xmkt_assets.segments.sentiment import NO_KNOWN_WORD, NO_TEXT, TOO_OLD, SentimentModel, review_sentiment
from xmkt_assets.simulate.reviews import TEMPLATES

GOOD = ("很实用", "讲得清楚", "推荐给朋友", "收获很大")
BAD = ("浪费时间", "要求退款", "讲得太浅", "后悔购买")


def reviews(*, people: int = 120, noise: float = 0.1, seed: int = 0) -> pl.DataFrame:
    """Two reviews a person of generated words; `noise` is the share whose words are of the other mood."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(2 * people):
        rating = int(rng.integers(1, 6))
        is_good = (rating >= 3) != (rng.random() < noise)
        words = rng.choice(GOOD if is_good else BAD, 2)
        rows.append((f"r{n:04}", f"p{n % people}", rating, f"第{rng.integers(9)}章" + "".join(words)))
    frame = pl.DataFrame(rows, schema=["review_id", "person_id", "rating", "review_text"], orient="row")
    return frame.with_columns(reviewed_at=pl.lit(datetime(2026, 9, 1)) + pl.duration(minutes=pl.int_range(pl.len())))


def test_planted_moods_are_told_apart_nearly_as_well_as_the_words_allow() -> None:
    """With one review in ten in the words of the other mood, the best possible AUC is 0.9 of clear reviews."""
    found = review_sentiment(reviews(people=300), seed=1)
    assert found.auc is not None
    assert found.auc.value == pytest.approx(0.9, abs=0.03)
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.reason is None
    assert found.learnt_from == reviews(people=300).filter(pl.col("rating") != 3).height


def test_sentences_of_the_simulator_are_ordered_by_their_stars() -> None:
    texts = [(stars, t.format(topic="理财")) for stars, all_of in TEMPLATES.items() for t in all_of]
    rows = [(f"r{i}", f"p{i}", *texts[i % len(texts)]) for i in range(40 * len(texts))]
    frame = pl.DataFrame(rows, schema=["review_id", "person_id", "rating", "review_text"], orient="row")
    found = review_sentiment(frame.with_columns(reviewed_at=pl.lit(datetime(2026, 9, 1))), seed=1)
    means = frame.join(found.reviews, on="review_id").group_by("rating").agg(pl.col("sentiment_share").mean())
    by_stars = dict(means.rows())
    assert by_stars[5] > 0.9 > by_stars[3] > 0.1 > by_stars[1]


def test_a_review_learnt_from_is_scored_by_a_model_that_did_not_see_its_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    given = reviews()
    asked: list[tuple[set[str], set[str]]] = []
    texts = given.with_columns(review_text=pl.col("review_text") + pl.col("person_id"))
    writer = dict(texts.select("review_text", "person_id").rows())
    fit = sentiment.fit_sentiment

    def spied(learnt: list[str], labels: np.ndarray, *, seed: int) -> SentimentModel:
        model = fit(learnt, labels, seed=seed)

        class Spy(SentimentModel):
            def shares(self, scored: list[str]) -> np.ndarray:
                asked.append(({writer[t] for t in learnt}, {writer[t] for t in scored}))
                return super().shares(scored)

        return Spy(model.words, model.regression)

    monkeypatch.setattr(sentiment, "fit_sentiment", spied)
    review_sentiment(texts, seed=1)
    *folds, (_, of_the_rest) = asked
    assert len(folds) == sentiment.FOLDS
    assert all(not seen & scored for seen, scored in folds)
    assert set.union(*(scored for _, scored in folds)) == set(texts.filter(pl.col("rating") != 3)["person_id"])
    assert of_the_rest <= set(texts.filter(pl.col("rating") == 3)["person_id"])


def test_what_cannot_be_read_says_why() -> None:
    when = datetime(2026, 9, 2)
    odd = pl.DataFrame(
        [("x1", "q", 5, None, when), ("x2", "q", 3, "  好 ", when), ("x3", "q", 3, "ZZZZ", when)],
        schema=["review_id", "person_id", "rating", "review_text", "reviewed_at"],
        orient="row",
    )
    given = pl.concat([reviews(), odd.select(reviews().columns)])
    found = review_sentiment(given, seed=1).reviews
    assert found.filter(pl.col("review_id").str.starts_with("x")).select("sentiment_share", "reason").rows() == [
        (None, NO_TEXT),
        (None, NO_TEXT),
        (None, NO_KNOWN_WORD),
    ]
    assert (found["sentiment_share"].is_null() == found["reason"].is_not_null()).all()
    assert found["review_id"].to_list() == sorted(given["review_id"])


def test_beyond_the_limit_the_newest_texts_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentiment, "MOST_SCORED", 3)
    monkeypatch.setattr(sentiment, "CHUNK", 2)
    given = reviews()
    found = given.join(review_sentiment(given, seed=1).reviews, on=("review_id", "person_id"))
    unlearnt = found.filter(pl.col("rating") == 3)
    read = unlearnt.filter(pl.col("sentiment_share").is_not_null())
    newest = unlearnt.sort("reviewed_at", descending=True)["review_text"].unique(maintain_order=True)[:3]
    assert set(read["review_text"]) == set(newest)
    assert set(unlearnt.filter(pl.col("sentiment_share").is_null())["reason"]) == {TOO_OLD}


def test_too_few_writers_of_either_mood_are_not_applicable_however_much_they_write() -> None:
    busy = reviews(people=600).with_columns(
        person_id=pl.when(pl.col("rating") <= 2).then(pl.lit("p0")).otherwise("person_id")
    )
    found = review_sentiment(busy, seed=1)
    assert found.model is found.auc is None
    assert found.reason is not None
    assert "and 1 a negative one, wanted at least 30 each" in found.reason
    assert found.reviews["reason"].unique().to_list() == [found.reason]
    assert found.reviews["sentiment_share"].null_count() == busy.height


def test_words_that_say_nothing_of_the_stars_are_not_applicable() -> None:
    given = reviews(people=200)
    shuffled = given.with_columns(review_text=given["review_text"].shuffle(seed=5))
    found = review_sentiment(shuffled, seed=1)
    assert found.reason is not None
    assert "no better than chance" in found.reason
    assert found.reviews["sentiment_share"].null_count() == given.height


@pytest.mark.parametrize("given", [reviews().head(0), reviews().head(1)], ids=["nobody", "one person"])
def test_nobody_and_one_person_give_the_same_columns(given: pl.DataFrame) -> None:
    found = review_sentiment(given, seed=1)
    assert found.reviews.schema == sentiment.SENTIMENT_SCHEMA
    assert found.reviews.height == given.height
    assert found.reason is not None


def test_the_result_does_not_depend_on_the_order_of_rows_and_survives_pickling() -> None:
    given = reviews().with_columns(reviewed_at=pl.lit(datetime(2026, 9, 1)))
    found = review_sentiment(given, seed=1)
    shuffled = review_sentiment(given.sample(fraction=1.0, shuffle=True, seed=3), seed=1)
    assert_frame_equal(found.reviews, shuffled.reviews)
    texts = given["review_text"].to_list()
    assert found.model is not None
    assert pickle.loads(pickle.dumps(found.model)).shares(texts) == pytest.approx(found.model.shares(texts))


def test_no_phrase_of_fewer_than_five_reviews_is_kept_in_the_model() -> None:
    given = reviews()
    marked = given.with_columns(
        review_text=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("我住西湖边")).otherwise("review_text"),
        rating=pl.when(pl.int_range(pl.len()) < 3).then(5).otherwise("rating"),
    )
    model = review_sentiment(marked, seed=1).model
    assert model is not None
    assert not [word for word in model.words.get_feature_names_out() if "西湖" in word]


def test_the_telling_words_are_those_planted() -> None:
    model = review_sentiment(reviews(noise=0.0), seed=1).model
    assert model is not None
    positive, negative = model.telling(most=3)
    assert all(any(word in phrase for phrase in map("".join, pairs(GOOD))) for word in positive)
    assert all(any(word in phrase for phrase in map("".join, pairs(BAD))) for word in negative)


def pairs(phrases: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(a, b) for a in phrases for b in phrases]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"lack \['rating'\].*review_texts"):
        review_sentiment(reviews().drop("rating"), seed=1)


# --- the asset --------------------------------------------------------------------------------------------------------

DAY, FIRST_DAY = date(2026, 9, 28), date(2026, 9, 1)


def shown(home: dict[str, Warehouse | Tracking], day: date) -> dict[str, object]:
    """Metadata of one materialisation of the asset as of a day."""
    result = dg.materialize(
        ASSETS, partition_key=day.isoformat(), resources=home, instance=dg.DagsterInstance.ephemeral()
    )
    (event,) = result.asset_materializations_for_node("segments__review_sentiment")
    return {key: value.value for key, value in event.metadata.items()}


def test_the_asset_reads_who_consented_up_to_the_day_and_registers_what_it_learnt(tmp_path: Path) -> None:
    """p0 did not consent; of the first day only the reviews of its first minutes are known, too few to learn from."""
    given = reviews()
    late = pl.col("review_id") >= "r0020"
    told = given.filter(pl.col("person_id") != "p0").with_columns(
        reviewed_at=pl.when(late).then(datetime(2026, 9, 20)).otherwise("reviewed_at")
    )
    home: dict[str, Warehouse | Tracking] = {
        "warehouse": Warehouse(home=str(tmp_path)),
        "tracking": Tracking(home=str(tmp_path)),
    }
    warehouse, tracking = home["warehouse"], home["tracking"]
    assert isinstance(warehouse, Warehouse)
    assert isinstance(tracking, Tracking)
    for day in (FIRST_DAY, DAY):
        seen = told.filter(pl.col("reviewed_at") < day + timedelta(days=1))
        texts = seen.with_columns(as_of_on=pl.lit(day))
        warehouse.replace("segments.review_texts", texts, where={"as_of_on": day})

    few, all_of = shown(home, FIRST_DAY), shown(home, DAY)
    rows = warehouse.read("select * from segments.review_sentiment order by as_of_on, review_id")
    assert rows.columns == list(sentiment.SENTIMENT_COLUMNS)
    early, later = (rows.filter(pl.col("as_of_on") == d) for d in (FIRST_DAY, DAY))
    assert early["review_id"].to_list() == [f"r{n:04}" for n in range(1, 20)]
    assert str(few["outcome"]).startswith("not applicable: ")
    assert early["reason"].unique().to_list() == [few["outcome"]]
    expected = review_sentiment(given.filter(pl.col("person_id") != "p0"), seed=7).reviews
    assert_frame_equal(later.select(expected.columns), expected)
    assert all_of["outcome"] == "applicable"
    model = tracking.load("review_sentiment", later["model_version"][0])
    assert isinstance(model, SentimentModel)
    assert "| 5 |" in str(all_of["by_stars"])
