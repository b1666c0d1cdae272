"""The registered versions of MLflow as ``models`` wants them. MLflow itself is behind ``tracking``.

A file's place is told below this home, whatever the address in the registry: a copied home must not reach into the one
it was copied from.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

from xmkt_assets.erasure.models import Registry, Version
from xmkt_assets.tracking import CHAMPION, Tracker


class MlflowRegistry(Registry):
    """Every version of every registered model of a home."""

    def __init__(self, home: Path) -> None:
        self._tracker = Tracker(home)

    def versions(self) -> Iterator[Version]:
        client = self._tracker.client
        serving = {
            (model.name, int(model.aliases[CHAMPION]))
            for model in client.search_registered_models(max_results=1000)
            if CHAMPION in model.aliases
        }
        token = None
        while True:
            page = client.search_model_versions(max_results=1000, page_token=token)
            for found in page:
                key = (found.name, int(found.version))
                yield Version(*key, key in serving, *_origin(found.tags), self._place(found.source))
            token = page.token
            if not token:
                return

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        with self._tracker.writing() as client:
            for key, value in tags.items():
                client.set_model_version_tag(version.model, str(version.version), key, value)

    def _place(self, source: str) -> Path | None:
        _, found, below = unquote(urlsplit(source).path).rpartition("/mlflow/artifacts/")
        return self._tracker.root / "artifacts" / below if found else None


def registry_of(home: Path) -> MlflowRegistry | None:
    """The registry of a home, None where nothing has been registered: opening one costs seconds."""
    return MlflowRegistry(home) if (home / "mlflow" / "mlflow.db").exists() else None


def _origin(tags: Mapping[str, str]) -> tuple[date | None, int | None]:
    """Day and lake snapshot a version was made from."""
    day, snapshot = tags.get("as_of_on") or tags.get("dagster.partition_key"), tags.get("warehouse_snapshot", "")
    return (date.fromisoformat(day) if day else None), (int(snapshot) if snapshot.isdecimal() else None)
