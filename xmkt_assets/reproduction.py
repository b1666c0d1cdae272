"""A past campaign list made again from what was recorded of it, and compared byte by byte. Pure: no Dagster.

Here: what is recorded (`run_row`), making the list again, comparing. Not here: how a list is decided (``campaigns``),
which snapshots are kept for it (``maintenance``).

Nothing is read back that can be computed: the plan as it was decides anew over every table as of the snapshot that was
read, and the recommendations in it are computed anew from the model versions they name. Only then the rows are compared
with the list as it was written.

After an erasure no older snapshot exists. Then the list that is left is compared with one made from today's rows of the
plan's day. People who are gone had their part of the budget, so as many contacts are taken off it; what remains must be
equal.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import polars as pl

from xmkt_assets.campaigns.decisions import CampaignError, Decisions, Inputs, decide
from xmkt_assets.campaigns.inputs import Reads, read_inputs
from xmkt_assets.campaigns.plan import CampaignPlan
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_SCHEMA, EXCLUSIONS_SCHEMA, LIST_RUNS, LIST_RUNS_SCHEMA
from xmkt_assets.recommenders.targets import COURSES, PRODUCTS, Target
from xmkt_assets.snapshots import SnapshotError, as_of_session, resolve
from xmkt_assets.tracking import Tracker, git_sha
from xmkt_assets.warehouse import Lake

LIST: Final = "campaigns.campaign_list"
EXCLUSIONS: Final = "campaigns.exclusions"
WITHDRAWN: Final = "consent withdrawn"
EQUAL: Final = "equal"
EQUAL_BUT_GONE: Final = "equal but for people who are gone"
DIFFERS: Final = "differs"


class ReproductionError(ValueError):
    """A list that was never recorded; the message says which were."""


class Recorded(NamedTuple):
    """One row of ``campaigns.list_runs``, and the snapshot it was written with."""

    written: int
    campaign_id: str
    run_id: str
    snapshot_read: int
    plan: str
    git_sha: str
    listed_count: int
    treated_count: int
    excluded_count: int
    list_sha256: str
    exclusions_sha256: str


class Compared(NamedTuple):
    """A table made again beside the one that was written; `rows` are the people whose rows differ, with the columns."""

    table: str
    sha256_then: str
    sha256_again: str
    rows: pl.DataFrame

    @property
    def is_equal(self) -> bool:
        return self.sha256_then == self.sha256_again


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What came of making a list again. `models` says per target how far its recommendations were computed anew."""

    campaign_id: str
    run_id: str
    outcome: str
    snapshot_read: int
    tables: tuple[Compared, ...]
    models: dict[str, str]
    gone: int = 0
    withdrawn: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def is_equal(self) -> bool:
        return self.outcome != DIFFERS

    def in_words(self) -> str:
        """The outcome for a person."""
        lines = [f"Campaign {self.campaign_id}, run {self.run_id}, from snapshot {self.snapshot_read}: {self.outcome}."]
        if self.outcome == EQUAL_BUT_GONE:
            lines[0] = (
                f"Campaign {self.campaign_id}, run {self.run_id}: erased since: {self.gone} people of the list cannot "
                "be reproduced, the rest is equal."
            )
        lines += [
            f"{c.table}: sha256 {c.sha256_then[:12]} then, {c.sha256_again[:12]} again; {c.rows.height} people differ"
            for c in self.tables
        ]
        lines += [f"{target} recommendations: {said}" for target, said in self.models.items()]
        if self.withdrawn:
            lines.append(
                f"{self.withdrawn} people of the list have withdrawn since; on the list of today they are not."
            )
        return "\n".join([*lines, *self.notes])


class Models(Protocol):
    """Where model versions are kept."""

    def load(self, model: str, version: int) -> object: ...


# ── what is recorded ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_row(plan: CampaignPlan, decisions: Decisions, *, run_id: str, read_snapshot: int) -> pl.DataFrame:
    """The row of ``campaigns.list_runs`` for a list that is about to be written."""
    treated = decisions.listed.filter(pl.col("arm") == "treatment").height
    values = (
        *(plan.id, run_id, read_snapshot, plan.model_dump_json(), git_sha()),
        *(decisions.listed.height, treated, decisions.exclusions.height),
        *(sha256(decisions.listed, LIST), sha256(decisions.exclusions, EXCLUSIONS)),
    )
    return pl.DataFrame([values], schema=LIST_RUNS_SCHEMA, orient="row")


def sha256(rows: pl.DataFrame, table: str) -> str:
    """Of the rows as canonical CSV: documented columns, sorted by person, shortest exact numbers, LF, nulls as \\N."""
    return hashlib.sha256(canonical(rows, table)).hexdigest()


def canonical(rows: pl.DataFrame, table: str) -> bytes:
    schema = CAMPAIGN_LIST_SCHEMA if table == LIST else EXCLUSIONS_SCHEMA
    ordered = rows.select(pl.col(name).cast(kind) for name, kind in schema.items()).sort("campaign_id", "person_id")
    return ordered.write_csv(line_terminator="\n", null_value="\\N", quote_style="non_numeric").encode()


# ── making it again ──────────────────────────────────────────────────────────────────────────────────────────────────


def reproduce(lake: Lake, models: Models, campaign_id: str, *, run_id: str | None = None) -> Reproduced:
    """Make the newest list of a campaign again, or that of one run.

    Raises:
        ReproductionError: no such list was recorded.
    """
    recorded = find(lake, campaign_id, run_id=run_id)
    try:
        with lake.session() as session:
            for snapshot_id in (recorded.snapshot_read, recorded.written):
                resolve(session.connection, snapshot_id)
    except SnapshotError as error:
        return _from_what_is_left(lake, models, recorded, why=str(error))
    with as_of_session(lake, recorded.snapshot_read) as past:
        plan = CampaignPlan.model_validate_json(recorded.plan)
        inputs, said = _recomputed(past, models, plan, read_inputs(past, plan))
        again = decide(plan, inputs)
    with as_of_session(lake, recorded.written) as past:
        then = {table: _rows(past, table, campaign_id) for table in (LIST, EXCLUSIONS)}
    compared = tuple(
        _compared(table, then[table], rows) for table, rows in ((LIST, again.listed), (EXCLUSIONS, again.exclusions))
    )
    recorded_sums = (recorded.list_sha256, recorded.exclusions_sha256)
    notes = [
        f"{c.table}: what snapshot {recorded.written} holds is not what was recorded ({wanted[:12]})"
        for c, wanted in zip(compared, recorded_sums, strict=True)
        if c.sha256_then != wanted
    ]
    is_equal = all(c.is_equal for c in compared) and not notes
    return Reproduced(
        *(campaign_id, recorded.run_id, EQUAL if is_equal else DIFFERS, recorded.snapshot_read, compared, said),
        withdrawn=_withdrawn(lake, campaign_id, then[LIST]),
        notes=(*notes, *_other_code(recorded)),
    )


def find(lake: Lake, campaign_id: str, *, run_id: str | None = None) -> Recorded:
    """What was recorded of a list: of a run, or the newest."""
    if LIST_RUNS not in lake.tables():
        raise ReproductionError("No list was recorded yet. Run plan_campaign for a plan first.")
    rows = lake.read(f"select snapshot_id as written, * from {LIST_RUNS} order by written, snapshot_read")
    of_run = pl.lit(True) if run_id is None else pl.col("run_id") == run_id
    ours = rows.filter((pl.col("campaign_id") == campaign_id) & of_run)
    if ours.is_empty():
        known = ", ".join(f"{c} (run {r})" for c, r in rows.select("campaign_id", "run_id").rows()) or "none"
        raise ReproductionError(
            f"No list of {campaign_id}{f' by run {run_id}' if run_id else ''} was recorded: {known}."
        )
    return Recorded(**ours.row(-1, named=True))


def _from_what_is_left(lake: Lake, models: Models, recorded: Recorded, *, why: str) -> Reproduced:
    """After an erasure: the list as it is now against one made from the rows that are there now."""
    plan = CampaignPlan.model_validate_json(recorded.plan)
    now = _rows(lake, LIST, plan.id)
    treated_gone = recorded.treated_count - now.filter(pl.col("arm") == "treatment").height
    tighter = plan.model_copy(update={"budget_fen": plan.budget_fen - treated_gone * plan.treated_cost_fen})
    try:
        inputs, said = _recomputed(lake, models, plan, read_inputs(lake, plan))
        again = decide(tighter, inputs).listed.with_columns(budget_fen=pl.lit(plan.budget_fen, pl.Int64))
    except CampaignError as error:
        return Reproduced(*(plan.id, recorded.run_id, DIFFERS, recorded.snapshot_read, (), {}), notes=(why, str(error)))
    compared = _compared(LIST, now, again)
    moved = _rows(lake, EXCLUSIONS, plan.id).filter(pl.col("rule") == WITHDRAWN).height
    return Reproduced(
        *(plan.id, recorded.run_id, EQUAL_BUT_GONE if compared.is_equal else DIFFERS, recorded.snapshot_read),
        *((compared,), said),
        gone=recorded.listed_count - now.height - moved,
        withdrawn=moved,
        notes=(why, *_other_code(recorded)),
    )


def _recomputed(lake: Reads, models: Models, plan: CampaignPlan, inputs: Inputs) -> tuple[Inputs, dict[str, str]]:
    """The inputs with recommendations made anew by the model versions they name, and what came of it per target."""
    courses, of_courses = _recommended(lake, models, plan, COURSES, inputs.courses)
    products, of_products = _recommended(lake, models, plan, PRODUCTS, inputs.products)
    again = Inputs(
        consents=inputs.consents,
        gate=inputs.gate,
        do_not_contact=inputs.do_not_contact,
        profiles=inputs.profiles,
        courses=courses,
        products=products,
        eligible_products=inputs.eligible_products,
        catalogue=inputs.catalogue,
    )
    return again, {COURSES.name: of_courses, PRODUCTS.name: of_products}


def _recommended(
    lake: Reads, models: Models, plan: CampaignPlan, target: Target, stored: pl.DataFrame
) -> tuple[pl.DataFrame, str]:
    from xmkt_assets.recommenders import Fitted

    version = stored["model_version"].drop_nulls().unique().to_list() if stored.height else []
    if len(version) != 1:
        return stored, "none to compute" if stored.is_empty() else "read back: they name no single model version"
    try:
        fitted = models.load(target.registered_model, int(version[0]))
    except OSError as error:  # an erasure has removed its file
        return stored, f"read back: version {version[0]} of {target.registered_model} cannot be loaded ({error})"
    if not isinstance(fitted, Fitted):
        return stored, f"read back: version {version[0]} of {target.registered_model} is no recommender"
    day = plan.as_of
    people = lake.read("select distinct person_id from staging.gate_profiling where as_of_on = $day", day=day)
    eligibility = "select person_id, item_id from recommenders.product_eligibility where as_of_on = $day"
    eligible = lake.read(eligibility, day=day) if target is PRODUCTS else None
    most = int(str(stored["rank"].max()))
    made = fitted.recommend(people, most, eligible, exclude_owned=target.exclude_owned)
    shared = ["person_id", "item_id", "rank", "score"]
    again = made.select(shared).cast({c: stored.schema[c] for c in shared}).sort(shared)
    if not again.equals(stored.select(shared).sort(shared)):
        both = pl.concat([again, stored.select(shared)]).unique(keep="none", maintain_order=False)
        return stored, f"computed anew by version {version[0]}: {both.height} rows differ, those of then were used"
    kept = stored.select("person_id", "item_id", pl.exclude(shared))
    return again.join(kept, on=["person_id", "item_id"]).select(
        stored.columns
    ), f"equal, computed by version {version[0]}"


def _rows(lake: Reads, table: str, campaign_id: str) -> pl.DataFrame:
    return lake.read(f"select * from {table} where campaign_id = $id", id=campaign_id)


def _compared(table: str, then: pl.DataFrame, again: pl.DataFrame) -> Compared:
    """Bytes decide; the rows say where."""
    columns = list(CAMPAIGN_LIST_SCHEMA if table == LIST else EXCLUSIONS_SCHEMA)[2:]
    both = then.join(again, on="person_id", how="full", suffix="_again", coalesce=True)
    presence = (
        pl.when(pl.col("campaign_id").is_null())
        .then(pl.lit("only again"))
        .when(pl.col("campaign_id_again").is_null())
        .then(pl.lit("only then"))
    )
    differing = pl.concat_str(
        (pl.when(~pl.col(c).eq_missing(pl.col(f"{c}_again"))).then(pl.lit(c)) for c in columns),
        separator=", ",
        ignore_nulls=True,
    )
    rows = both.select("person_id", pl.coalesce(presence, differing).alias("what")).filter(pl.col("what") != "")
    return Compared(table, sha256(then, table), sha256(again, table), rows.sort("person_id"))


def _withdrawn(lake: Lake, campaign_id: str, then: pl.DataFrame) -> int:
    moved = _rows(lake, EXCLUSIONS, campaign_id).filter(pl.col("rule") == WITHDRAWN)
    return then.join(moved, on="person_id", how="semi").height


def _other_code(recorded: Recorded) -> list[str]:
    now = git_sha()
    same = recorded.git_sha == now
    return [] if same else [f"The list was made by other code ({recorded.git_sha[:12]}) than runs now ({now[:12]})."]


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m xmkt_assets.reproduction CAMPAIGN``; exit code 1 where the list differs or was not recorded."""
    from xmkt_assets.resources import settings

    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets.reproduction", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("campaign")
    parser.add_argument("--run", help="Dagster run that made the list; the newest if left out")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    options = parser.parse_args(arguments)
    found = settings()
    try:
        done = reproduce(
            Lake(found.lake, threads=found.threads), Tracker(found.home), options.campaign, run_id=options.run
        )
    except ReproductionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        (json.dumps(_as_json(done), indent=1, ensure_ascii=False) if options.json else done.in_words()) + "\n"
    )
    return 0 if done.is_equal else 1


def _as_json(done: Reproduced) -> dict[str, Any]:
    tables = [{**c._asdict(), "rows": c.rows.to_dicts()} for c in done.tables]
    names = ("campaign_id", "run_id", "outcome", "snapshot_read", "models", "gone", "withdrawn", "notes")
    return {**{name: getattr(done, name) for name in names}, "tables": tables}


if __name__ == "__main__":
    sys.exit(main())
