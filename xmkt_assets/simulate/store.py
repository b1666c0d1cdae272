"""Where a simulated world leaves its parameters and its truth: ``<home>/simulator/``, never the landing folder."""

import json
import os
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from xmkt_assets.simulate.drops import DropSummary
from xmkt_assets.simulate.response import RULE
from xmkt_assets.simulate.world import World, build_world

FOLDER: Final = "simulator"


def save_world(world: World, home: Path, summary: DropSummary, *, from_on: date, until_on: date) -> Path:
    """Write ``simulator/world.json``: parameters, the response rule, and what was written for which days."""
    path = home / FOLDER / "world.json"
    drops = [
        d for d in _stored(path).get("drops", []) if (d["from_on"], d["until_on"]) != (str(from_on), str(until_on))
    ]
    parameters = {**asdict(world.parameters), "start_on": world.parameters.start_on.isoformat()}
    written = {"from_on": str(from_on), "until_on": str(until_on), **summary._asdict()}
    return _write(
        path, {"is_simulated": True, "parameters": parameters, "response_rule": dict(RULE), "drops": [*drops, written]}
    )


def load_world(home: Path) -> World:
    """Build again the world that `save_world` stored. Raises FileNotFoundError where none is stored."""
    path = home / FOLDER / "world.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist, so no simulated world is stored there. "
            "Run python -m xmkt_assets.simulate --home first."
        )
    parameters = _stored(path)["parameters"]
    return build_world(**{**parameters, "start_on": date.fromisoformat(parameters["start_on"])})


def save_truth(effects: pl.DataFrame, home: Path, *, campaign_id: str) -> Path:
    """Write the frame of `true_effects` as ``simulator/truth/<campaign_id>.json``."""
    return _write(
        home / FOLDER / "truth" / f"{campaign_id}.json", {"is_simulated": True, "effects": effects.to_dicts()}
    )


def _stored(path: Path) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return stored


def _write(path: Path, content: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
    return path
