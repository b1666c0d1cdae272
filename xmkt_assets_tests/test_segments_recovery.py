"""Value groups against the truth of the simulator: planted groups come back, with an interval, above a bar.

The bar comes from an oracle: everybody is put to the nearest of the *true* groups' mean features. It is told who
belongs where and still cannot get everybody right, because people do things by chance; the platform, which is told
nothing, not even how many groups there are, may lose a tenth to it.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from xmkt_assets.segments.cluster_choice import choose
from xmkt_assets.segments.clusters import FEATURES, cluster_people, standardised
from xmkt_assets.segments.grouping import METHODS, nearest
from xmkt_assets.segments.intervals import Interval
from xmkt_assets.simulate import World, build_world, groups, load_world, save_world
from xmkt_assets.simulate.drops import DropSummary
from xmkt_assets.simulate.groups import GROUPS, true_groups

PEOPLE, DAYS, MAY_LOSE = 1_200, 120, 0.1
COURSES, INSURER = "course_platform", "insurer"


class Crowd(NamedTuple):
    features: pl.DataFrame
    groups: np.ndarray


def features_of(world: World) -> pl.DataFrame:
    """The features of clustering as of the last day, straight from the events of the world, without a platform."""
    end = datetime.combine(world.calendar.on(world.calendar.days), datetime.min.time())
    feeds = world.organic
    times = {"course_views": "viewed_at", "course_orders": "ordered_at", "product_views": "viewed_at"}
    firm = {"course_views": COURSES, "course_orders": COURSES, "product_views": INSURER}
    events = [feeds[firm[f], f].select("person", at=pl.col(c)) for f, c in times.items()]
    policies = feeds[INSURER, "policies"]
    seen = pl.concat([*events, policies.select("person", at="occurred_at")]).group_by("person")
    recent = pl.col("viewed_at") >= end - timedelta(days=30)
    paid = feeds[COURSES, "course_orders"].filter(pl.col("status") == "paid").group_by("person")
    held = policies.filter(pl.col("event") != "cancelled").group_by("person")
    tables = [
        paid.agg(paid_clean_fen=pl.col("paid_fen").sum(), course_order_count=pl.col("order_id").n_unique()),
        held.agg(premium_clean_fen=pl.col("premium_fen").sum(), active_policy_count=pl.col("policy_id").n_unique()),
        feeds[COURSES, "course_views"]
        .filter(recent)
        .group_by("person")
        .agg(dwell_30d_clean_seconds=pl.col("dwell_seconds").sum()),
        feeds[INSURER, "product_views"].filter(recent).group_by("person").agg(product_view_30d_count=pl.len()),
        seen.agg(
            days_since_last_activity=(end - pl.col("at").max()).dt.total_days(),
            days_since_first_activity=(end - pl.col("at").min()).dt.total_days(),
        ),
    ]
    people = pl.DataFrame({"person": np.arange(world.people.count)})
    for table in tables:
        people = people.join(table, on="person", how="left", maintain_order="left")
    counts = [c for c in FEATURES if not c.startswith("days_since")]
    return people.with_columns(pl.col(counts).fill_null(0)).select(
        pl.format("p{}", pl.col("person").cast(pl.String).str.zfill(6)).alias("person_id"), *FEATURES
    )


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    world = build_world(people=PEOPLE, days=DAYS, seed=3, planted_groups=1.0)
    return Crowd(features_of(world), true_groups(world)["group"].to_numpy())


def agreement(truth: np.ndarray, found: np.ndarray, *, draws: int = 100, seed: int = 1) -> Interval:
    """Adjusted Rand index with its 95 % percentile bootstrap interval over people."""
    rng = np.random.default_rng(seed)
    picks = [rng.integers(0, len(truth), len(truth)) for _ in range(draws)]
    values = [adjusted_rand_score(truth[p], found[p]) for p in picks]
    return Interval(float(adjusted_rand_score(truth, found)), *map(float, np.quantile(values, [0.025, 0.975])))


def oracle(crowd: Crowd) -> float:
    """Adjusted Rand index of everybody put to the nearest true mean."""
    points, _, _ = standardised(crowd.features)
    means = np.stack([points[crowd.groups == name].mean(axis=0) for name in sorted(set(crowd.groups))])
    return float(adjusted_rand_score(crowd.groups, nearest(points, means)[0]))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_the_planted_groups_given_how_many_there_are(crowd: Crowd, method: str) -> None:
    found = cluster_people(crowd.features, k=len(GROUPS), method=method, seed=7).people["cluster"].to_numpy()
    assert agreement(crowd.groups, found).low > oracle(crowd) - MAY_LOSE


def test_the_groups_that_the_evidence_chooses_are_the_planted_ones(crowd: Crowd) -> None:
    points, _, _ = standardised(crowd.features)
    choice = choose(points, seed=7)
    assert choice.k is not None
    assert choice.method is not None
    found = cluster_people(crowd.features, k=choice.k, method=choice.method, seed=7).people["cluster"].to_numpy()
    measured = agreement(crowd.groups, found)
    assert measured.low > oracle(crowd) - MAY_LOSE, str(measured)
    assert abs(choice.k - len(GROUPS)) <= 1


def test_with_shuffled_truth_nothing_is_recovered(crowd: Crowd) -> None:
    found = cluster_people(crowd.features, k=len(GROUPS), seed=7).people["cluster"].to_numpy()
    shuffled = np.random.default_rng(5).permutation(crowd.groups)
    assert abs(adjusted_rand_score(shuffled, found)) < 0.01


# --- the simulator's side -------------------------------------------------------------------------------------------


def test_without_planted_groups_nobody_has_one_and_groups_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build_world(people=200, days=10, seed=4)
    assert true_groups(plain).is_empty()
    monkeypatch.setattr(groups, "drawn", lambda count, seed: np.full(count, 2))
    other = build_world(people=200, days=10, seed=4, planted_groups=0.0)
    for feed, rows in plain.organic.items():
        assert rows.equals(other.organic[feed]), feed


def test_planted_groups_decide_which_firm_knows_whom_and_how_often_they_come() -> None:
    world = build_world(people=1_000, days=30, seed=4, planted_groups=1.0)
    truth = true_groups(world)
    for group in GROUPS:
        members = truth.filter(pl.col("group") == group.name)
        # 0.95 and 0.05: nobody is known who joins after the last day, and a stranger may buy a policy
        assert len(members) / world.people.count == pytest.approx(group.share, abs=0.05)
        known = world.people.user_day[members["person"]] < DAYS
        insured = world.people.customer_day[members["person"]] < 0
        assert (known.mean() > 0.95) == group.is_user
        assert (insured.mean() > 0.85) == group.is_customer
    views = world.organic[COURSES, "course_views"].join(truth, on="person")
    each = dict(views.group_by("group").len().iter_rows())
    assert each["eager learner"] > 10 * each["passer-by"]


def test_a_world_with_planted_groups_is_stored_and_built_again(tmp_path: Path) -> None:
    world = build_world(people=100, days=10, planted_groups=0.5)
    save_world(world, tmp_path, DropSummary(0, 0, 0, {}), from_on=world.calendar.on(0), until_on=world.calendar.on(1))
    again = load_world(tmp_path)
    assert again.parameters == world.parameters
    assert true_groups(again).equals(true_groups(world))


def test_more_than_whole_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"planted_groups is 1.5; wanted a number from 0 \(no groups\) to 1"):
        build_world(people=100, days=10, planted_groups=1.5)
