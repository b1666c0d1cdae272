"""Recommenders: judge them, choose a champion, write everybody's lists. Wiring only; the logic is in
``xmkt_assets.recommenders``, MLflow in ``xmkt_assets.tracking``.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.recommenders import BASELINE, RECOMMENDERS, Fitted
from xmkt_assets.recommenders.base import RECOMMENDATION_SCHEMA
from xmkt_assets.recommenders.charts import leaderboard_figure, leaderboard_table
from xmkt_assets.recommenders.evaluate import Evaluation, NotApplicable, evaluate, not_applicable_leaderboard, split
from xmkt_assets.recommenders.promote import Decision, decide
from xmkt_assets.recommenders.reasons import with_reasons
from xmkt_assets.recommenders.tables import MEANINGS
from xmkt_assets.recommenders.targets import COURSES, PRODUCTS, Target
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.tracking import TrackedRun, run_tags

RECOMMENDER_ASSET: dict[str, Any] = {
    "group_name": "recommenders",
    "partitions_def": DAYS,
    "owners": ["team:data-science"],
    "pool": "training",  # dagster.yaml: one run at a time trains
}


_NO_LISTS = pl.DataFrame(schema={**RECOMMENDATION_SCHEMA, "reason": pl.String})


class LeaderboardConfig(dg.Config):
    """Which purchases recommenders are judged on: of the last `horizon_days` days, or from `split_at` (ISO) on."""

    horizon_days: int = 14
    split_at: str | None = None
    resamples: int = 500
    seed: int = 7


class RecommendConfig(dg.Config):
    """How many items each person is recommended."""

    k: int = 10


@dg.asset(
    key=["recommenders", "course_leaderboard"],
    deps=[["recommenders", "course_interactions"], ["recommenders", "course_items"], ["staging", "gate_profiling"]],
    kinds={"python", "mlflow"},
    **RECOMMENDER_ASSET,
)
def course_leaderboard(
    context: dg.AssetExecutionContext, config: LeaderboardConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per recommender of courses, metric and compared_with, as of a date.

    Every member learns from what happened before the split and is judged on the course orders after it. Trap:
    compared_with 'nothing' is the metric itself, any other value the paired gain over that model; filter it.
    """
    return _leaderboard(_Step(context, warehouse, tracking, COURSES), config)


@dg.asset(
    key=["recommenders", "product_leaderboard"],
    deps=[
        ["recommenders", "product_interactions"],
        ["recommenders", "product_items"],
        ["recommenders", "product_eligibility"],
        ["recommenders", "occasion_eligibility"],
        ["staging", "gate_profiling"],
    ],
    kinds={"python", "mlflow"},
    **RECOMMENDER_ASSET,
)
def product_leaderboard(
    context: dg.AssetExecutionContext, config: LeaderboardConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per recommender of insurance products, metric and compared_with, as of a date.

    Judged on policies issued after the split, among the products the insurer said could be bought at that occasion,
    else those the person is eligible for. Trap: compared_with 'nothing' is the metric itself, any other value the
    paired gain over that model; filter it.
    """
    return _leaderboard(_Step(context, warehouse, tracking, PRODUCTS), config)


@dg.asset(
    key=["recommenders", "course_champion"],
    deps=[
        ["recommenders", "course_leaderboard"],
        ["recommenders", "course_interactions"],
        ["recommenders", "course_items"],
        ["staging", "gate_profiling"],
    ],
    kinds={"python", "mlflow"},
    **RECOMMENDER_ASSET,
)
def course_champion(
    context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per as-of date: which recommender serves courses, whom it was weighed against, and why.

    The gate: a challenger replaces the champion only if its paired gain over it and over popularity is above 0 with the
    whole 95 % interval. The winner learns again from everything up to the date and becomes a registered version; the
    alias "champion" moves to it unless the date is older than what the champion knows.
    """
    return _champion(_Step(context, warehouse, tracking, COURSES))


@dg.asset(
    key=["recommenders", "product_champion"],
    deps=[
        ["recommenders", "product_leaderboard"],
        ["recommenders", "product_interactions"],
        ["recommenders", "product_items"],
        ["staging", "gate_profiling"],
    ],
    kinds={"python", "mlflow"},
    **RECOMMENDER_ASSET,
)
def product_champion(
    context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per as-of date: which recommender serves insurance products, and why; the gate is that of courses."""
    return _champion(_Step(context, warehouse, tracking, PRODUCTS))


@dg.asset(
    key=["recommenders", "course_recommendations"],
    deps=[
        ["recommenders", "course_champion"],
        ["recommenders", "course_items"],
        ["staging", "gate_profiling"],
    ],
    kinds={"python", "mlflow"},
    tags={"personal": "yes"},
    **RECOMMENDER_ASSET,
)
def course_recommendations(
    context: dg.AssetExecutionContext, config: RecommendConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per consenting person and recommended course as of a date, best first, with the reason in words.

    From the model version this date's champion decision names. Courses bought before are left out. Trap: scores compare
    within one person's list only.
    """
    return _recommendations(_Step(context, warehouse, tracking, COURSES), config)


@dg.asset(
    key=["recommenders", "product_recommendations"],
    deps=[
        ["recommenders", "product_champion"],
        ["recommenders", "product_items"],
        ["recommenders", "product_eligibility"],
        ["staging", "gate_profiling"],
    ],
    kinds={"python", "mlflow"},
    tags={"personal": "yes"},
    **RECOMMENDER_ASSET,
)
def product_recommendations(
    context: dg.AssetExecutionContext, config: RecommendConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per consenting person and recommended insurance product as of a date, best first, with the reason.

    Only products the person is eligible for that day; one held already may come again. A person eligible for nothing
    has no row. Trap: scores compare within one person's list only.
    """
    return _recommendations(_Step(context, warehouse, tracking, PRODUCTS), config)


class _Known(NamedTuple):
    """What is known of a target at the end of a day."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    people: pl.DataFrame


@dataclass(frozen=True)
class _Step:
    """One target on one day: the reads, runs and writes the six assets share."""

    context: dg.AssetExecutionContext
    warehouse: Warehouse
    tracking: Tracking
    target: Target

    def __post_init__(self) -> None:
        _ = self.snapshot_id  # before anything is read

    @cached_property
    def day(self) -> date:
        return date.fromisoformat(self.context.partition_key)

    @cached_property
    def snapshot_id(self) -> int:
        return self.warehouse.snapshot_id()

    @cached_property
    def tags(self) -> dict[str, str]:
        return run_tags(self.context, snapshot_id=self.snapshot_id)

    def run(self, name: str, *, parent_run_id: str | None = None) -> AbstractContextManager[TrackedRun]:
        name = f"{self.target.name} {name} {self.day}"
        return self.tracking.run(name, experiment=self.target.experiment, tags=self.tags, parent_run_id=parent_run_id)

    def rows(self, table: str, columns: str = "*") -> pl.DataFrame:
        """This day's rows of a table of the target, such as 'interactions'."""
        query = f"select {columns} from recommenders.{self.target.name}_{table} where as_of_on = $day"
        return self.warehouse.read(query, day=self.day)

    def known(self) -> _Known:
        columns = "person_id, item_id, occasion_id, occurred_at, event, weight"
        return _Known(self.rows("interactions", columns), self.items(), self.people())

    def items(self) -> pl.DataFrame:
        """The catalogue as of the day: courses published later are not in it yet."""
        if self.target is PRODUCTS:
            return self.warehouse.read("select * from recommenders.product_items")
        query = "select * from recommenders.course_items where published_on is null or published_on <= $day"
        return self.warehouse.read(query, day=self.day)

    def people(self) -> pl.DataFrame:
        query = "select distinct person_id from staging.gate_profiling where as_of_on = $day"
        return self.warehouse.read(query, day=self.day)

    def eligible(self) -> pl.DataFrame | None:
        """What each person may be offered; None = everything (any course may be sold to anybody)."""
        return self.rows("eligibility", "person_id, item_id") if self.target is PRODUCTS else None

    def occasion_eligible(self) -> pl.DataFrame | None:
        """What the insurer said could be bought at each purchase occasion; None for courses."""
        if self.target is COURSES:
            return None
        query = "select occasion_id, item_id from recommenders.occasion_eligibility where as_of_on = $day"
        return self.warehouse.read(query, day=self.day)

    def champion_before(self) -> dict[str, str] | None:
        """Tags of the version that carries the alias: its recipe (model) and the day it knows up to (as_of_on)."""
        model = self.target.registered_model
        version = self.tracking.champion(model)
        return None if version is None else dict(self.tracking.version_tags(model, version))

    def write(
        self, table: str, rows: pl.DataFrame, *, run: TrackedRun | None = None, **metadata: object
    ) -> dg.MaterializeResult:
        """Replace this day's rows of a table of the target; `rows` get as_of_on in front."""
        name = f"recommenders.{self.target.name}_{table}"
        dated = rows.select(pl.lit(self.day).alias("as_of_on"), pl.all())
        meaning = MEANINGS[table]
        written = self.warehouse.replace(name, dated, where={"as_of_on": self.day}, **meaning._asdict())
        shown = {"dagster/partition_row_count": dated.height, **({} if run is None else self._link(run)), **metadata}
        return materialised(written, dated, read_snapshot_id=self.snapshot_id, metadata=shown, columns=meaning.columns)

    def _link(self, run: TrackedRun) -> dict[str, object]:
        url = self.tracking.ui_url(run.run_id, self.target.experiment)
        return {"mlflow/run_id": run.run_id, "mlflow/run": dg.MetadataValue.url(url)}


def _leaderboard(step: _Step, config: LeaderboardConfig) -> dg.MaterializeResult:
    at = _split_at(config, step.day)
    with step.run("leaderboard") as run:
        run.params({**config.model_dump(), "split_at": at.isoformat(), "metric": step.target.metric})
        found = _evaluate(step, config, at)
        if isinstance(found, NotApplicable):
            board, run_ids, shown = not_applicable_leaderboard(found), {}, {"outcome": found.reason}
        else:
            board, run_ids = found.leaderboard(), _log_members(step, run, found)
            shown = _show(step, run, found, board)
    rows = board.select(
        pl.lit(step.target.name).alias("target"),
        pl.all(),
        pl.Series("run_id", [run_ids.get(model, run.run_id) for model in board["model"]], dtype=pl.String),
    )
    return step.write("leaderboard", rows, run=run, split_at=at.isoformat(), **shown)


def _split_at(config: LeaderboardConfig, day: date) -> datetime:
    """Moment of the split as naive UTC."""
    if config.split_at is None:
        return datetime.combine(day, time()) + timedelta(days=1 - config.horizon_days)
    at = datetime.fromisoformat(config.split_at)
    return at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)


def _evaluate(step: _Step, config: LeaderboardConfig, at: datetime) -> Evaluation | NotApplicable:
    known = step.known()
    train, test = split(known.interactions, at=at)
    return evaluate(
        RECOMMENDERS,
        train=train,
        test=test,
        items=known.items,
        people=known.people,
        eligible=step.eligible(),
        occasion_eligible=step.occasion_eligible(),
        exclude_owned=step.target.exclude_owned,
        resamples=config.resamples,
        seed=config.seed,
    )


def _log_members(step: _Step, parent: TrackedRun, found: Evaluation) -> dict[str, str]:
    """One child run per member; returns model → run id."""
    run_ids = {}
    for member, seconds in zip(RECOMMENDERS, found.fit_seconds, strict=True):
        with step.run(member.name, parent_run_id=parent.run_id) as child:
            child.params({"model": member.name, **member.settings()})
            child.metrics({**found.metrics(member.name), "fit_seconds": seconds})
            run_ids[member.name] = child.run_id
    return run_ids


def _show(step: _Step, run: TrackedRun, found: Evaluation, board: pl.DataFrame) -> dict[str, Any]:
    """Log the picture and the numbers of cases; returns what the Dagster UI shows."""
    title = f"{step.target.name}s as of {step.day}: {found.cases} purchases of {found.persons} people"
    figure = leaderboard_figure(board, metric=step.target.metric, title=title)
    counted = {"cases": found.cases, "persons": found.persons, "cases_of_known_people": found.known_cases}
    run.figure("leaderboard.png", figure)
    run.metrics(counted)
    table = markdown_table(leaderboard_table(board))
    return {"outcome": "applicable", "leaderboard": picture(figure, title=title), "metrics": table, **counted}


def _champion(step: _Step) -> dg.MaterializeResult:
    known, before = step.known(), step.champion_before()
    is_newest = before is None or date.fromisoformat(before["as_of_on"]) <= step.day
    decision = decide(
        step.rows("leaderboard"),
        champion=before["model"] if before and is_newest else None,
        metric=step.target.metric,
        baseline=BASELINE.name,
        can_learn=not known.interactions.join(known.items, on="item_id", how="semi").is_empty(),
    )
    with step.run("champion") as run:
        run.params({"outcome": decision.outcome, "reason": decision.reason})
        version = _refit(step, run, decision, known)
    if version is not None and is_newest:
        step.tracking.promote(step.target.registered_model, version)
    note = "" if is_newest or before is None else f"; the alias stays: its model knows data to {before['as_of_on']}"
    rows = decision.frame().select(
        pl.lit(step.target.name).alias("target"),
        pl.exclude("reason"),
        pl.lit(version, pl.Int64).alias("model_version"),
        pl.lit(version is not None and is_newest).alias("is_champion"),
        pl.lit(run.run_id).alias("run_id"),
        (pl.col("reason") + note).alias("reason"),
    )
    return step.write("champion", rows, run=run, outcome=decision.outcome, decision=markdown_table(rows))


def _refit(step: _Step, run: TrackedRun, decision: Decision, known: _Known) -> int | None:
    """Fit the chosen recipe on everything known and register it; None where no recipe was chosen."""
    if decision.model is None:
        return None
    recipe = next(member for member in RECOMMENDERS if member.name == decision.model)
    fitted = recipe.fit(*known)
    run.params({"model": recipe.name, **recipe.settings()})
    run.metrics({f"{name}_rows": frame.height for name, frame in known._asdict().items()})
    tags = {**step.tags, "model": recipe.name, "as_of_on": step.day.isoformat(), "outcome": decision.outcome}
    artifact = run.pickle("model.pkl", fitted)
    return step.tracking.register(step.target.registered_model, run.run_id, artifact, tags=tags)


def _recommendations(step: _Step, config: RecommendConfig) -> dg.MaterializeResult:
    found = step.rows("champion", "model, model_version, reason").rows()
    if not found:
        name = f"recommenders.{step.target.name}_champion"
        raise dg.Failure(f"{name} has no decision for {step.day}. Materialise that partition of it first.")
    model, version, reason = found[0]
    lists = _NO_LISTS if version is None else _lists(step, config, version)
    rows = lists.select(
        pl.exclude("reason"),
        pl.lit(model, pl.String).alias("model"),
        pl.lit(version, pl.Int64).alias("model_version"),
        "reason",
    )
    return step.write(
        "recommendations",
        rows,
        outcome=reason if version is None else "applicable",
        model=str(model),
        model_version=str(version),
        people=rows["person_id"].n_unique(),
        first_places=markdown_table(_first_places(rows)),
    )


def _lists(step: _Step, config: RecommendConfig, version: int) -> pl.DataFrame:
    fitted = step.tracking.load(step.target.registered_model, version)
    if not isinstance(fitted, Fitted):
        raise dg.Failure(f"{step.target.registered_model} {version} holds a {type(fitted)}, not a recommender.")
    lists = fitted.recommend(step.people(), config.k, step.eligible(), exclude_owned=step.target.exclude_owned)
    return with_reasons(lists, fitted, step.items())


def _first_places(rows: pl.DataFrame) -> pl.DataFrame:
    """What the first places rest on, counted: one row per basis."""
    return rows.filter(pl.col("rank") == 1).group_by("basis").agg(people=pl.len()).sort("basis")


ASSETS = [
    course_leaderboard,
    product_leaderboard,
    course_champion,
    product_champion,
    course_recommendations,
    product_recommendations,
]
