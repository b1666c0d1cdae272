"""Published: the native DuckDB file analysts open. Wiring only; copying is in ``xmkt_assets.published``."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import dagster as dg
import polars as pl

from xmkt_assets import published
from xmkt_assets.assets.columns import column_meanings
from xmkt_assets.known_tables import known_tables
from xmkt_assets.materialisation import markdown_table
from xmkt_assets.published import Described, is_published
from xmkt_assets.resources import REPOSITORY, Warehouse
from xmkt_assets.segments.targets import TARGETS
from xmkt_assets.sql_lineage import upstream_columns
from xmkt_assets.sql_models import SqlModel

# Grains of tables that Python makes; a SQL file says its own.
GRAINS = {
    "raw.file_ledger": "partner, feed, dt, source_file",
    "segments.cluster_choice": "as_of_on, method, k",
    "segments.person_clusters": "as_of_on, person_id",
    "segments.association_rules": "as_of_on, scope, antecedent, consequent",
    "segments.interest_rules": "as_of_on, rule_id",
    "segments.next_interest": "as_of_on, person_id, rank",
    "segments.review_sentiment": "as_of_on, review_id",
    **{target.table: "as_of_on, person_id" for target in TARGETS},
    **{target.validation_table: "as_of_on, person_id" for target in TARGETS},
    **{target.comparison_table: "as_of_on, candidate, metric" for target in TARGETS},
    **{f"recommenders.{t}_leaderboard": "as_of_on, model, metric, compared_with" for t in ("course", "product")},
    **{f"recommenders.{t}_champion": "as_of_on" for t in ("course", "product")},
    **{f"recommenders.{t}_recommendations": "as_of_on, person_id, item_id" for t in ("course", "product")},
    "campaigns.campaign_list": "campaign_id, person_id",
    "campaigns.exclusions": "campaign_id, person_id",
    "evaluation.experiment_results": "campaign_id, arm, metric",
    "evaluation.uplift_curves": "campaign_id, arm, metric, score_name, share",
}


def published_file(finished: list[dg.AssetKey], describe: Callable[[], Mapping[str, Described]]) -> dg.AssetsDefinition:
    """The asset of the published file, downstream of every finished table; `describe` is asked when it is made."""

    @dg.asset(
        key=["published", "xmkt_duckdb"],
        group_name="published",
        deps=finished,
        kinds={"duckdb", "file"},
        owners=["team:data-engineering"],
    )
    def xmkt_duckdb(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        """The finished tables in one native DuckDB file, `published/xmkt.duckdb`, replaced in one step.

        Open it with any DuckDB tool and begin with `from catalog`: what is inside, what it means, how new it is and
        which lake snapshot it shows. `from catalog_columns` says the same of every column.
        """
        target = Path(warehouse.home) / "published" / "xmkt.duckdb"
        done = published.publish(warehouse.lake.address, target, described=describe())
        if done.without_meaning:
            context.log.warning(f"Nobody says what these columns mean: {', '.join(done.without_meaning)}.")
        tables = pl.DataFrame(done.tables, schema={"table": pl.String, "rows": pl.Int64}, orient="row")
        return dg.MaterializeResult(
            metadata={
                "snapshot_read": done.snapshot_id,
                "size_bytes": done.path.stat().st_size,
                "dagster/row_count": int(tables["rows"].sum()),
                "columns_without_meaning": len(done.without_meaning),
                "tables": markdown_table(tables, limit=100),
            }
        )

    return xmkt_duckdb


def describe(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], models: Mapping[str, SqlModel]
) -> dict[str, Described]:
    """What is known of every table that is published, from its file or from the asset that makes it."""
    specs = [s for a in assets for s in ([a] if isinstance(a, dg.AssetSpec) else a.specs)]
    meanings = column_meanings()
    columns = {table: tuple(names) for table, names in known_tables().items()}
    columns |= {table: model.column_names for table, model in models.items()}
    found = {}
    for spec in specs:
        table = ".".join(spec.key.path)
        if is_published(table):
            owner = ", ".join(spec.owners).replace("team:", "")
            found[table] = (
                _of_model(models[table], columns, owner=owner)
                if table in models
                else _of_python(spec, meanings.get(table, {}), owner=owner)
            )
    return found


def _of_model(model: SqlModel, columns: Mapping[str, tuple[str, ...]], *, owner: str) -> Described:
    traced = upstream_columns(model, schema={table: columns[table] for table in model.reads if table in columns})
    return Described(
        description=model.description,
        columns={column.name: column.description for column in model.columns},
        grain=", ".join(model.grain),
        owner=owner,
        day_column=model.partition_column or "",
        made_by=model.path,
        origins={name: ", ".join(f"{table}.{column}" for table, column in pairs) for name, pairs in traced.items()},
    )


def _of_python(spec: dg.AssetSpec, meanings: Mapping[str, str], *, owner: str) -> Described:
    words = (spec.description or "").strip().split("\n\n")[0]
    maker, grain = f"xmkt_assets/assets/{spec.key.path[0]}", GRAINS.get(".".join(spec.key.path), "")
    made_by = maker if (REPOSITORY / maker).is_dir() else f"{maker}.py"
    return Described(" ".join(words.split()), meanings, grain=grain, owner=owner, made_by=made_by)
