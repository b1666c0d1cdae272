"""Drift in Dagster on a small lake, and which model a run uses: planted tables and models, no training, no MLflow."""

from datetime import date
from types import SimpleNamespace
from typing import Any, ClassVar

import dagster as dg
import numpy as np
import polars as pl
import pytest

from xmkt_assets.assets.segments import drift
from xmkt_assets.assets.segments.drift import WATCHED, Watched
from xmkt_assets.assets.segments.shared import standing
from xmkt_assets.erasure.models import LEARNS_FROM
from xmkt_assets.purposes import SENSITIVE_TABLES
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments.drift import compare, reference_of
from xmkt_assets.segments.drift_pictures import drift_bars
from xmkt_assets.segments.drift_table import COLUMNS, SCHEMA, Compared, drifted, in_words, not_compared, rows_of
from xmkt_assets.segments.standing import STANDING_TAGS, StandingModel
from xmkt_assets.segments.targets import TARGETS
from xmkt_assets.tracking import ModelGoneError
from xmkt_assets.warehouse import Replace, Whole

TRAINED, DAY = date(2026, 9, 1), date(2026, 9, 11)
PEOPLE = 400


class Shelf(Tracking):
    """A registry of planted models."""

    models: ClassVar[dict[tuple[str, int], Any]] = {}
    newest_version: ClassVar[int | None] = None

    def load(self, model: str, version: int) -> object:
        found = self.models.get((model, version), ModelGoneError(f"{model} {version} is gone"))
        if isinstance(found, Exception):
            raise found
        return found

    def newest(self, model: str, *, until: date) -> int | None:
        return self.newest_version


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(Shelf, "models", {})
    monkeypatch.setattr(Shelf, "newest_version", None)
    return Shelf(home=str(tmp_path_factory.mktemp("mlflow")))


def kept(name: str, rows: pl.DataFrame, features: tuple[str, ...]) -> StandingModel:
    return StandingModel(name, "fitted", reference_of(rows, features), TRAINED, features)


# ── which model a run uses ───────────────────────────────────────────────────────────────────────────────────────────


def asked(shelf: Shelf, *, tags: dict[str, str]) -> tuple[StandingModel | None, list[str]]:
    """What a run of the tags is given, and what its log says."""
    said: list[str] = []
    log = SimpleNamespace(info=said.append, warning=said.append)
    context: Any = SimpleNamespace(run=SimpleNamespace(tags=tags), partition_key=str(DAY), log=log)
    found = standing(context, shelf, "claim_risk")
    assert found is None or found[1] == 3
    return (found[0] if found else None), said


def test_a_run_that_says_so_uses_the_model_that_stands_and_any_other_fits_one(shelf: Shelf) -> None:
    model = kept("claim_risk", pl.DataFrame({"x": range(200)}), ("x",))
    Shelf.models[("claim_risk", 3)] = model
    Shelf.newest_version = 3
    assert asked(shelf, tags={**STANDING_TAGS, "other": "tag"}) == (model, [])
    assert asked(shelf, tags={"xmkt/models": "new"}) == (None, [])
    assert asked(shelf, tags={}) == (None, [])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ModelGoneError("removed by an erasure"), "claim_risk 3 cannot be loaded and is fitted anew: removed by"),
        (AttributeError("no class ValueClusters"), "claim_risk 3 cannot be loaded and is fitted anew: no class"),
        ({"of": "an earlier kind"}, "claim_risk 3 is a dict, no StandingModel: it is fitted anew."),
        (None, "claim_risk has no version up to 2026-09-11: it is fitted."),
    ],
)
def test_where_none_stands_the_model_is_fitted_and_the_log_says_why(found: object, said: str, shelf: Shelf) -> None:
    Shelf.models[("claim_risk", 3)] = found
    Shelf.newest_version = None if found is None else 3
    model, told = asked(shelf, tags=STANDING_TAGS)
    assert model is None
    assert len(told) == 1
    assert told[0].startswith(said)


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows_with(model: str, *, shift: float) -> pl.DataFrame:
    values = np.arange(PEOPLE) / PEOPLE
    found = compare(reference_of(pl.DataFrame({"x": values}), ["x"]), pl.DataFrame({"x": values + shift}))
    return rows_of([Compared(model, 2, TRAINED, found, found)], day=DAY)


def test_rows_are_of_the_schema_and_every_column_has_a_meaning() -> None:
    rows = rows_with("m", shift=0.0)
    assert rows.schema == SCHEMA
    assert set(COLUMNS) == set(SCHEMA)
    assert rows.select("as_of_on", "model", "model_version", "trained_as_of_on", "feature", "kind").rows() == [
        (DAY, "m", 2, TRAINED, "x", "feature"),
        (DAY, "m", 2, TRAINED, "x", "score"),
    ]
    nothing = rows_of([not_compared("m", version=None, reason="nobody")], day=DAY)
    assert nothing.select("feature", "level", "psi", "reason").rows() == [
        ("all", "not applicable", None, "not applicable: nobody")
    ]


def test_a_check_says_in_words_what_drifted_that_nothing_did_or_why_nobody_can_tell() -> None:
    assert in_words(rows_with("m", shift=0.0)) == "All 2 columns are as at training."
    far = rows_with("m", shift=0.5)
    assert in_words(far).startswith("No longer as at training: x (major, PSI ")
    assert drifted(far).height == 2
    assert in_words(rows_of([not_compared("m", version=None, reason="nobody")], day=DAY)) == "not applicable: nobody"


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_picture_has_a_bar_per_column_and_both_lines(shift: float) -> None:
    rows = pl.concat([rows_with("m", shift=shift), rows_of([not_compared("n", version=None, reason="r")], day=DAY)])
    (axes,) = drift_bars(rows).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["m: x", "m: x"]
    lines = [line.get_label() for line in axes.get_lines()]
    assert lines == ["by chance", "moderate from 0.1", "major from 0.2"]
    drift_bars(rows.clear())  # a day on which nothing can be told


# ── the asset ────────────────────────────────────────────────────────────────────────────────────────────────────────


def planted(watched: Watched) -> dict[str, pl.DataFrame]:
    """Features and scores of both days; the first model's people moved. Labelled rows, which are not compared, are far
    from all of them. The fourth model made no rows of the second day."""
    rng = np.random.default_rng(5)
    label, shift = watched.features[1].removesuffix(" is null"), 3.0 * (watched is WATCHED[0])
    features, scores = [], []
    for day, by in ((TRAINED, 0.0), (DAY, shift)):
        people = pl.DataFrame({"as_of_on": [day] * PEOPLE, "x": rng.normal(size=PEOPLE) + by, "y": range(PEOPLE)})
        if label != "true":
            to_score = people.with_columns(pl.lit(None, pl.Boolean).alias(label))
            people = pl.concat([to_score, to_score.with_columns(pl.col("x") + 100, pl.lit(value=True).alias(label))])
        features.append(people)
        version = None if watched is WATCHED[3] and day == DAY else 2
        known = {"as_of_on": [day] * PEOPLE, **{c: rng.normal(size=PEOPLE) + by for c in watched.score_columns}}
        scores.append(pl.DataFrame(known).with_columns(model_version=pl.lit(version, pl.Int64), rank=pl.lit(1)))
    return {watched.features[0]: pl.concat(features), watched.scores[0]: pl.concat(scores)}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    found = Warehouse(home=str(tmp_path_factory.mktemp("home")), threads=1)
    tables = {table: rows for watched in WATCHED for table, rows in planted(watched).items()}
    with found.session() as session:
        for number, rows in enumerate(tables.values()):
            session.stage_rows(f"planted_{number}", rows)
        session.commit([Replace(table, f"planted_{number}", Whole()) for number, table in enumerate(tables)])
    return found


def kept_of(watched: Watched, warehouse: Warehouse, day: date) -> StandingModel:
    """A model trained on the people of a day."""
    table, where = watched.features
    rows = warehouse.read(f"select x, y from {table} where as_of_on = $day and {where}", day=day)
    return StandingModel(watched.model, "fitted", reference_of(rows, ("x", "y")), day, ("x", "y"))


def run_drift(warehouse: Warehouse, shelf: Shelf) -> tuple[pl.DataFrame, dict[str, dg.AssetCheckEvaluation], Any]:
    """One materialisation: its rows, its checks by name, its metadata."""
    result = dg.materialize(
        [drift.model_drift],
        partition_key=DAY.isoformat(),
        resources={"warehouse": warehouse, "tracking": shelf},
        instance=dg.DagsterInstance.ephemeral(),
    )
    (event,) = result.asset_materializations_for_node("segments__model_drift")
    checks = {c.check_name: c for c in result.get_asset_check_evaluations()}
    return warehouse.read("select * from segments.model_drift where as_of_on = $day", day=DAY), checks, event.metadata


def test_every_model_is_compared_with_its_own_training_and_what_drifted_is_named_without_stopping_anything(
    warehouse: Warehouse, shelf: Shelf
) -> None:
    """The first model's people moved, the second's did not, the third is gone, the fourth made nothing that day; the
    rest were registered before references were kept."""
    far, near, gone, never, *rest = WATCHED
    Shelf.models |= {(w.model, 2): kept_of(w, warehouse, TRAINED) for w in (far, near, never)}
    Shelf.models |= {(w.model, 2): {"an": "earlier kind"} for w in rest}
    rows, checks, metadata = run_drift(warehouse, shelf)

    levels = {(m, f, k): level for m, f, k, level in rows.select("model", "feature", "kind", "level").iter_rows()}
    wanted = {(far.model, "x", "feature"): "major", (far.model, "y", "feature"): "none"}
    wanted |= {(far.model, c, "score"): "major" for c in far.score_columns}
    wanted |= {(near.model, f, "feature"): "none" for f in ("x", "y")}
    wanted |= {(near.model, c, "score"): "none" for c in near.score_columns}
    wanted |= {(w.model, "all", "feature"): "not applicable" for w in (gone, never, *rest)}
    assert levels == wanted
    compared = rows.filter(pl.col("model").is_in([far.model, near.model]))
    assert compared.select("model_version", "trained_as_of_on", "people", "people_trained").unique().rows() == [
        (2, TRAINED, PEOPLE, PEOPLE)
    ]
    reasons = dict(rows.filter(level="not applicable").select("model", "reason").iter_rows())
    assert reasons[gone.model].startswith("not applicable: version 2 cannot be loaded: ")
    assert reasons[never.model] == f"not applicable: no model made rows of {never.scores[0]} on {DAY}"
    assert all("keeps nothing of its training rows" in reasons[w.model] for w in rest)

    assert {name: check.passed for name, check in checks.items()} == {
        f"{w.model}_is_as_trained": w is not far for w in WATCHED
    }
    failed = checks[f"{far.model}_is_as_trained"]
    assert (failed.severity, failed.blocking) == (dg.AssetCheckSeverity.WARN, False)
    assert set(str(failed.metadata["drifted"].value).split(", ")) == {"x", *far.score_columns}
    assert str(failed.metadata["said"].value).startswith("No longer as at training: ")
    assert "](data:image/png;base64,iVBOR" in str(metadata["psi"].value)
    assert f"| {far.model} | x |" in str(metadata["drifted"].value)


def test_on_the_day_of_training_nothing_has_drifted_and_the_day_made_again_has_the_same_rows(
    warehouse: Warehouse, shelf: Shelf
) -> None:
    Shelf.models |= {(w.model, 2): kept_of(w, warehouse, DAY) for w in WATCHED}
    first, checks, _ = run_drift(warehouse, shelf)
    again, _, _ = run_drift(warehouse, shelf)
    assert first.equals(again)
    of_models = first.filter(pl.col("model") != WATCHED[3].model)
    assert of_models.height >= 3 * (len(WATCHED) - 1)
    assert (of_models["psi"] == 0).all()
    assert set(of_models["level"]) == {"none"}
    assert all(check.passed for check in checks.values())


def test_the_models_that_score_people_are_watched_and_an_erasure_knows_what_they_learnt_from() -> None:
    assert [w.model for w in WATCHED] == ["value_clusters", *(target.name for target in TARGETS), "next_interest"]
    assert {w.model: LEARNS_FROM.get(w.model) for w in WATCHED} == {w.model: w.features[0] for w in WATCHED}


def test_the_table_is_kept_from_the_other_firm_as_what_it_is_made_of() -> None:
    assert {w.features[0] for w in WATCHED} & set(SENSITIVE_TABLES)  # so the table itself is one
    assert "segments.model_drift" in SENSITIVE_TABLES
