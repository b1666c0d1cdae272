"""The corpus of bad input through the platform: ``python -m xmkt_assets.bad_input_run --home FOLDER``.

Every kind is laid into the landing folder of a home, the load job runs as it does in operation, and what came of each
kind is held against what must: rows add up, the message is found, sound rows beside it are loaded, and no planted
phone or address lies anywhere in the home. The kinds are in ``simulate.bad_input``; nothing here loads or repairs.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from xmkt_assets.raw.books import LEDGER, QUARANTINE
from xmkt_assets.raw.stores import printable
from xmkt_assets.security import scan_home
from xmkt_assets.simulate.bad_input import CORPUS, BadInput, Placed, place, sound_files, write_again, write_first
from xmkt_assets.simulate.bad_input.kinds import GOOD_ROWS

if TYPE_CHECKING:
    import dagster as dg

    from xmkt_assets.resources import Warehouse

SEED: Final = 7
STRAYS: Final = "raw.landing_strays"
_ORDER: Final = ("loaded", "empty", "partly quarantined", "rejected", "held back", "unreadable")
_COUNTS: Final = ("rows_in", "rows_loaded", "rows_quarantined", "rows_duplicate", "rows_kept")


class Found(NamedTuple):
    """What became of one kind: the worst status of its files, their rows, everything said about them."""

    status: str
    rows_in: int
    loaded: int
    quarantined: int
    duplicate: int
    kept: int
    in_tables: tuple[int, int]  # rows of the feed's table and of the quarantine, counted there
    said: str


class Verdict(NamedTuple):
    """One kind with what became of it; `complaints` is empty where that is what must."""

    placed: Placed
    found: Found
    complaints: tuple[str, ...]


class CorpusRun(NamedTuple):
    """The whole corpus: a verdict per kind, and what is wrong beyond any one of them."""

    verdicts: tuple[Verdict, ...]
    complaints: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.complaints and not any(v.complaints for v in self.verdicts)

    def table(self) -> pl.DataFrame:
        """One row per kind, for people."""
        rows = [
            (v.placed.kind.name, v.found.status, *v.found[1:6], _short(v.found.said), "; ".join(v.complaints) or "ok")
            for v in self.verdicts
        ]
        names = ["kind", "outcome", "in", "loaded", "refused", "repeated", "kept", "said", "verdict"]
        return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def run_corpus(
    home: Path,
    *,
    instance: "dg.DagsterInstance",
    first_on: date,
    corpus: Sequence[BadInput] = CORPUS,
    tables: Sequence[str] | None = None,
    seed: int = SEED,
) -> CorpusRun:
    """Load `corpus` in `home`, an empty one, and judge what came out. `tables` narrows the job (None: all of it).

    Three runs: all that arrives first; after some files changed, the days they share with most others again; then the
    kinds that stop a step.
    """
    stopping = [kind for kind in corpus if kind.expected.status == "stops"]
    placed = place([kind for kind in corpus if kind not in stopping], first_on=first_on, seed=seed)
    platform, landing = _Platform(home, instance, tables), home / "landing"
    write_first(placed, landing)
    failures = platform.load(placed)
    first = _ledger(platform.warehouse)
    write_again(placed, landing)
    failures += platform.load([one for one in placed if not one.kind.alone])
    second = _ledger(platform.warehouse)
    complaints = [f"a run failed: {said}" for said in failures]
    complaints += [*_changed_without_cause(placed, first, second), *_unsound(placed, second)]
    stops = place(stopping, first_on=first_on, seed=seed)
    write_first(stops, landing)
    stopped = [
        platform.load([one], only=[f"{schema}.{one.kind.feed}" for schema in ("raw", "staging")]) for one in stops
    ]
    books = _Books.read(platform.warehouse, [kind.feed for kind in corpus])
    found = [(one, books.found(one)) for one in placed]
    found += [(one, books.found(one, stopped_by=said)) for one, said in zip(stops, stopped, strict=True)]
    leaks = _leaks(home, [one.kind for one, _ in found])
    verdicts = tuple(Verdict(one, what, tuple(_complaints(one.kind, what, leaks))) for one, what in found)
    return CorpusRun(verdicts, tuple(complaints))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the corpus and print one line per kind. Exit code 1 where something is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.bad_input_run", description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="new folder for a home of its own")
    home = parser.parse_args(arguments).home.resolve()
    if home.exists() and any(home.iterdir()):
        sys.exit(f"{home} is not empty. Name a new folder: bad input must not be mixed into real deliveries.")
    from xmkt_assets.resources import prepare_home

    prepare_home(home)
    import dagster as dg

    from xmkt_assets.partitions import DAYS

    first_on = date.fromisoformat(str(DAYS.get_first_partition_key()))
    return print_corpus(run_corpus(home, instance=dg.DagsterInstance.get(), first_on=first_on))


def print_corpus(run: CorpusRun) -> int:
    """Print one line per kind and what is not as it must be. Returns the exit code."""
    from xmkt_assets.console import print_table

    print_table(f"{len(run.verdicts)} kinds of bad input (SIMULATED)", run.table())
    for said in run.complaints:
        print(f"NOT AS IT MUST BE: {said}")
    wrong = sum(1 for verdict in run.verdicts if verdict.complaints)
    print(f"\n{len(run.verdicts)} kinds of bad input, {wrong} of them not handled as they must be.")
    return 0 if run.is_sound else 1


# --- running -------------------------------------------------------------------------------------------------------


class _Platform:
    """One home with its definitions; runs the load job in this process."""

    def __init__(self, home: Path, instance: "dg.DagsterInstance", tables: Sequence[str] | None) -> None:
        from xmkt_assets.definitions import build_defs
        from xmkt_assets.resources import PartnerDrops, Tracking, Warehouse

        self.warehouse = Warehouse(home=str(home), threads=1)
        self._instance, self._tables = instance, tables
        drops = PartnerDrops(landing=str(home / "landing"), settle_seconds=0.0, home=str(home))
        overrides = {"warehouse": self.warehouse, "drops": drops, "tracking": Tracking(home=str(home))}
        self._defs = build_defs(resource_overrides=overrides)

    def load(self, placed: Sequence[Placed], *, only: Sequence[str] | None = None) -> list[str]:
        """Load every day of `placed` in one run. Returns what failed steps said."""
        import dagster as dg

        from xmkt_assets.automation.jobs import LOAD
        from xmkt_assets.automation.sensors import step_error
        from xmkt_assets.partitions import range_tags

        days = [day for one in placed for day in one.days]
        tables = only or self._tables
        result = self._defs.resolve_job_def(LOAD).execute_in_process(
            instance=self._instance,
            tags=range_tags(min(days), max(days)),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            asset_selection=[dg.AssetKey(table.split(".")) for table in tables] if tables else None,
            raise_on_error=False,
        )
        return [step_error(event) for event in result.all_events if event.is_step_failure]


# --- judging -------------------------------------------------------------------------------------------------------


def _ledger(warehouse: "Warehouse") -> pl.DataFrame:
    return warehouse.read(f"select * exclude (run_id, loaded_at) from {LEDGER} order by source_file")


class _Books(NamedTuple):
    """What the lake says of every file: its line in the ledger, its refused rows, its rows, why it strays."""

    ledger: pl.DataFrame
    refused: pl.DataFrame
    rows: Mapping[str, int]
    strays: pl.DataFrame

    @classmethod
    def read(cls, warehouse: "Warehouse", feeds: Iterable[str]) -> "_Books":
        per_file = "select source_file, count(*) as n from raw.{} group by source_file"
        rows = warehouse.read(" union all ".join(per_file.format(feed) for feed in sorted(set(feeds))))
        return cls(
            warehouse.read(f"select * from {LEDGER}"),
            warehouse.read(f"select source_file, source_row, reason from {QUARANTINE}"),
            dict(rows.iter_rows()),
            warehouse.read(f"select source_file, reason from {STRAYS}"),
        )

    def found(self, one: Placed, *, stopped_by: Sequence[str] = ()) -> Found:
        """What became of the files of one kind."""
        names = [printable(name) for name in one.names]
        of_kind = pl.col("source_file").is_in(names)
        ledger, refused, strays = (books.filter(of_kind) for books in (self.ledger, self.refused, self.strays))
        said = [*ledger["source_file"], *ledger["note"], *refused["reason"].unique(), *strays["reason"], *stopped_by]
        rows_in, loaded, quarantined, duplicate, kept = (int(ledger[name].sum() or 0) for name in _COUNTS)
        in_tables = (sum(self.rows.get(name, 0) for name in names), refused["source_row"].drop_nulls().len())
        status, text = _status(ledger, strays, stopped_by), " ".join(part for part in said if part)
        return Found(status, rows_in, loaded, quarantined, duplicate, kept, in_tables, text)


def _status(ledger: pl.DataFrame, strays: pl.DataFrame, stopped_by: Sequence[str]) -> str:
    """The worst that became of a kind's files."""
    if stopped_by:
        return "stops"
    if ledger.is_empty():
        return "stray" if strays.height else "waits"
    order = {status: place for place, status in enumerate(_ORDER)}
    return max((str(status) for status in ledger["status"]), key=lambda status: order.get(status, len(order)))


def _complaints(kind: BadInput, found: Found, leaks: Mapping[str, str]) -> Iterator[str]:
    """In which points `found` is not what must become of the kind."""
    wanted = kind.expected
    if found.status != wanted.status:
        yield f"is {found.status}, must be {wanted.status}"
    rows = (wanted.rows_in, wanted.loaded, wanted.quarantined, wanted.duplicate, wanted.kept)
    if found[1:6] != rows:
        yield f"rows in, loaded, refused, repeated, kept are {found[1:6]}, must be {rows}"
    if found.rows_in != found.loaded + found.quarantined + found.duplicate:
        yield "the ledger does not add up"
    if found.in_tables != (found.loaded + found.kept, found.quarantined):
        yield f"the tables hold {found.in_tables} rows and refused rows, the ledger says otherwise"
    yield from (f"nobody says {text!r}" for text in kind.must_say if text not in found.said)
    yield from (f"what was planted lies in {leaks[text]}" for text in kind.planted if text in leaks)


def _changed_without_cause(placed: Sequence[Placed], first: pl.DataFrame, second: pl.DataFrame) -> Iterator[str]:
    """Files that did not change between the loads, and whose line in the ledger did."""
    may_change = {name for one in placed if one.kind.again for name in one.names}
    before, after = (
        {line["source_file"]: line for line in ledger.iter_rows(named=True) if line["source_file"] not in may_change}
        for ledger in (first, second)
    )
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    if changed:
        yield f"the second load of the same bytes changed the ledger of {len(changed)} files, the first {changed[0]!r}"


def _unsound(placed: Sequence[Placed], ledger: pl.DataFrame) -> Iterator[str]:
    """Files of good rows that were not loaded whole."""
    lines = {line["source_file"]: line for line in ledger.iter_rows(named=True)}
    for name in sound_files(placed):
        line = lines.get(name)
        if line is None or line["rows_loaded"] != GOOD_ROWS:
            found = f"{line['status']}, {line['rows_loaded']} rows loaded: {line['note']}" if line else "not loaded"
            yield f"{name} holds {GOOD_ROWS} good rows and is {found}"


def _leaks(home: Path, kinds: Iterable[BadInput]) -> dict[str, str]:
    """Planted value → where in the home it was found, the landing folder aside."""
    planted = [text for kind in kinds for text in kind.planted]
    folders = [path for path in home.iterdir() if path.is_dir() and path.name != "landing"]
    hits = [(folder.name, hit) for folder in folders for hit in scan_home(folder, planted)]
    return {hit.found: f"{name}/{hit.file} ({hit.place})" for name, hit in hits}


def _short(text: str, *, width: int = 90) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


if __name__ == "__main__":
    sys.exit(main())
