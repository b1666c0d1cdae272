"""Resources: what assets are handed (lake, MLflow, folders). The only module that reads the environment.

Add a `ConfigurableResource` here when assets need a new outside thing. Keep table logic in ``warehouse`` and
MLflow logic in ``tracking``; nothing here computes.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl
import yaml

from xmkt_assets.contracts import contracts
from xmkt_assets.raw.completeness import NO_RULES, Rules
from xmkt_assets.raw.landing import DropFile, Inventory, take_inventory
from xmkt_assets.raw.lending import lent
from xmkt_assets.raw.stores import Store, open_store
from xmkt_assets.tracking import TrackedRun, Tracker
from xmkt_assets.warehouse import Lake, Session, Written

SETTINGS_FILE: Final = "settings.yaml"
LANDING_FILE: Final = "landing.yaml"
LANDING_SETTINGS: Final = ("options", "wait_for_success", "grace_seconds")
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
    landing: str

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
        landing=_landing(home),
    )


def _landing(home: Path) -> str:
    """Where partners deliver: a folder, or an fsspec address such as ``s3://bucket/landing``."""
    address = os.environ.get("XMKT_LANDING") or str(home / "landing")
    return address if "://" in address else str(Path(address).resolve())


def _landing_options() -> dict[str, Any]:
    """fsspec storage options from the environment; an error does not repeat them: they hold credentials."""
    try:
        found = json.loads(os.environ.get("XMKT_LANDING_OPTIONS") or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            'XMKT_LANDING_OPTIONS is no JSON object; wanted for example {"endpoint_url": ".."}. Set it so.'
        )
    return found


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
        os.environ.pop("XMKT_LANDING", None)  # what fills a home of its own reads no partner's files
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
    """The landing folder or address partners write to. Files younger than `settle_seconds` may still be growing.

    ``landing.yaml`` in the `home` says which partners write ``_SUCCESS`` (`wait_for_success`), how long a folder is
    waited for (`grace_seconds`) and how to open an address (`options`, fsspec storage options). Options in
    XMKT_LANDING_OPTIONS (JSON) go before; they hold credentials, so they are never part of this resource's
    configuration, which Dagster shows.
    """

    landing: str
    settle_seconds: float = 5.0
    home: str | None = None

    @property
    def store(self) -> Store:
        options = {**self._said.get("options", {}), **_landing_options()}
        return open_store(self.landing, spool=Path(self.home) / "spool" if self.home else None, options=options)

    def inventory(self, *, only_feed: str | None = None) -> Inventory:
        """What lies there now, of one feed or all."""
        grace_seconds = float(self._said.get("grace_seconds", NO_RULES.grace_seconds))
        rules = Rules(frozenset(self._said.get("wait_for_success", ())), grace_seconds)
        return take_inventory(self.store, contracts(), only_feed=only_feed, rules=rules, now_ns=time.time_ns())

    def lent(self, files: Sequence[DropFile]) -> AbstractContextManager[tuple[DropFile, ...]]:
        """`files` to read from while the block runs."""
        return lent(self.store, files)

    @property
    def _said(self) -> dict[str, Any]:
        """What ``landing.yaml`` of the home says, read at each use: a running sensor follows a change."""
        path = Path(self.home or "", LANDING_FILE)
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if self.home and path.exists() else None
        if not isinstance(found or {}, dict) or set(found or {}) - set(LANDING_SETTINGS):
            wrong = ", ".join(sorted(set(found) - set(LANDING_SETTINGS))) if isinstance(found, dict) else "no settings"
            raise ValueError(f"{path} holds {wrong}; wanted only {', '.join(LANDING_SETTINGS)}. Correct the file.")
        return found or {}


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
        "drops": PartnerDrops(landing=found.landing, settle_seconds=found.settle_seconds, home=str(found.home)),
        "tracking": Tracking(home=str(found.home)),
    }


def campaign_plans(folder: Path) -> Iterator[Path]:
    """Plan files of a campaigns folder, in order."""
    yield from sorted(folder.glob("*.yaml"))
