"""Resources: what assets are handed (lake, MLflow, folders). The only module that reads the environment.

Add a `ConfigurableResource` here when assets need a new outside thing. Keep table logic in ``warehouse`` and
MLflow logic in ``tracking``; nothing here computes.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import yaml

from xmkt_assets.contracts import contracts
from xmkt_assets.lake_address import CREDENTIALS, LakeAddress
from xmkt_assets.locks import LOCK_WAIT_SECONDS
from xmkt_assets.machine import share_of, this_machine
from xmkt_assets.publishing import audit_of
from xmkt_assets.raw.completeness import NO_RULES, Rules
from xmkt_assets.raw.landing import DropFile, Inventory, take_inventory
from xmkt_assets.raw.lending import lent
from xmkt_assets.raw.stores import Store, open_store
from xmkt_assets.tracking import TrackedRun, Tracker
from xmkt_assets.warehouse import Lake, Session, Written

if TYPE_CHECKING:
    import polars as pl

SETTINGS_FILE: Final = "settings.yaml"
LANDING_FILE: Final = "landing.yaml"
LANDING_SETTINGS: Final = ("options", "wait_for_success", "grace_seconds")
LAKE_FILE: Final = "lake.yaml"
LAKE_SETTINGS: Final = ("catalog", "data", "options")
MAX_RUNS: Final = 2
RETRAIN_AFTER_DAYS: Final = 1
REPOSITORY: Final = Path(__file__).parent.parent
SQL_FOLDER: Final = REPOSITORY / "dbt_like_sql"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where everything lies and from which day partitions begin.

    `start_on` is remembered in ``<home>/settings.yaml``, so that a home is opened with the days it was made with;
    `retrain_after_days` may be set there, too.
    """

    home: Path
    start_on: date
    threads: int
    memory_limit: str
    settle_seconds: float
    landing: str
    catalog: str  # of the lake; empty: SQLite in the home
    lake_data: str  # empty: a folder in the home
    lock_wait_seconds: float
    max_runs: int
    retrain_after_days: int

    @property
    def duckdb(self) -> dict[str, str]:
        """What one DuckDB instance may use of the machine, as DuckDB's own settings."""
        return {"threads": str(self.threads), "memory_limit": self.memory_limit}

    @property
    def lake(self) -> LakeAddress:
        """Where the lake lies, with the credentials that open it."""
        return lake_address(self.home, catalog=self.catalog, data=self.lake_data)

    @property
    def campaigns(self) -> Path:
        return self.home / "campaigns"

    @property
    def published(self) -> Path:
        return self.home / "published" / "xmkt.duckdb"


def settings() -> Settings:
    """Settings from the environment, then ``<home>/settings.yaml``, then defaults."""
    home = Path(os.environ.get("XMKT_HOME") or REPOSITORY / "data").resolve()
    saved = _saved(home)
    start_on = os.environ.get("XMKT_START_ON") or saved.get("start_on") or "2026-07-01"
    of_lake = _lake_file(home)
    catalog = os.environ.get("XMKT_CATALOG") or str(of_lake.get("catalog") or "")
    lake_data = os.environ.get("XMKT_LAKE_DATA") or str(of_lake.get("data") or "")
    LakeAddress(home, catalog, lake_data)  # refuses an address that holds a password before anybody shows it
    max_runs = int(_number("XMKT_MAX_RUNS", MAX_RUNS, least=1))
    share = share_of(this_machine(), max_runs=max_runs)
    return Settings(
        home=home,
        start_on=date.fromisoformat(str(start_on)),
        threads=int(_number("XMKT_THREADS", share.threads, least=1)),
        memory_limit=_memory_limit() or share.memory_limit,
        settle_seconds=_number("XMKT_SETTLE_SECONDS", 5.0),
        landing=_landing(home),
        catalog=catalog,
        lake_data=lake_data,
        lock_wait_seconds=_number("XMKT_LOCK_WAIT_SECONDS", LOCK_WAIT_SECONDS),
        max_runs=max_runs,
        retrain_after_days=retrain_after_days(home),
    )


def retrain_after_days(home: Path) -> int:
    """Days of partner data after which models are trained again; until then the ones there are score new days.

    XMKT_RETRAIN_AFTER_DAYS, then ``<home>/settings.yaml``, then 1: every new day trains. Read at each use: a running
    sensor follows a change of the file.
    """
    said = _saved(home).get("retrain_after_days", RETRAIN_AFTER_DAYS)
    if not isinstance(said, int) or said < 1:
        wanted = "wanted a whole number of at least 1. Correct the file."
        raise ValueError(f"retrain_after_days in {home / SETTINGS_FILE} is {said!r}; {wanted}")
    return int(_number("XMKT_RETRAIN_AFTER_DAYS", said, least=1))


def _saved(home: Path) -> dict[str, Any]:
    """What ``settings.yaml`` of a home says."""
    path = home / SETTINGS_FILE
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def _number(name: str, default: float, *, least: float = 0) -> float:
    """A number from the environment; whole where the default is."""
    said = os.environ.get(name, "").strip()
    try:
        found = type(default)(said) if said else default
    except ValueError:
        found = float("nan")
    if not least <= found < float("inf"):
        kind = "whole number" if isinstance(default, int) else "number"
        raise ValueError(f"{name} is {said!r}; wanted a {kind} of at least {least}. Correct it, or unset it.")
    return found


def _memory_limit() -> str:
    said = os.environ.get("XMKT_MEMORY_LIMIT", "").strip()
    if said and not re.fullmatch(r"[1-9]\d*(\.\d+)?\s*[KMGT]i?B", said, re.IGNORECASE):
        raise ValueError(f"XMKT_MEMORY_LIMIT is {said!r}; wanted for example 4GiB or 800MB. Correct it, or unset it.")
    return said


def lake_address(home: Path, *, catalog: str, data: str) -> LakeAddress:
    """An address with its credentials: ``lake.yaml`` of the home, then the environment, then AWS's own variables.

    They are read at each use and held by nothing that Dagster shows.
    """
    options = {**_lake_file(home).get("options", {}), **_json_object("XMKT_LAKE_OPTIONS", '{"password": ".."}')}
    if data and "key_id" not in options:
        named = {
            "key_id": ("AWS_ACCESS_KEY_ID",),
            "secret": ("AWS_SECRET_ACCESS_KEY",),
            "session_token": ("AWS_SESSION_TOKEN",),
            "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
            "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        }
        told = {k: next((v for n in names if (v := os.environ.get(n))), None) for k, names in named.items()}
        options = {**{k: v for k, v in told.items() if v}, **options}
    return LakeAddress.told(home, catalog=catalog, data=data, options=options)


def _lake_file(home: Path) -> dict[str, Any]:
    """What ``lake.yaml`` of a home says; refused where it holds credentials that others of this machine can read."""
    path = home / LAKE_FILE
    if not path.exists():
        return {}
    found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    options = (found.get("options") or {}) if isinstance(found, dict) else None
    if not isinstance(found, dict) or set(found) - set(LAKE_SETTINGS) or not isinstance(options, dict):
        wrong = ", ".join(sorted(map(str, found))) if isinstance(found, dict) else "no settings"
        raise ValueError(f"{path} holds {wrong}; wanted only {', '.join(LAKE_SETTINGS)}. Correct the file.")
    if set(options) & set(CREDENTIALS) and path.stat().st_mode & 0o077:
        raise ValueError(f"{path} holds credentials and can be read by others. Run: chmod 600 {path}")
    return {**found, "options": options}


def _landing(home: Path) -> str:
    """Where partners deliver: a folder, or an fsspec address such as ``s3://bucket/landing``."""
    address = os.environ.get("XMKT_LANDING") or str(home / "landing")
    return address if "://" in address else str(Path(address).resolve())


def _json_object(name: str, example: str) -> dict[str, Any]:
    """Options from an environment variable; an error does not repeat them: they hold credentials."""
    try:
        found = json.loads(os.environ.get(name) or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no JSON object; wanted for example {example}. Set it so.")
    return found


def prepare_home(home: Path, *, start_on: date | None = None) -> Path:
    """Make the folders of a home and Dagster's own home in it; point this process at them. Returns DAGSTER_HOME."""
    dagster_home = home / "dagster"
    for folder in (home / "landing", home / "campaigns", dagster_home):
        folder.mkdir(parents=True, exist_ok=True)
    template = (Path(__file__).parent / "dagster.yaml").read_text(encoding="utf-8")
    max_runs = str(int(_number("XMKT_MAX_RUNS", MAX_RUNS, least=1)))
    filled = template.replace("{dagster_home}", str(dagster_home)).replace("{max_runs}", max_runs)
    (dagster_home / "dagster.yaml").write_text(filled, encoding="utf-8")
    if start_on is not None:
        text = yaml.safe_dump({**_saved(home), "start_on": start_on.isoformat()})
        (home / SETTINGS_FILE).write_text(text, encoding="utf-8")
        os.environ.pop("XMKT_LANDING", None)  # what fills a home of its own reads no partner's files
    os.environ["XMKT_HOME"] = str(home)
    os.environ["DAGSTER_HOME"] = str(dagster_home)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    return dagster_home


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The DuckLake of a home: read with SQL, replace a table or a slice of it in one transaction.

    Dagster shows this configuration, so it says where the lake lies (`catalog` and `lake_data`; empty: in the home) and
    nothing of what opens it: `lake_address` finds the credentials at each use.
    """

    home: str
    threads: int | None = None
    memory_limit: str | None = None
    catalog: str = ""
    lake_data: str = ""
    lock_wait_seconds: float = LOCK_WAIT_SECONDS

    checks_folder: str = str(SQL_FOLDER)  # whose zero-row checks guard what an asset step commits

    @property
    def lake(self) -> Lake:
        return Lake(
            lake_address(Path(self.home), catalog=self.catalog, data=self.lake_data),
            threads=self.threads,
            memory_limit=self.memory_limit,
            lock_wait_seconds=self.lock_wait_seconds,
            before_commit=audit_of(Path(self.checks_folder)),
        )

    def session(self) -> AbstractContextManager[Session]:
        return self.lake.session()

    def read(self, query: str, **params: object) -> "pl.DataFrame":
        return self.lake.read(query, **params)

    def replace(
        self,
        table: str,
        rows: "pl.DataFrame",
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
        options = {**self._said.get("options", {}), **_json_object("XMKT_LANDING_OPTIONS", '{"endpoint_url": ".."}')}
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

    def newest(self, model: str, *, until: date) -> int | None:
        return self._tracker.newest(model, until=until)

    def load(self, model: str, version: int) -> object:
        return self._tracker.load(model, version)

    def version_tags(self, model: str, version: int) -> Mapping[str, str]:
        return self._tracker.version_tags(model, version)

    def ui_url(self, run_id: str, experiment: str) -> str:
        return self._tracker.ui_url(run_id, experiment)


def warehouse_of(found: Settings) -> Warehouse:
    """The lake that settings name, with this run's share of the machine."""
    return Warehouse(
        home=str(found.home),
        threads=found.threads,
        memory_limit=found.memory_limit,
        catalog=found.catalog,
        lake_data=found.lake_data,
        lock_wait_seconds=found.lock_wait_seconds,
    )


def resources() -> dict[str, object]:
    """The resources every asset is handed, from `settings`."""
    found = settings()
    return {
        "warehouse": warehouse_of(found),
        "drops": PartnerDrops(landing=found.landing, settle_seconds=found.settle_seconds, home=str(found.home)),
        "tracking": Tracking(home=str(found.home)),
    }


def campaign_plans(folder: Path) -> Iterator[Path]:
    """Plan files of a campaigns folder, in order."""
    yield from sorted(folder.glob("*.yaml"))
