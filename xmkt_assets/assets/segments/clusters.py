"""Value groups in Dagster: what is chosen by evidence, then everybody's group. Wiring only; the sums are in
``xmkt_assets.segments.cluster_choice`` and ``xmkt_assets.segments.clusters``."""

import pickle
from datetime import date
from typing import Any, Final, NamedTuple

import dagster as dg
import polars as pl

from xmkt_assets.assets.segments.shared import EXPERIMENT, dated, logged, outcome, register, standing, three
from xmkt_assets.materialisation import materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import cluster_choice as choosing
from xmkt_assets.segments import clusters, pictures, tables
from xmkt_assets.segments.drift import reference_of
from xmkt_assets.segments.intervals import Interval
from xmkt_assets.segments.standing import StandingModel
from xmkt_assets.tracking import run_tags

CHOICE: Final = "segments.cluster_choice"
PEOPLE: Final = "segments.person_clusters"
MODEL: Final = "value_clusters"
FEATURES: Final = (
    f"select person_id, {', '.join(clusters.FEATURES)} from segments.person_features where as_of_on = $day"
)


class Held(NamedTuple):
    """The grouping that a run with standing models uses, and what is known of it."""

    model: clusters.ValueClusters
    trained_as_of: date
    version: int


class ChoiceConfig(dg.Config):
    """The number of groups and the method (k-means, ward), where the evidence is not to decide; the seed."""

    k: int | None = None
    method: str | None = None
    seed: int = 7


class ClustersConfig(dg.Config):
    """The seed of k-means and of samples."""

    seed: int = 7


@dg.asset(
    key=["segments", "cluster_choice"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[["segments", "person_features"]],
    kinds={"python", "sklearn"},
    pool="training",  # dagster.yaml: one run at a time trains
    owners=["team:data-science"],
)
def cluster_choice(
    context: dg.AssetExecutionContext, config: ChoiceConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """How many value groups there are as of a date, and by which method, with the evidence for every alternative.

    k-means and Ward, 2 to 8 groups each: how well separated (silhouette), how far two random halves of the people agree
    (stability). Taken is the best separated of the stable; among equally good ones what was there before, else the
    fewest groups. A run with standing models chooses nothing, and its one row says so.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    if held := _standing(context, tracking):
        words = f"standing: version {held.version} of {MODEL}, trained as of {held.trained_as_of}; nothing chosen anew"
        rows = choosing.told(held.model.method, len(held.model.centres), why=words)
    else:
        points, _, _ = clusters.standardised(warehouse.read(FEATURES, day=day).sort("person_id"))
        wish = choosing.Wish(config.method, config.k)
        rows = choosing.choose(points, seed=config.seed, wish=wish, last=_last_choice(warehouse, day)).rows
    dated_rows = rows.select(pl.lit(day).alias("as_of_on"), pl.all())
    written = warehouse.replace(
        CHOICE,
        dated_rows,
        where={"as_of_on": day},
        description=tables.CHOICE_DESCRIPTION,
        columns=tables.CHOICE_COLUMNS,
    )
    metadata: dict[str, Any] = {
        "chosen": choosing.chosen_in_words(rows),
        "evidence": dg.MetadataValue.md(choosing.in_words(rows)),
        "dagster/partition_row_count": rows.height,
    }
    if rows["silhouette"].drop_nulls().len():
        drawn = picture(pictures.cluster_choice(rows), title="evidence per number of groups")
        metadata["silhouette_and_stability"] = drawn
    return materialised(
        written, dated_rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=tables.CHOICE_COLUMNS
    )


@dg.asset(
    key=["segments", "person_clusters"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[["segments", "person_features"], ["segments", "cluster_choice"]],
    kinds={"python", "sklearn", "mlflow"},
    pool="training",  # dagster.yaml: one run at a time trains
    owners=["team:data-science"],
    tags={"personal": "yes"},
)
def person_clusters(
    context: dg.AssetExecutionContext, config: ClustersConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per consenting person as of a date: the value group the person's behaviour falls into, and why.

    Groups of spending, policies, present interest and time since the first and last event, on the log scale, as
    segments.cluster_choice says how many. The names (high value, high potential, newcomer, steady, occasional, dormant)
    follow from the centres by rule; a group that is the one of the last snapshot keeps its name while it is true. With
    too few people, value_label is 'unknown' and reason says why. Trap: compare the label of two days, never the
    cluster number.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    features = warehouse.read(FEATURES, day=day)
    chosen, held = _chosen(warehouse, day), _standing(context, tracking)
    if held:
        found = clusters.with_model(features, held.model)
    elif chosen["is_chosen"]:
        before = _snapshot_before(context, warehouse, tracking, day)
        found = clusters.cluster_people(
            features, k=chosen["k"], method=chosen["method"], before=before, seed=config.seed
        )
    else:
        found = clusters.not_grouped(features, reason=chosen["why"])
    tags = run_tags(context, snapshot_id=snapshot_id) | outcome(found.reason)
    sizes = pictures.group_sizes(found.groups)
    with tracking.run(f"person_clusters {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.params({name: chosen[name] for name in ("k", "method")})
        run.params({"seed": config.seed, "features": ", ".join(clusters.FEATURES)})
        run.metrics({"people": found.people.height, "groups": found.groups.height, **_evidence_metrics(chosen)})
        run.json("groups.json", found.groups.to_dicts())
        run.figure("group_sizes.png", sizes)
        kept = _to_keep(found, features, day)
        version = held.version if held else register(tracking, run, name=MODEL, model=kept, tags=tags)
    rows = dated(found.people, day=day, version=version)
    written = warehouse.replace(
        PEOPLE,
        rows,
        where={"as_of_on": day},
        description=tables.CLUSTERS_DESCRIPTION,
        columns=tables.CLUSTERS_COLUMNS,
    )
    metadata = {
        **logged(tracking, run, version=version, reason=found.reason, rows=rows),
        "groups": dg.MetadataValue.md(clusters.in_words(found.groups)),
        "group_sizes": picture(sizes, title="people per value group"),
        "names": dg.MetadataValue.md(clusters.names_in_words(found.model)),
        "silhouette": str(_interval(chosen, "silhouette") or "not applicable"),
        "stability": str(_interval(chosen, "stability") or "not applicable"),
    }
    return materialised(written, rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=tables.CLUSTERS_COLUMNS)


def _standing(context: dg.AssetExecutionContext, tracking: Tracking) -> Held | None:
    """None = choose and fit; also where the standing model was made of other features than today's."""
    held = standing(context, tracking, MODEL)
    if held is None or held[0].features != clusters.FEATURES or not isinstance(held[0].model, clusters.ValueClusters):
        return None
    return Held(held[0].model, held[0].trained_as_of, held[1])


def _to_keep(found: clusters.Clustering, features: pl.DataFrame, day: date) -> StandingModel | None:
    """The model as it is registered; None where no groups were made."""
    if found.model is None:
        return None
    return StandingModel(MODEL, found.model, reference_of(features, clusters.FEATURES), day, clusters.FEATURES)


def _chosen(warehouse: Warehouse, day: date) -> dict[str, Any]:
    """The row of the choice that holds for the day; where nothing could be chosen, the one that says why."""
    rows = warehouse.read(f"select * from {CHOICE} where as_of_on = $day order by is_chosen desc limit 1", day=day)
    if rows.is_empty():
        raise dg.Failure(f"{CHOICE} has no row of {day}. Materialise it for this day, then {PEOPLE} again.")
    return rows.row(0, named=True)


def _last_choice(warehouse: Warehouse, day: date) -> tuple[str, int] | None:
    """Method and number of groups of the newest day before; never of a later one."""
    with warehouse.session() as session:
        if not session.columns(CHOICE):
            return None
        query = f"select method, k from {CHOICE} where as_of_on < $day and is_chosen order by as_of_on desc limit 1"
        rows = session.read(query, day=day)
    return None if rows.is_empty() else rows.row(0)


def _snapshot_before(
    context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking, day: date
) -> clusters.Snapshot | None:
    """The newest groups of a day before, and the model that made them where its file is there; None = no groups."""
    newest = f"select max(as_of_on) from {PEOPLE} where as_of_on < $day and cluster is not null"
    with warehouse.session() as session:
        if not session.columns(PEOPLE):
            return None
        people = session.read(
            f"select person_id, cluster, value_label, model_version from {PEOPLE} where as_of_on = ({newest})", day=day
        )
    versions = people["model_version"].drop_nulls().unique()
    if people.is_empty() or versions.is_empty():
        return None
    return clusters.Snapshot(people, _model_of(context, tracking, int(versions[0])))


def _model_of(context: dg.AssetExecutionContext, tracking: Tracking, version: int) -> clusters.ValueClusters | None:
    try:
        found = tracking.load(MODEL, version)
    except (OSError, AttributeError, ImportError, pickle.UnpicklingError) as error:
        # gone with an erasure (ModelGoneError), or of classes that the code no longer has
        context.log.warning(f"{MODEL} {version} cannot be loaded, names are kept by people alone: {error}")
        return None
    model = found.model if isinstance(found, StandingModel) else found
    return model if isinstance(model, clusters.ValueClusters) else None


def _interval(chosen: dict[str, Any], name: str) -> Interval | None:
    value = chosen[name]
    return None if value is None else Interval(value, chosen[f"{name}_low"], chosen[f"{name}_high"])


def _evidence_metrics(chosen: dict[str, Any]) -> dict[str, float]:
    return {m: v for n in ("silhouette", "stability") for m, v in three(n, _interval(chosen, n)).items()}


ASSETS = [cluster_choice, person_clusters]
