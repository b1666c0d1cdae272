"""Experiments and the model registry: a small wrapper over ``MlflowClient`` that keeps everything under one home.

Here: runs, metrics, artifacts, registered versions, the alias "champion". No global state: no ``set_tracking_uri``,
no active run, so two runs of one process cannot write into each other. mlflow is imported on first use (3 s cold).
Not here: when a model is good enough (``recommenders.promote``), and what a run is about (the assets).

Layout: ``home/mlflow/mlflow.db`` (SQLite), ``home/mlflow/artifacts/<experiment>/<run>``. Writes take a file lock for
their short duration, because two writers in SQLite fail with "database is locked" rather than wait in every case.
"""

import fcntl
import json
import os
import pickle
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

CHAMPION: Final = "champion"
DEFAULT_UI: Final = "http://127.0.0.1:5000"
_ARTIFACT_TAG: Final = "artifact"
_DAY_TAG: Final = "dagster.partition_key"


class ModelGoneError(OSError):
    """A version, or its file, that is not there any more: an erasure removes files of models."""


class TrackedRun:
    """An open run: write parameters, metrics and files into it. Made by `Tracker.run`."""

    def __init__(self, tracker: "Tracker", run_id: str) -> None:
        self.run_id = run_id
        self._tracker = tracker

    def params(self, values: Mapping[str, object]) -> None:
        """Settings of the run, as text."""
        from mlflow.entities import Param

        self._log(params=[Param(_name(key), str(value)) for key, value in values.items()])

    def metrics(self, values: Mapping[str, float]) -> None:
        """Numbers of the run. MLflow allows no @ in a name: ``hr@3`` is stored as ``hr_at_3``."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._log(metrics=[Metric(_name(key), float(value), now, 0) for key, value in values.items()])

    def figure(self, name: str, figure: Any) -> None:
        """A matplotlib figure; the ending of `name` decides the format."""
        from xmkt_assets.letters import chinese_letters

        with self._file(name) as path, chinese_letters():
            figure.savefig(path, dpi=120)

    def json(self, name: str, value: object) -> None:
        with self._file(name) as path:
            path.write_text(json.dumps(value, ensure_ascii=False, indent=2, default=str), encoding="utf-8")

    def text(self, name: str, text: str) -> None:
        with self._file(name) as path:
            path.write_text(text, encoding="utf-8")

    def pickle(self, name: str, value: object) -> str:
        """Store an object and return the artifact's path in the run, as `Tracker.register` wants it."""
        with self._file(name) as path:
            path.write_bytes(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
        return name

    def _log(self, **batch: Any) -> None:
        with self._tracker.writing() as client:
            client.log_batch(self.run_id, **batch)

    @contextmanager
    def _file(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            yield path
            parent = str(Path(name).parent)
            with self._tracker.writing() as client:
                client.log_artifact(self.run_id, str(path), artifact_path=None if parent == "." else parent)


class Tracker:
    """MLflow under one home folder. Cheap to make; nothing is opened before the first use."""

    def __init__(self, home: str | Path, *, ui: str = DEFAULT_UI) -> None:
        self.root = Path(home).resolve() / "mlflow"
        self._ui = ui

    @property
    def uri(self) -> str:
        """Address of the tracking store and registry, as ``mlflow ui --backend-store-uri`` takes it."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @contextmanager
    def run(
        self, name: str, *, experiment: str, tags: Mapping[str, str], parent_run_id: str | None = None
    ) -> Iterator[TrackedRun]:
        """A run that ends FINISHED, or FAILED with the exception passed on."""
        from mlflow.entities import RunStatus

        experiment_id = self._experiment_id(experiment)
        nesting = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        with self.writing() as client:
            run_id = client.create_run(experiment_id, run_name=name, tags={**tags, **nesting}).info.run_id
        status = RunStatus.FAILED
        try:
            yield TrackedRun(self, run_id)
            status = RunStatus.FINISHED
        finally:
            with self.writing() as client:
                client.set_terminated(run_id, RunStatus.to_string(status))

    def register(self, model: str, run_id: str, artifact: str, *, tags: Mapping[str, str]) -> int:
        """Register the artifact of a run as a new version of `model` and return its number."""
        from mlflow.exceptions import MlflowException

        with self.writing() as client:
            try:
                client.create_registered_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{client.get_run(run_id).info.artifact_uri}/{artifact}"
            version = client.create_model_version(model, source, run_id, tags={**tags, _ARTIFACT_TAG: artifact})
        return int(version.version)

    def champion(self, model: str) -> int | None:
        """Version that carries the alias champion; None where no version does or the model is unknown."""
        from mlflow.exceptions import MlflowException

        try:
            return int(self.client.get_model_version_by_alias(model, CHAMPION).version)
        except MlflowException as error:
            # mlflow answers an unknown alias with INVALID_PARAMETER_VALUE, an unknown model with the other code
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def promote(self, model: str, version: int) -> None:
        """Move the alias champion to a version."""
        with self.writing() as client:
            client.set_registered_model_alias(model, CHAMPION, str(version))

    def version_tags(self, model: str, version: int) -> dict[str, str]:
        """The tags a version was registered with."""
        return dict(self.client.get_model_version(model, str(version)).tags)

    def versions(self) -> Iterator[Any]:
        """Every version of every registered model, as MLflow describes it."""
        yield from _pages(lambda token: self.client.search_model_versions(max_results=1000, page_token=token))

    def newest(self, model: str, *, until: date) -> int | None:
        """The version trained as of the newest day not later than `until`, the last made of these; None without one.

        A version that names no day is left out.
        """
        where = f"name = '{model}'"
        found = _pages(lambda token: self.client.search_model_versions(where, max_results=1000, page_token=token))
        days = [(str(v.tags.get(_DAY_TAG) or ""), int(v.version)) for v in found]
        known = [pair for pair in days if "" < pair[0] <= until.isoformat()]
        return max(known)[1] if known else None

    def runs_since(self, at: datetime) -> Iterator[Any]:
        """Runs begun at or after a time (naive UTC) and not deleted, as MLflow describes them."""
        since = int(at.replace(tzinfo=UTC).timestamp() * 1000)
        ids = [found.experiment_id for found in self.client.search_experiments()]
        where = f"attributes.start_time >= {since}"
        yield from _pages(lambda token: self.client.search_runs(ids, where, max_results=1000, page_token=token))

    def load(self, model: str, version: int) -> object:
        """Unpickle a registered version. Trap: a pickle runs code; load only what this platform wrote."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_model_version(model, str(version))
            path = Path(self.client.download_artifacts(found.run_id, found.tags[_ARTIFACT_TAG]))
        except MlflowException as error:
            raise ModelGoneError(f"{model} {version} cannot be loaded: {error}. Train it again.") from error
        with path.open("rb") as file:
            return pickle.load(file)

    def ui_url(self, run_id: str, experiment: str) -> str:
        """Where MLflow's own UI shows the run, while that UI is up."""
        return f"{self._ui}/#/experiments/{self._experiment_id(experiment)}/runs/{run_id}"

    @cached_property
    def client(self) -> Any:
        """The client, for what this class does not cover. First use creates the database (4 s)."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, when mlflow is imported
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow.tracking import MlflowClient

        _quiet()
        self.root.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """The client, under the lock that makes writers of all processes take turns. Not re-entrant."""
        client = self.client  # imported before the lock is taken: others need not wait for that
        with (self.root / "write.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield client

    def _experiment_id(self, name: str) -> str:
        """Find the experiment or create it, once, however many processes ask at the same time."""
        with self.writing() as client:
            found = client.get_experiment_by_name(name)
            if found is None:
                folder = self.root / "artifacts" / _folder(name)
                return str(client.create_experiment(name, artifact_location=folder.as_uri()))
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)


class RunContext(Protocol):
    """What `run_tags` needs of a Dagster context."""

    @property
    def run(self) -> Any: ...
    @property
    def asset_key(self) -> Any: ...
    @property
    def has_partition_key(self) -> bool: ...
    @property
    def partition_key(self) -> str: ...


def run_tags(context: RunContext, *, snapshot_id: int) -> dict[str, str]:
    """Tags that lead from an MLflow run back to the Dagster run, the lake snapshot and the code it came from."""
    partition = {_DAY_TAG: context.partition_key} if context.has_partition_key else {}
    return {
        "dagster.run_id": context.run.run_id,
        "dagster.asset_key": context.asset_key.to_user_string(),
        **partition,
        "warehouse_snapshot": str(snapshot_id),
        "git_sha": git_sha(),
    }


@lru_cache(maxsize=1)
def git_sha() -> str:
    """Commit of the code that runs, "unknown" outside a git checkout."""
    try:
        here = Path(__file__).parent
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def _pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """Everything that MLflow answers page by page."""
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def _name(key: str) -> str:
    return key.replace("@", "_at_")


def _folder(experiment: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in experiment)


def _quiet() -> None:
    """mlflow and alembic announce every table they create; errors still show."""
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
