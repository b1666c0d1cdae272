"""The next interest and its rules in Dagster. Wiring only; the sums are in ``xmkt_assets.segments.next_interest``."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

import dagster as dg
import polars as pl

from xmkt_assets.assets.segments.shared import EXPERIMENT, dated, logged, outcome, register, standing, three
from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import drift, interest_pictures, interest_rules, next_interest
from xmkt_assets.segments.interest_features import SIGNALS
from xmkt_assets.segments.next_interest import NextInterest, NextInterestModel, Report
from xmkt_assets.segments.standing import StandingModel
from xmkt_assets.tracking import TrackedRun, run_tags
from xmkt_assets.warehouse import Equal, Replace, Written

MODEL: Final = "next_interest"
TABLE, RULES = "segments.next_interest", "segments.interest_rules"
FEATURES: Final = ("topic", *SIGNALS)
REMEMBERED_ROWS: Final = 200_000  # to compare later days with

_COLUMNS: Final = f"person_id, topic, {', '.join(SIGNALS)}"
TO_SCORE: Final = f"""
    select {_COLUMNS} from segments.interest_examples where as_of_on = $day and next_topic is null
"""
# The same people whenever it is asked: no more than can be learnt from in reasonable time.
TO_LEARN: Final = f"""
    with people as (
        select distinct person_id
        from segments.interest_examples
        where as_of_on = $day and next_topic is not null
        order by md5(person_id)
        limit {next_interest.MOST_PEOPLE}
    )
    select {_COLUMNS}, next_topic
    from segments.interest_examples
    where as_of_on = $day and next_topic is not null and person_id in (select person_id from people)
"""


class _Meaning(NamedTuple):
    description: str
    columns: Mapping[str, str]


MEANINGS: Final = {
    TABLE: _Meaning(next_interest.SCORES_DESCRIPTION, next_interest.SCORES_COLUMNS),
    RULES: _Meaning(interest_rules.RULES_DESCRIPTION, interest_rules.RULES_COLUMNS),
}


class NextInterestConfig(dg.Config):
    """The seed of samples, folds, trees and intervals."""

    seed: int = 7


class _Day(NamedTuple):
    """What a day gives: `found` is None where a standing model was used, of `version`."""

    people: pl.DataFrame
    rules: pl.DataFrame
    model: StandingModel | None
    found: NextInterest | None
    version: int | None
    unknown: dict[str, int]
    reason: str | None


def _spec(table: str, description: str, *, is_personal: bool) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=table.split("."),
        deps=[["segments", "interest_examples"]],
        group_name="segments",
        description=description,
        kinds={"python", "sklearn", "mlflow"},
        owners=["team:data-science"],
        tags={"personal": "yes"} if is_personal else {},
        metadata={"dagster/table_name": table},
    )


@dg.multi_asset(
    name="segments__next_interest",
    specs=[
        _spec(TABLE, MEANINGS[TABLE].description, is_personal=True),
        _spec(RULES, MEANINGS[RULES].description, is_personal=False),
    ],
    partitions_def=DAYS,
    pool="training",  # dagster.yaml: one run at a time trains
)
def next_interests(
    context: dg.AssetExecutionContext, config: NextInterestConfig, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """Learn (or take the standing model), score everybody, keep the rules; both tables say which model made them."""
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    made = _of_day(context, warehouse, tracking, day=day, seed=config.seed)
    tags = run_tags(_OfScores(context), snapshot_id=snapshot_id) | outcome(made.reason)
    with tracking.run(f"{MODEL} {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.metrics({"people_scored": made.people["person_id"].n_unique(), "unknown_topics": len(made.unknown)})
        _log(run, made, seed=config.seed)
        version = made.version or register(tracking, run, name=MODEL, model=made.model, tags=tags)
    rows = {TABLE: dated(made.people, day=day, version=version), RULES: dated(made.rules, day=day, version=version)}
    for written in _published(warehouse, rows, day=day):
        of_day, shown = rows[written.table], _of_people(made) if written.table == TABLE else _of_rules(made)
        metadata = logged(tracking, run, version=version, reason=made.reason, rows=of_day) | shown
        columns = MEANINGS[written.table].columns
        result = materialised(written, of_day, read_snapshot_id=snapshot_id, metadata=metadata, columns=columns)
        yield result._replace(asset_key=dg.AssetKey(written.table.split(".")))


class _OfScores:
    """A context of both tables, as the one that `run_tags` names."""

    has_partition_key = True

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self.run, self.partition_key = context.run, context.partition_key
        self.asset_key = dg.AssetKey(TABLE.split("."))


def _of_day(
    context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking, *, day: date, seed: int
) -> _Day:
    to_score = warehouse.read(TO_SCORE, day=day)
    used = standing(context, tracking, MODEL)
    if used is not None and isinstance(used[0].model, NextInterestModel):
        scored = next_interest.score(used[0].model, to_score)
        return _Day(scored.rows, used[0].model.rules, used[0], None, used[1], scored.unknown, None)
    found = next_interest.learn(warehouse.read(TO_LEARN, day=day), seed=seed)
    if found.model is None:
        people = next_interest.not_applicable(to_score, reason=str(found.reason))
        return _Day(people, found.rules, None, found, None, {}, found.reason)
    scored = next_interest.score(found.model, to_score)
    remembered = to_score.sample(min(REMEMBERED_ROWS, to_score.height), seed=seed)
    reference = drift.reference_of(remembered, FEATURES)
    model = StandingModel(MODEL, found.model, reference, day, FEATURES)
    return _Day(scored.rows, found.rules, model, found, None, scored.unknown, None)


def _published(warehouse: Warehouse, rows: Mapping[str, pl.DataFrame], *, day: date) -> list[Written]:
    """Both tables of the day, in one transaction."""
    scope = Equal((("as_of_on", day),))
    changes = []
    with warehouse.session() as session:
        for number, (table, meaning) in enumerate(MEANINGS.items()):
            session.stage_rows(f"new_{number}", rows[table])
            changes.append(Replace(table, f"new_{number}", scope, meaning.description, meaning.columns))
        return session.commit(changes)


def _log(run: TrackedRun, made: _Day, *, seed: int) -> None:
    """Settings, numbers with intervals and pictures of what was learnt; of a standing model they are in its own run."""
    run.params({"seed": seed, "signals": ", ".join(SIGNALS)})
    if made.found is None or made.found.report is None:
        return
    report = made.found.report
    run.params({"chosen": report.chosen, "topics": report.topics, "leaves": report.leaves})
    run.params({"temperature": f"{report.temperature:.3f}", "grown_on": report.grown_on, "held_out": report.held_out})
    run.metrics(_metrics(report))
    run.json("candidates.json", interest_pictures.candidates(report).to_dicts())
    run.json("rules.json", made.rules.to_dicts())
    run.figure("tree.png", interest_pictures.tree(made.found.fitted[next_interest.CART]))
    run.figure("importance.png", interest_pictures.importance(report))
    run.figure("calibration.png", interest_pictures.calibration(report))


def _metrics(report: Report) -> dict[str, float]:
    metrics = three("gain", report.gain)
    for c in report.candidates:
        for name, interval in (("log_loss", c.log_loss), ("top_1", c.top_1), ("top_3", c.top_3)):
            metrics |= three(f"{c.name}_{name}", interval)
    return metrics


def _of_people(made: _Day) -> dict[str, Any]:
    first = made.people.filter((pl.col("rank") == 1) & pl.col("topic").is_not_null())
    topics = first.group_by("topic").agg(people=pl.len(), mean_share=pl.col("share").mean())
    unknown = ", ".join(f"{t} ({n:,} people)" for t, n in sorted(made.unknown.items())) or "none"
    shown: dict[str, Any] = {
        "first_topics": markdown_table(topics.sort(["people", "topic"], descending=[True, False])),
        "topics_unknown_to_the_model": unknown,
    }
    if made.found is not None and made.found.report is not None:
        report = made.found.report
        shown |= {
            "candidates": markdown_table(interest_pictures.candidates(report)),
            "chosen": report.chosen,
            "importance": picture(interest_pictures.importance(report), title="what each kind of signal is worth"),
            "calibration": picture(interest_pictures.calibration(report), title="promised against observed share"),
        }
    return shown


def _of_rules(made: _Day) -> dict[str, Any]:
    kept = made.rules.filter("is_above_chance")
    shown: dict[str, Any] = {
        "rules_above_chance": kept.height,
        "rules": markdown_table(
            kept.select("rule", "topic", "people", "precision", "precision_low", "precision_high", "base_share", "lift")
        ),
    }
    if made.found is not None and made.found.fitted:
        tree = interest_pictures.tree(made.found.fitted[next_interest.CART])
        shown["tree"] = picture(tree, title="the tree, question by question")
    return shown


ASSETS = [next_interests]
