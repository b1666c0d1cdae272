"""Drift in Dagster: the day's features and scores of every model against its training. Wiring only; the sums are in
``xmkt_assets.segments.drift``."""

import pickle
from collections.abc import Iterator
from datetime import date
from typing import Any, Final, NamedTuple

import dagster as dg
import polars as pl

from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import drift_table
from xmkt_assets.segments.drift import LEAST_PEOPLE, MAJOR, compare, reference_of
from xmkt_assets.segments.drift_pictures import drift_bars
from xmkt_assets.segments.drift_table import Compared, not_compared
from xmkt_assets.segments.standing import StandingModel
from xmkt_assets.segments.targets import TARGETS
from xmkt_assets.warehouse import Session


class Watched(NamedTuple):
    """A model with the tables it is fed from and writes, and which rows and columns of them are compared.

    `features`: table and the rows of it that are scored; the columns are those the model was trained on. `scores`:
    table, rows, columns.
    """

    model: str
    features: tuple[str, str]
    scores: tuple[str, str]
    score_columns: tuple[str, ...]


WATCHED: Final = (
    Watched(
        "value_clusters",
        features=("segments.person_features", "true"),
        scores=("segments.person_clusters", "true"),
        score_columns=("value_label",),
    ),
    *(
        Watched(
            target.name,
            features=(target.examples, f"{target.label} is null"),
            scores=(target.table, "true"),
            score_columns=(target.share_column,),
        )
        for target in TARGETS
    ),
    Watched(
        "next_interest",
        features=("segments.interest_examples", "next_topic is null"),
        scores=("segments.next_interest", "rank = 1"),
        score_columns=("topic", "share"),
    ),
)


@dg.asset(
    key=["segments", "model_drift"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[table.split(".") for watched in WATCHED for table, _ in (watched.features, watched.scores)],
    kinds={"python", "mlflow"},
    owners=["team:data-science"],
    check_specs=[
        dg.AssetCheckSpec(
            f"{watched.model}_is_as_trained",
            asset=["segments", "model_drift"],
            description=f"The people whom {watched.model} scores, and its scores, look like those of its training. "
            "Where they no longer do, the columns are named; major drift starts a retraining. Stops nothing.",
        )
        for watched in WATCHED
    ],
)
def model_drift(context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking) -> dg.MaterializeResult:
    """Whether the people of a day still look like those each model was trained on: its features, and what it says.

    One row per model and column: population stability index, Kolmogorov-Smirnov distance, share of empty values, and
    what changed most, in words. From a PSI of 0.1 beyond chance drift is moderate, from 0.2 major; after `score_people`
    a major one trains the models again. On the day a model was trained there is none. Only figures of whole columns.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    with warehouse.session() as session:
        rows = drift_table.rows_of((_compared(w, session, tracking, day) for w in WATCHED), day=day)
    written = warehouse.replace(
        drift_table.TABLE,
        rows,
        where={"as_of_on": day},
        description=drift_table.DESCRIPTION,
        columns=drift_table.COLUMNS,
    )
    made = materialised(written, rows, read_snapshot_id=snapshot_id, metadata=_shown(rows), columns=drift_table.COLUMNS)
    return made._replace(check_results=list(_checks(rows)))


def _compared(watched: Watched, session: Session, tracking: Tracking, day: date) -> Compared:
    """The model that made the day's scores against the people and scores of the day it was trained on."""
    table, where = watched.scores
    version = session.read(f"select max(model_version) from {table} where as_of_on = $day", day=day).item()
    if version is None:
        return not_compared(watched.model, version=None, reason=f"no model made rows of {table} on {day}")
    try:
        model = tracking.load(watched.model, version)
    except (OSError, AttributeError, ImportError, pickle.UnpicklingError) as error:
        # gone with an erasure (ModelGoneError), or of classes that the code no longer has
        return not_compared(watched.model, version=version, reason=f"version {version} cannot be loaded: {error}")
    if not isinstance(model, StandingModel):
        kept = "keeps nothing of its training rows; train it again"
        return not_compared(watched.model, version=version, reason=f"version {version} {kept}")
    columns, known = ", ".join(watched.score_columns), f"and {where} and model_version = $version"
    scores = f"select {columns} from {table} where as_of_on = $day {known}"
    trained = session.read(scores, day=model.trained_as_of, version=version)
    return Compared(
        watched.model,
        version,
        model.trained_as_of,
        compare(model.reference, _features(watched, session, model, day)),
        compare(reference_of(trained, watched.score_columns), session.read(scores, day=day, version=version)),
    )


def _features(watched: Watched, session: Session, model: StandingModel, day: date) -> pl.DataFrame:
    """The day's rows that are scored, with those columns of the training that are still there."""
    table, where = watched.features
    there = session.columns(table)
    columns = ", ".join(c for c in model.reference.columns if c in there) or "as_of_on"
    return session.read(f"select {columns} from {table} where as_of_on = $day and {where}", day=day)


def _shown(rows: pl.DataFrame) -> dict[str, Any]:
    columns = ("model", "feature", "kind", "psi", "psi_by_chance", "level", "reason")
    far = drift_table.drifted(rows)
    silent = rows.filter(pl.col("level") == "not applicable").select("model", "reason").unique(maintain_order=True)
    return {
        "drifted": markdown_table(far.select(columns)) if far.height else "nothing: every column is as at training",
        "psi": picture(drift_bars(rows), title="population stability index per model and column"),
        **({"not_applicable": markdown_table(silent)} if silent.height else {}),
        "dagster/partition_row_count": rows.height,
    }


def _checks(rows: pl.DataFrame) -> Iterator[dg.AssetCheckResult]:
    for watched in WATCHED:
        of_model = rows.filter(pl.col("model") == watched.model)
        far = drift_table.drifted(of_model)
        yield dg.AssetCheckResult(
            check_name=f"{watched.model}_is_as_trained",
            asset_key=dg.AssetKey(drift_table.TABLE.split(".")),
            passed=far.is_empty(),
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "said": drift_table.in_words(of_model),
                "drifted": ", ".join(far["feature"]) or "none",
                "major": ", ".join(far.filter(pl.col("level") == MAJOR)["feature"]) or "none",
                "least_people": LEAST_PEOPLE,
            },
        )


ASSETS = [model_drift]
