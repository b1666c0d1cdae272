"""Probabilities per person in Dagster: one asset per target, made by one function. Wiring only; the sums are in
``xmkt_assets.segments.scoring``, what is foretold in ``xmkt_assets.segments.targets``."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import polars as pl

from xmkt_assets.assets.segments.shared import EXPERIMENT, dated, logged, outcome, register, standing, three
from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import drift, pictures, scoring
from xmkt_assets.segments.model_card import model_card
from xmkt_assets.segments.score_tables import Meaning, meanings
from xmkt_assets.segments.scoring import ScoreModel, ScoreReport, Scores
from xmkt_assets.segments.standing import StandingModel
from xmkt_assets.segments.targets import TARGETS, Target
from xmkt_assets.tracking import TrackedRun, run_tags
from xmkt_assets.warehouse import Equal, Replace, Written

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ScoreConfig(dg.Config):
    """The seed of samples, folds, trees and intervals."""

    seed: int = 7


class _Made(NamedTuple):
    """Scores of one day with the model that made them; `version` is empty until it is registered."""

    found: Scores
    version: int | None
    trained_as_of: date | None


def score_asset(target: Target) -> dg.AssetsDefinition:
    """Scores of a target, how they did on past examples, and how each kind of model did: three tables of one run."""

    @dg.multi_asset(
        name=f"segments__{target.name}",
        specs=[_spec(target, table, meaning) for table, meaning in meanings(target).items()],
        partitions_def=DAYS,
        pool="training",  # dagster.yaml: one run at a time trains
    )
    def scores(
        context: dg.AssetExecutionContext, config: ScoreConfig, warehouse: Warehouse, tracking: Tracking
    ) -> Iterator[dg.MaterializeResult]:
        day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
        examples = warehouse.read(f"select * from {target.examples} where as_of_on = $day", day=day)
        made = _made(context, tracking, target, examples, day=day, seed=config.seed)
        found = made.found
        tags = run_tags(_Of(context, target), snapshot_id=snapshot_id) | outcome(found.reason)
        figure = pictures.calibration(target, found.report) if found.report else None
        with tracking.run(f"{target.name} {day}", experiment=EXPERIMENT, tags=tags) as run:
            _log(run, target, made, figure, seed=config.seed)
            run.text("model_card.md", model_card(target, found, day=day, snapshot_id=snapshot_id, seed=config.seed))
            version = made.version or register(
                tracking, run, name=target.name, model=_standing(target, found, examples, day=day), tags=tags
            )
        rows = _rows(target, found, day=day, version=version)
        shown = _shown(target, made, figure) | logged(
            tracking, run, version=version, reason=found.reason, rows=rows[target.table]
        )
        for written in _published(warehouse, target, rows, day=day):
            of_table = shown if written.table == target.table else {"outcome": shown["outcome"]}
            result = materialised(
                written,
                rows[written.table],
                read_snapshot_id=snapshot_id,
                metadata={**of_table, "dagster/partition_row_count": rows[written.table].height},
                columns=meanings(target)[written.table].columns,
            )
            yield result._replace(asset_key=dg.AssetKey(written.table.split(".")))

    return scores


def _spec(target: Target, table: str, meaning: Meaning) -> dg.AssetSpec:
    is_personal = table != target.comparison_table
    return dg.AssetSpec(
        key=table.split("."),
        deps=[target.examples.split(".")],
        group_name="segments",
        description=meaning.description,
        kinds={"python", "sklearn", "lightgbm", "mlflow"},
        owners=["team:data-science"],
        tags={"personal": "yes"} if is_personal else {},
    )


class _Of:
    """A context of several assets, as the one that `run_tags` names."""

    has_partition_key = True

    def __init__(self, context: dg.AssetExecutionContext, target: Target) -> None:
        self.run, self.partition_key = context.run, context.partition_key
        self.asset_key = dg.AssetKey(target.table.split("."))


def _made(
    context: dg.AssetExecutionContext,
    tracking: Tracking,
    target: Target,
    examples: pl.DataFrame,
    *,
    day: date,
    seed: int,
) -> _Made:
    """By the standing model where the run asks for it, else by a new one."""
    used = standing(context, tracking, target.name)
    if used is None or not isinstance(used[0].model, ScoreModel) or used[0].features != target.features:
        return _Made(scoring.score_people(target, examples, seed=seed), None, day)
    stands, version = used
    return _Made(scoring.score_with(target, examples, used[0].model), version, stands.trained_as_of)


def _standing(target: Target, found: Scores, examples: pl.DataFrame, *, day: date) -> StandingModel | None:
    """What is registered: the model, and how its features look among the people scored this day."""
    if found.model is None:
        return None
    scored = examples.filter(pl.col(target.label).is_null())
    return StandingModel(
        target.name, found.model, drift.reference_of(scored, target.features), day, tuple(target.features)
    )


def _rows(target: Target, found: Scores, *, day: date, version: int | None) -> dict[str, pl.DataFrame]:
    of_day = pl.lit(day).alias("as_of_on")
    return {
        target.table: dated(found.people, day=day, version=version),
        target.validation_table: scoring.validation_rows(found).select(of_day, pl.all()),
        target.comparison_table: scoring.comparison_rows(target, found).select(of_day, pl.all()),
    }


def _published(warehouse: Warehouse, target: Target, rows: Mapping[str, pl.DataFrame], *, day: date) -> list[Written]:
    """The three tables of the day, in one transaction."""
    scope = Equal((("as_of_on", day),))
    changes = []
    with warehouse.session() as session:
        for number, (table, meaning) in enumerate(meanings(target).items()):
            session.stage_rows(f"new_{number}", rows[table])
            changes.append(Replace(table, f"new_{number}", scope, meaning.description, meaning.columns))
        return session.commit(changes)


def _log(run: TrackedRun, target: Target, made: _Made, figure: "Figure | None", *, seed: int) -> None:
    report = made.found.report
    trained = "" if made.trained_as_of is None else made.trained_as_of.isoformat()
    run.params({"seed": seed, "folds": scoring.FOLDS, "trained_as_of": trained, "features": ", ".join(target.features)})
    run.metrics({"people_scored": made.found.people.height, **_metrics(report)})
    if report:
        run.params({"chosen": report.chosen})
        run.json("candidates.json", scoring.comparison_rows(target, made.found).to_dicts())
    if figure is not None:
        run.figure("calibration.png", figure)


def _metrics(report: ScoreReport | None) -> dict[str, float]:
    if report is None:
        return {}
    metrics = {"examples": report.examples, "positives": report.positives, "base_log_loss": report.base_log_loss}
    for score in report.candidates:
        for name, interval in score.metrics.items():
            metrics |= three(f"{score.name}_{name}", interval)
    return metrics


def _shown(target: Target, made: _Made, figure: "Figure | None") -> dict[str, Any]:
    bands = made.found.people.group_by(target.band_column).agg(
        people=pl.len(), mean_share=pl.col(target.share_column).mean()
    )
    shown: dict[str, Any] = {
        "bands": markdown_table(bands.sort("mean_share", descending=True)),
        "trained_as_of": str(made.trained_as_of),
        "not_for": target.never,
    }
    if report := made.found.report:
        compared = [
            {"model": c.name, **{name: str(interval) for name, interval in c.metrics.items()}}
            for c in report.candidates
        ]
        shown |= {"candidates": markdown_table(pl.DataFrame(compared)), "chosen": report.chosen}
    if figure is not None:
        shown["calibration"] = picture(figure, title=f"{target.title}: foretold against observed")
    return shown


ASSETS = [score_asset(target) for target in TARGETS]
