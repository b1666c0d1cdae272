"""Evaluation: results and uplift curves of every experiment. Wiring only; the arithmetic is in
``xmkt_assets.evaluation``.
"""

from typing import Any

import dagster as dg
import duckdb
import polars as pl

from xmkt_assets.evaluation import experiments, pictures, tables
from xmkt_assets.evaluation.metrics import metrics_of
from xmkt_assets.evaluation.words import curve_sentences
from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.resources import Warehouse
from xmkt_assets.warehouse import Replace, Whole, Written

OWNERS = ["team:marketing-analytics"]
RESULTS = "evaluation.experiment_results"
CURVES = "evaluation.uplift_curves"
PEOPLE = """
    select a.*, o.* exclude (campaign_id, person_id)
    from evaluation.experiment_assignments as a
    inner join evaluation.experiment_outcomes as o
        on o.campaign_id = a.campaign_id and o.person_id = a.person_id
"""
FEATURES = """
    select f.*
    from segments.person_features as f
    inner join evaluation.experiment_assignments as a on a.person_id = f.person_id and a.known_on = f.as_of_on
    where a.campaign_id = $campaign
"""


class UpliftConfig(dg.Config):
    """Bootstrap draws per curve, and the seed of draws and folds."""

    bootstrap_count: int = 200
    seed: int = 7


@dg.asset(
    key=["evaluation", "experiment_results"],
    group_name="evaluation",
    deps=[["evaluation", "experiment_assignments"], ["evaluation", "experiment_outcomes"]],
    kinds={"python", "scipy"},
    owners=OWNERS,
    description=tables.RESULTS_DESCRIPTION,
)
def experiment_results(warehouse: Warehouse) -> dg.MaterializeResult:
    """Sample-ratio check, then the difference in means of every arm and metric with its interval."""
    read_snapshot = warehouse.snapshot_id()
    rows = experiments.results(warehouse.read(PEOPLE))
    written = _write(warehouse, RESULTS, rows, tables.RESULTS_COLUMNS, read_snapshot=read_snapshot)
    shown = rows.select("campaign_id", "arm", "metric", "is_goal", "status", "srm_verdict", "verdict")
    metadata = {
        "experiments": rows["campaign_id"].n_unique(),
        "results": markdown_table(shown.sort("campaign_id", "arm", "is_goal", descending=[False, False, True])),
        **{f"effects_{name}": _effects_picture(name, part) for name, part in _by_campaign(rows)},
    }
    meanings = _meanings(tables.RESULTS_COLUMNS)
    return materialised(written, rows, read_snapshot_id=read_snapshot, metadata=metadata, columns=meanings)


@dg.asset(
    key=["evaluation", "uplift_curves"],
    group_name="evaluation",
    deps=[
        ["evaluation", "experiment_assignments"],
        ["evaluation", "experiment_outcomes"],
        ["segments", "person_features"],
    ],
    kinds={"python", "sklearn"},
    owners=OWNERS,
    description=tables.CURVES_DESCRIPTION,
)
def uplift_curves(config: UpliftConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """Qini curves: did the score that ranked the list, or a learnt one, find the people on whom contact works?"""
    read_snapshot = warehouse.snapshot_id()
    people = warehouse.read(PEOPLE)
    rows = experiments.curves(
        people, features=_features(warehouse, people), bootstrap_count=config.bootstrap_count, seed=config.seed
    )
    written = _write(warehouse, CURVES, rows, tables.CURVES_COLUMNS, read_snapshot=read_snapshot)
    metadata = {
        "findings": dg.MetadataValue.md("\n".join(f"- {line}" for line in curve_sentences(rows)) or "no experiment"),
        "how_qini_is_defined": "area between curve and random order, per treated person, not normalised (Radcliffe)",
        **_curve_pictures(rows, people),
    }
    meanings = _meanings(tables.CURVES_COLUMNS)
    return materialised(written, rows, read_snapshot_id=read_snapshot, metadata=metadata, columns=meanings)


def _features(warehouse: Warehouse, people: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Person features of each list made here as of its day. Where that table was never made there are none to use."""
    ours = people.filter(pl.col("source") == "platform")["campaign_id"].unique().sort()
    try:
        return {name: warehouse.read(FEATURES, campaign=name).drop("as_of_on") for name in ours}
    except duckdb.CatalogException:
        return {}


def _write(
    warehouse: Warehouse, table: str, rows: pl.DataFrame, columns: dict[str, tuple[Any, str]], *, read_snapshot: int
) -> Written:
    """Replace the table; its snapshot notes what it was made from, so that maintenance keeps both."""
    meanings = _meanings(columns)
    description = tables.RESULTS_DESCRIPTION if table == RESULTS else tables.CURVES_DESCRIPTION
    with warehouse.session() as session:
        session.stage_rows("new_rows", rows)
        change = Replace(table, "new_rows", Whole(), description, meanings)
        return session.commit([change], read_snapshot_id=read_snapshot)[0]


def _meanings(columns: dict[str, tuple[Any, str]]) -> dict[str, str]:
    return {name: meaning for name, (_, meaning) in columns.items()}


def _by_campaign(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return [(str(part["campaign_id"][0]), part) for part in rows.partition_by("campaign_id", maintain_order=True)]


def _effects_picture(name: str, rows: pl.DataFrame) -> dg.MarkdownMetadataValue:
    return picture(pictures.effects_figure(rows), title=f"effects of {name} with 95% intervals")


def _curve_pictures(rows: pl.DataFrame, people: pl.DataFrame) -> dict[str, dg.MarkdownMetadataValue]:
    """One picture per experiment and arm: the goal of the plan, or the first metric of an imported experiment."""
    found = {}
    goals = dict(people.group_by("campaign_id").agg(pl.col("goal_metric").first()).iter_rows())
    sources = dict(people.group_by("campaign_id").agg(pl.col("source").first()).iter_rows())
    for name, part in _by_campaign(rows.filter(pl.col("gain").is_not_null())):
        metric = goals[name] or metrics_of(sources[name])[0].name
        for arm in part["arm"].unique().sort():
            chosen = part.filter((pl.col("arm") == arm) & (pl.col("metric") == metric))
            if chosen.height:
                figure = pictures.curve_figure(chosen)
                found[f"curve_{name}_{arm}"] = picture(figure, title=f"Qini curves of {name}, {arm}, {metric}")
    return found


ASSETS = [experiment_results, uplift_curves]
