"""Resources: what assets are handed (lake, MLflow, folders). The only module that reads the environment.

Add a `ConfigurableResource` here when assets need a new outside thing. Keep table logic in ``warehouse`` and
MLflow logic in ``tracking``; nothing here computes.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Final

import dagster as dg
import polars as pl
import yaml

from xmkt_assets.tracking import TrackedRun, Tracker
from xmkt_assets.warehouse import Lake, Session, Written

SETTINGS_FILE: Final = "settings.yaml"
REPOSITORY: Final = Path(__file__).parent.parent
SQL_FOLDER: Final = REPOSITORY / "dbt_like_sql"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where everything lies and from which day partitions begin.

    `start_on` is remembered in ``<home>/settings.yaml``, so that a home is opened with the days it was made with.
    """

    home: Path
    start_on: date
    threads: int | None
    memory_limit: str | None
    settle_seconds: float

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def campaigns(self) -> Path:
        return self.home / "campaigns"

    @property
    def published(self) -> Path:
        return self.home / "published" / "xmkt.duckdb"


def settings() -> Settings:
    """Settings from the environment, then ``<home>/settings.yaml``, then defaults."""
    home = Path(os.environ.get("XMKT_HOME") or REPOSITORY / "data").resolve()
    path = home / SETTINGS_FILE
    saved = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    start_on = os.environ.get("XMKT_START_ON") or saved.get("start_on") or "2026-07-01"
    threads = os.environ.get("XMKT_THREADS")
    return Settings(
        home=home,
        start_on=date.fromisoformat(str(start_on)),
        threads=int(threads) if threads else None,
        memory_limit=os.environ.get("XMKT_MEMORY_LIMIT"),
        settle_seconds=float(os.environ.get("XMKT_SETTLE_SECONDS", "5")),
    )


def prepare_home(home: Path, *, start_on: date | None = None) -> Path:
    """Make the folders of a home and Dagster's own home in it; point this process at them. Returns DAGSTER_HOME."""
    dagster_home = home / "dagster"
    for folder in (home / "landing", home / "campaigns", dagster_home):
        folder.mkdir(parents=True, exist_ok=True)
    template = (Path(__file__).parent / "dagster.yaml").read_text(encoding="utf-8")
    (dagster_home / "dagster.yaml").write_text(template.replace("{dagster_home}", str(dagster_home)), encoding="utf-8")
    if start_on is not None:
        text = yaml.safe_dump({"start_on": start_on.isoformat()})
        (home / SETTINGS_FILE).write_text(text, encoding="utf-8")
    os.environ["XMKT_HOME"] = str(home)
    os.environ["DAGSTER_HOME"] = str(dagster_home)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    return dagster_home


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The DuckLake under ``home``: read with SQL, replace a table or a slice of it in one transaction."""

    home: str
    threads: int | None = None
    memory_limit: str | None = None

    @property
    def lake(self) -> Lake:
        return Lake(Path(self.home), threads=self.threads, memory_limit=self.memory_limit)

    def session(self) -> AbstractContextManager[Session]:
        return self.lake.session()

    def read(self, query: str, **params: object) -> pl.DataFrame:
        return self.lake.read(query, **params)

    def replace(
        self,
        table: str,
        rows: pl.DataFrame,
        *,
        where: Mapping[str, object] | None = None,
        description: str = "",
        columns: Mapping[str, str] | None = None,
    ) -> Written:
        return self.lake.replace(table, rows, where=where, description=description, columns=columns)

    def snapshot_id(self) -> int:
        return self.lake.snapshot_id()


class PartnerDrops(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The landing folder partners write to. Files younger than `settle_seconds` may still be growing."""

    landing: str
    settle_seconds: float = 5.0

    @property
    def folder(self) -> Path:
        return Path(self.landing)


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """MLflow under ``home``: one run per materialisation, model versions, the champion alias."""

    home: str

    @cached_property
    def _tracker(self) -> Tracker:
        return Tracker(Path(self.home))

    def run(
        self, name: str, *, experiment: str, tags: Mapping[str, str], parent_run_id: str | None = None
    ) -> AbstractContextManager[TrackedRun]:
        return self._tracker.run(name, experiment=experiment, tags=tags, parent_run_id=parent_run_id)

    def register(self, model: str, run_id: str, artifact: str, *, tags: Mapping[str, str]) -> int:
        return self._tracker.register(model, run_id, artifact, tags=tags)

    def champion(self, model: str) -> int | None:
        return self._tracker.champion(model)

    def promote(self, model: str, version: int) -> None:
        self._tracker.promote(model, version)

    def load(self, model: str, version: int) -> object:
        return self._tracker.load(model, version)

    def version_tags(self, model: str, version: int) -> Mapping[str, str]:
        return self._tracker.version_tags(model, version)

    def ui_url(self, run_id: str, experiment: str) -> str:
        return self._tracker.ui_url(run_id, experiment)


def resources() -> dict[str, object]:
    """The resources every asset is handed, from `settings`."""
    found = settings()
    return {
        "warehouse": Warehouse(home=str(found.home), threads=found.threads, memory_limit=found.memory_limit),
        "drops": PartnerDrops(landing=str(found.landing), settle_seconds=found.settle_seconds),
        "tracking": Tracking(home=str(found.home)),
    }


def campaign_plans(folder: Path) -> Iterator[Path]:
    """Plan files of a campaigns folder, in order."""
    yield from sorted(folder.glob("*.yaml"))
