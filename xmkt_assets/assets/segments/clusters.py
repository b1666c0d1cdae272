"""Value groups in Dagster. Wiring only; the sums are in ``xmkt_assets.segments.clusters``."""

from datetime import date

import dagster as dg

from xmkt_assets.assets.segments.shared import EXPERIMENT, dated, logged, outcome, register, three
from xmkt_assets.materialisation import materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import clusters, pictures, tables
from xmkt_assets.tracking import run_tags


class ClustersConfig(dg.Config):
    """How many value groups, and the seed of k-means."""

    k: int = 5
    seed: int = 7


@dg.asset(
    key=["segments", "person_clusters"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[["segments", "person_features"]],
    kinds={"python", "sklearn", "mlflow"},
    pool="training",  # dagster.yaml: one run at a time trains
    owners=["team:data-science"],
    tags={"personal": "yes"},
)
def person_clusters(
    context: dg.AssetExecutionContext, config: ClustersConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per consenting person as of a date: the value group the person's behaviour falls into.

    k-means on the logarithms of spending, policies, present interest and time since the first and last event; the names
    (high value, high potential, newcomer, steady, occasional, dormant) follow from the centres by rule. With too few
    people, value_label is 'unknown' and reason says why. Trap: groups are fitted anew each day; compare the label of
    two days, never the cluster number.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    features = warehouse.read("select * from segments.person_features where as_of_on = $day", day=day)
    found = clusters.cluster_people(features, k=config.k, seed=config.seed)
    tags = run_tags(context, snapshot_id=snapshot_id) | outcome(found.reason)
    sizes = pictures.group_sizes(found.groups)
    with tracking.run(f"person_clusters {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.params({"k": config.k, "seed": config.seed, "features": ", ".join(clusters.FEATURES)})
        run.metrics({"people": found.people.height, "groups": found.groups.height, **_cluster_metrics(found)})
        run.json("groups.json", found.groups.to_dicts())
        run.figure("group_sizes.png", sizes)
        version = register(tracking, run, name="value_clusters", model=found.model, tags=tags)
    rows = dated(found.people, day=day, version=version)
    written = warehouse.replace(
        "segments.person_clusters",
        rows,
        where={"as_of_on": day},
        description=tables.CLUSTERS_DESCRIPTION,
        columns=tables.CLUSTERS_COLUMNS,
    )
    metadata = {
        **logged(tracking, run, version=version, reason=found.reason, rows=rows),
        "groups": dg.MetadataValue.md(clusters.in_words(found.groups)),
        "group_sizes": picture(sizes, title="people per value group"),
        "silhouette": str(found.silhouette or "not applicable"),
        "stability": str(found.stability or "not applicable"),
    }
    return materialised(written, rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=tables.CLUSTERS_COLUMNS)


def _cluster_metrics(found: clusters.Clustering) -> dict[str, float]:
    return three("silhouette", found.silhouette) | three("stability", found.stability)


ASSETS = [person_clusters]
