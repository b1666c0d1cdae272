"""Definitions: the one place where assets meet resources, jobs, schedules and sensors."""

from collections.abc import Iterable, Mapping

import dagster as dg

from xmkt_assets.assets import STAGES
from xmkt_assets.assets.published import published_file
from xmkt_assets.automation.door import door_sensors
from xmkt_assets.automation.erasures import erasure_sensors
from xmkt_assets.automation.jobs import LOAD, jobs
from xmkt_assets.automation.schedules import schedules
from xmkt_assets.automation.sensors import sensors
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_SCHEMA, EXCLUSIONS_SCHEMA
from xmkt_assets.contracts import contracts
from xmkt_assets.identity_terms import KEYS_COLUMNS, KEYS_TABLE, RULES_COLUMNS, RULES_TABLE
from xmkt_assets.notices import COLUMNS as NOTICE_COLUMNS
from xmkt_assets.partitions import DAYS
from xmkt_assets.published import is_published
from xmkt_assets.recommenders.tables import MEANINGS
from xmkt_assets.resources import SQL_FOLDER, resources
from xmkt_assets.segments.tables import CLUSTERS_COLUMNS, RISK_COLUMNS
from xmkt_assets.sql_assets import Catalogue, sql_asset, sql_check
from xmkt_assets.sql_models import SqlModel, load_checks, load_models, refuse_unknown_reads

# Tables a model may read before anything was written to them: no campaign may have run yet.
MAY_BE_EMPTY = {"campaigns.campaign_list": CAMPAIGN_LIST_SCHEMA, "campaigns.exclusions": EXCLUSIONS_SCHEMA}
# Columns of Python-made tables that SQL models read, so that column lineage goes through them.
PYTHON_COLUMNS: dict[str, Mapping[str, object]] = {
    "staging.notices": NOTICE_COLUMNS,
    KEYS_TABLE: KEYS_COLUMNS,
    RULES_TABLE: RULES_COLUMNS,
    "segments.person_clusters": CLUSTERS_COLUMNS,
    "segments.claim_risk": RISK_COLUMNS,
    "recommenders.course_leaderboard": MEANINGS["leaderboard"].columns,
    "recommenders.product_leaderboard": MEANINGS["leaderboard"].columns,
    "campaigns.campaign_list": CAMPAIGN_LIST_SCHEMA,
}
# Assets that are files: nothing of them can be published or read.
NO_TABLES = {"campaigns.exports"}
RAW_COLUMNS = ("partner", "dt", "source_file", "source_row", "loaded_at")


@dg.definitions
def defs() -> dg.Definitions:
    """The whole platform."""
    return build_defs()


def build_defs(*, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The platform with some resources replaced: tests and tools build the same graph."""
    python_assets = [asset for stage in STAGES.values() for asset in stage]
    models = load_models(SQL_FOLDER)
    catalogue = _catalogue(models, python_assets)
    queries = load_checks(SQL_FOLDER, tables=[*models, *catalogue.partitions])
    refuse_unknown_reads(models, known=catalogue.partitions, checks=queries)
    sql_assets = [sql_asset(model, catalogue) for model in models.values()]
    checks = [sql_check(query) for query in queries]
    made = jobs(models)
    return dg.Definitions(
        assets=[*python_assets, *sql_assets, published_file(_finished([*python_assets, *sql_assets]))],
        asset_checks=[*checks, *_asset_checks()],
        resources={**resources(), **(resource_overrides or {})},
        jobs=list(made.values()),
        schedules=schedules(made[LOAD]),
        sensors=[*sensors(made), *door_sensors(made), *erasure_sensors(made)],
        executor=dg.in_process_executor,
    )


def _asset_checks() -> list[dg.AssetChecksDefinition]:
    from xmkt_assets.assets import campaigns, evaluation, recommenders, segments

    modules = (segments, recommenders, campaigns, evaluation)
    return [check for module in modules for check in getattr(module, "CHECKS", [])]


def _catalogue(
    models: Mapping[str, SqlModel], python_assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]
) -> Catalogue:
    """What is known of every table: partitions, whether it is a snapshot, columns."""
    partitions: dict[str, dg.PartitionsDefinition[str] | None] = {}
    for asset in python_assets:
        keys = [asset.key] if isinstance(asset, dg.AssetSpec) else asset.keys
        for key in keys:
            partitions[".".join(key.path)] = asset.partitions_def
    python_tables = set(partitions)
    partitions |= {t: DAYS if m.kind == "partition" else None for t, m in models.items()}
    dated = {t for t in python_tables if partitions[t] == DAYS and not t.startswith("raw.")}
    columns = {f"raw.{c.feed}": (*RAW_COLUMNS, *c.column_names) for c in contracts().values()}
    columns |= {t: tuple(c.name for c in m.columns) for t, m in models.items()}
    columns |= {t: tuple(names) for t, names in PYTHON_COLUMNS.items()}
    return Catalogue(
        partitions=partitions,
        snapshots=frozenset(dated | {t for t, m in models.items() if m.is_snapshot}),
        columns=columns,
        empty=MAY_BE_EMPTY,
    )


def _finished(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]) -> list[dg.AssetKey]:
    keys = [k for a in assets for k in ([a.key] if isinstance(a, dg.AssetSpec) else a.keys)]
    return sorted(k for k in keys if is_published(".".join(k.path)) and ".".join(k.path) not in NO_TABLES)
