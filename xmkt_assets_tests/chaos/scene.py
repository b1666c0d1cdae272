"""The scene of a kill: a home with an old version of the partners' files loaded, and the new version in its landing.

Two ways to load: ``job`` is the load job as Dagster runs it; ``models`` the same loading and SQL without Dagster around
it, in a fifth of the time, for tests.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from xmkt_assets import simulate
from xmkt_assets.contracts import contracts
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import load_feed
from xmkt_assets.sql_models import SqlModel, load_models
from xmkt_assets.warehouse import Days, Lake, Replace, Session, Whole
from xmkt_assets_tests.chaos.looking import FEEDS

FIRST_ON: Final = date(2026, 7, 1)
OLD_DAYS: Final = 7
NEW_DAYS: Final = 10
SQL_FOLDER: Final = Path(__file__).parent.parent.parent / "dbt_like_sql"


def set_scene(home: Path, *, people: int, way: str) -> Path:
    """A home with seven days loaded, then delivered anew with other rows, and three new days beside them."""
    for folder in ("landing", "campaigns"):
        (home / folder).mkdir(parents=True)
    for seed, days in ((7, OLD_DAYS), (8, NEW_DAYS)):
        world = simulate.build_world(people=people, days=NEW_DAYS + 2, start_on=FIRST_ON, seed=seed)
        simulate.write_days(world, home / "landing", from_on=FIRST_ON, until_on=_last(days))
        if days == OLD_DAYS:
            WAYS[way](home, days)
    return home


def load_by_job(home: Path, days: int = NEW_DAYS) -> None:
    """The load job, in this process, as one run over all days."""
    from xmkt_assets.automation.jobs import LOAD
    from xmkt_assets.partitions import range_tags
    from xmkt_assets_tests.platform_helper import Platform

    tables = [f"{schema}.{feed}" for schema in ("raw", "staging") for feed in FEEDS]
    Platform(home).run(LOAD, tags=range_tags(FIRST_ON, _last(days)), only=tables)


def load_by_models(home: Path, days: int = NEW_DAYS) -> None:
    """The same loading and the same SQL, one after the other."""
    files = take_inventory(home / "landing", contracts())
    wanted = [FIRST_ON + timedelta(days=i) for i in range(days)]
    models = load_models(SQL_FOLDER)
    with Lake(home, threads=1).session() as session:
        for feed in FEEDS:
            load_feed(session, contracts()[feed], files.of(feed, wanted), run_id="chaos", loaded_at=datetime.now())
        for feed in FEEDS:
            _build(session, models[f"staging.{feed}"], days)


def prepare(way: str) -> None:
    """Import what the way needs, so that the load itself is what is timed and killed."""
    if way == "job":
        from xmkt_assets_tests.platform_helper import Platform

        Platform(Path()).defs.resolve_job_def("load_partner_drops")


def _build(session: Session, model: SqlModel, days: int) -> None:
    bounds = {"start": datetime.combine(FIRST_ON, datetime.min.time()), "end": _last(days) + timedelta(days=1)}
    session.stage("staged_rows", model.sql, {name: bounds[name] for name in model.parameters})
    until = _last(days) + timedelta(days=1)
    scope = Days(model.partition_column, FIRST_ON, until) if model.partition_column else Whole()
    session.commit([Replace(model.table, "staged_rows", scope)])


def _last(days: int) -> date:
    return FIRST_ON + timedelta(days=days - 1)


WAYS: Final[Mapping[str, Callable[..., None]]] = {"job": load_by_job, "models": load_by_models}
