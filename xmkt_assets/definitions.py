"""Definitions: the one place where assets meet resources, jobs, schedules and sensors."""

from collections.abc import Iterable, Mapping

import dagster as dg

from xmkt_assets.assets import STAGES, maintenance
from xmkt_assets.assets.columns import table_schemas
from xmkt_assets.assets.published import describe, published_file
from xmkt_assets.automation.door import door_sensors
from xmkt_assets.automation.erasures import erasure_sensors
from xmkt_assets.automation.jobs import LOAD, MAINTAIN, jobs, of_retraining
from xmkt_assets.automation.retraining import retraining_sensors
from xmkt_assets.automation.schedules import schedules
from xmkt_assets.automation.sensors import sensors
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_SCHEMA, EXCLUSIONS_SCHEMA
from xmkt_assets.freshness import policies
from xmkt_assets.known_tables import known_tables
from xmkt_assets.partitions import DAYS
from xmkt_assets.published import is_published
from xmkt_assets.resources import SQL_FOLDER, resources
from xmkt_assets.sql_assets import Catalogue, full_look, sql_asset, sql_check
from xmkt_assets.sql_models import SqlModel, no_collecting, read_folder

# Tables a model may read before anything was written to them: no campaign may have run yet.
MAY_BE_EMPTY = {"campaigns.campaign_list": CAMPAIGN_LIST_SCHEMA, "campaigns.exclusions": EXCLUSIONS_SCHEMA}
# Assets that are files: nothing of them can be published or read.
NO_TABLES = {"campaigns.exports"}


@dg.definitions
def defs() -> dg.Definitions:
    """The whole platform."""
    return build_defs()


@no_collecting()
def build_defs(*, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The platform with some resources replaced: tests and tools build the same graph."""
    python_assets = [asset for stage in STAGES.values() for asset in stage]
    models, queries, _ = read_folder(SQL_FOLDER, known=_tables_outside(python_assets))
    catalogue = _catalogue(models, python_assets)
    sql_assets = [sql_asset(model, catalogue) for model in models.values()]
    checks = [sql_check(query) for query in queries]
    looks = [look for model in models.values() if (look := full_look(model))]
    made = jobs(models)
    tables = [*python_assets, *sql_assets]
    published = published_file(_finished(tables), lambda: describe(tables, models))
    assets = [*tables, published, *maintenance.ASSETS]
    return dg.Definitions(
        assets=_with_pages(assets, models),
        asset_checks=[*checks, *looks, *_asset_checks()],
        resources={**resources(), **(resource_overrides or {})},
        jobs=list(made.values()),
        schedules=schedules(made[LOAD], maintain=made[MAINTAIN]),
        sensors=[*sensors(made), *retraining_sensors(made), *door_sensors(made), *erasure_sensors(made)],
        executor=dg.in_process_executor,
    )


def _with_pages(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], models: dict[str, SqlModel]
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """What every table's page shows whoever made it: its columns, and how old it may grow."""
    schemas = table_schemas()
    assets = list(assets)
    fresh = policies([t for asset in assets for t in _tables_of(asset)], models, of_retraining(models))

    def paged(spec: dg.AssetSpec) -> dg.AssetSpec:
        table = ".".join(spec.key.path)
        columns = {"dagster/column_schema": schemas[table]} if table in schemas else {}
        return spec.replace_attributes(metadata={**columns, **spec.metadata}, freshness_policy=fresh[table])

    return [asset.map_asset_specs(paged) if isinstance(asset, dg.AssetsDefinition) else asset for asset in assets]


def _asset_checks() -> list[dg.AssetChecksDefinition]:
    from xmkt_assets.assets import campaigns, evaluation, recommenders, segments

    modules = (segments, recommenders, campaigns, evaluation)
    return [check for module in modules for check in getattr(module, "CHECKS", [])]


def _catalogue(
    models: Mapping[str, SqlModel], python_assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]
) -> Catalogue:
    """What is known of every table: partitions, whether it is a snapshot, columns."""
    partitions = {table: asset.partitions_def for asset in python_assets for table in _tables_of(asset)}
    python_tables = set(partitions)
    partitions |= {t: DAYS if m.kind == "partition" else None for t, m in models.items()}
    dated = {t for t in python_tables if partitions[t] == DAYS and not t.startswith("raw.")}
    columns = {t: tuple(names) for t, names in known_tables().items()}
    columns |= {t: m.column_names for t, m in models.items()}
    return Catalogue(
        partitions=partitions,
        snapshots=frozenset(dated | {t for t, m in models.items() if m.is_snapshot}),
        columns=columns,
        empty=MAY_BE_EMPTY,
    )


def _tables_outside(
    python_assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
) -> dict[str, Mapping[str, str] | None]:
    """Tables that no SQL file makes, with their columns; None where ``known_tables`` does not say them."""
    made = {table: None for asset in python_assets for table in _tables_of(asset)}
    return {**made, **known_tables()}


def _tables_of(asset: dg.AssetsDefinition | dg.AssetSpec) -> list[str]:
    keys = [asset.key] if isinstance(asset, dg.AssetSpec) else asset.keys
    return [".".join(key.path) for key in keys]


def _finished(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]) -> list[dg.AssetKey]:
    keys = [k for a in assets for k in ([a.key] if isinstance(a, dg.AssetSpec) else a.keys)]
    return sorted(k for k in keys if is_published(".".join(k.path)) and ".".join(k.path) not in NO_TABLES)
