"""The work: what happens to a request, step by step. Every step may be done again after the run was broken off.

1. Find the person and note what was found (``requests``), so that a later run knows it too.
2. Put the accounts on the suppression list: from now on no load brings them back.
3. Rows in all tables and lines of the ledger change in one transaction; the landing files follow by renames. Broken off
   in between, the files differ from the ledger, the sensor loads them again, and the loader refuses the person's rows.
4. Older snapshots, models, exports, logs, the published file.
5. Scan every byte, write the receipt, remove the request.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from xmkt_assets import published
from xmkt_assets.contracts import contracts
from xmkt_assets.erasure import files, lake, models, tables
from xmkt_assets.erasure.models import Registry, Trained, Version
from xmkt_assets.erasure.receipts import KEPT, write_receipt
from xmkt_assets.erasure.requests import (
    FOLDER,
    Person,
    Request,
    close,
    person_from,
    person_terms,
    remember,
    remembered,
)
from xmkt_assets.erasure.suppression import suppress
from xmkt_assets.erasure.tables import Count
from xmkt_assets.raw.books import LEDGER, QUARANTINE
from xmkt_assets.raw.rewriting import Rewriting
from xmkt_assets.security import scan_home
from xmkt_assets.warehouse import Delete, Equal, Lake, Replace, Session, Update

LOG: Final = logging.getLogger(__name__)
ERASURES: Final = "staging.erasures"
COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
DESCRIPTION: Final = (
    "One row per erasure request and table the person was in, and one per request with table_name 'all'. It names "
    "nobody."
)
COLUMNS: Final = {
    "request_id": "The request",
    "table_name": "Table the person was in; 'all' for the request as a whole",
    "asked_on": "Day the person asked",
    "erased_at": "When it was done (UTC)",
    "scope": "everywhere, or account: the account at one firm only",
    "status": "complete, or incomplete: the scan still found the person, see the receipt",
    "rows_of_person_before": "Rows about the person before",
    "rows_of_person_after": "Rows about the person after: 0",
    "rows_overwritten": "Rows about others in which the person's ids were overwritten",
    "rows_before": "Rows of the table before",
    "rows_after": "Rows of the table after",
    "snapshots_expired": "Older snapshots that can no longer be read",
    "first_readable_snapshot": "First lake snapshot that can still be read",
    "files_changed": "Files under the home and in the landing folder that were changed or removed",
    "models_trained_with": "Registered model versions that had learnt from the person",
    "run_id": "Dagster run",
}
SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **dict.fromkeys(("request_id", "table_name"), pl.String),
    "asked_on": pl.Date,
    "erased_at": pl.Datetime("us"),
    **dict.fromkeys(("scope", "status"), pl.String),
    **dict.fromkeys(
        (
            "rows_of_person_before",
            "rows_of_person_after",
            "rows_overwritten",
            "rows_before",
            "rows_after",
            "snapshots_expired",
            "first_readable_snapshot",
            "files_changed",
            "models_trained_with",
        ),
        pl.Int64,
    ),
    "run_id": pl.String,
}


class Place(NamedTuple):
    """Where the work is done. `landing` is None for a remote address, `registry` where there are no models."""

    home: Path
    lake: Lake
    landing: Path | None
    registry: Registry | None


@dataclass
class Case:
    """One request on its way through the steps."""

    request: Request
    person: Person
    events: list[str]
    counts: list[Count]
    before: dict[str, Count]
    versions: list[Version]
    trained_before: list[list[Any]]
    campaigns: list[str]
    landing: list[Rewriting] = field(default_factory=list)
    landing_left: list[str] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    cleared: list[files.Cleared] = field(default_factory=list)


class Erased(NamedTuple):
    """One request that was carried out, and its receipt."""

    request_id: str
    is_complete: bool
    receipt: Path
    content: Mapping[str, Any]


def erase(
    place: Place, requests: Sequence[Request], *, run_id: str, now: datetime, say: Callable[[str], object] = LOG.info
) -> list[Erased]:
    """Carry out requests. A request whose scan finds something is left open, with a receipt that says so."""
    cases = []
    for request in requests:
        say(f"{request.request_id}: looking for the person")
        with place.lake.session() as session:
            case = _prepare(session, place, request)
            cases.append(case)
            suppress(session, place.home, case.person.accounts, request_id=request.request_id, erased_at=now)
            _take_out(session, place, case)
        rows = sum(c.of_person for c in case.before.values())
        say(f"{request.request_id}: {rows} rows of {len(case.before)} tables, {len(case.landing)} delivered files")
    say("removing older snapshots, data files and freed pages of the lake")
    purged = lake.purge(place.lake, [word for case in cases for word in case.person.words])
    for case in cases:
        _forget_models(place, case)
    if (place.home / "published" / "xmkt.duckdb").exists():
        say("publishing anew")
        published.publish(place.lake.address, place.home / "published" / "xmkt.duckdb")
    say("looking through every byte of the home")
    for case in cases:
        hits = _hits(place, case.person)
        case.cleared = files.clear(place.home, hits, case.person)
    return [_conclude(place, case, purged, run_id=run_id, now=now, say=say) for case in cases]


def _prepare(session: Session, place: Place, request: Request) -> Case:
    """Find the person, add what an earlier run found, and note both before anything is changed."""
    noted = remembered(place.home, request)
    person = tables.find_person(session, request)
    if noted:
        person = person.joined(person_from(noted["person"]))
    events = sorted(tables.event_ids(session, person, tables.lake_tables(session)) | set(noted.get("events", [])))
    counts = tables.count_rows(session, person, events=events)
    before = {c.table: c for c in counts}
    before |= {c[0]: Count(*c) for c in noted.get("before", [])}
    versions = list(place.registry.versions()) if place.registry else []
    trained = [[v.model, v.version] for v in models.trained_with(session, versions, person)]
    trained += [v for v in noted.get("trained", []) if v not in trained]
    campaigns = sorted({*_campaigns(session, person), *noted.get("campaigns", [])})
    case = Case(request, person, events, counts, before, versions, trained, campaigns)
    remember(
        place.home,
        request,
        {
            "person": person_terms(person),
            "events": events,
            "before": list(before.values()),
            "trained": trained,
            "campaigns": campaigns,
        },
    )
    return case


def _campaigns(session: Session, person: Person) -> list[str]:
    """Campaigns on whose list the person is: their evaluation will count one person less."""
    if "campaigns.campaign_list" not in session.tables():
        return []
    rows = session.connection.execute(
        "select distinct campaign_id from campaigns.campaign_list where person_id in (select unnest($people))",
        {"people": list(person.person_ids)},
    ).fetchall()
    return [campaign for (campaign,) in rows]


def _take_out(session: Session, place: Place, case: Case) -> None:
    """Rows and ledger in one transaction, then the landing files."""
    if place.landing is not None:
        case.landing, case.landing_left = files.stage_landing(place.landing, case.person)
    changes = tables.removals(session, case.person, case.counts, events=case.events)
    changes += _ledger_changes(session, place, case)
    if changes:
        session.commit(changes)
    for done in case.landing:
        done.put()


def _ledger_changes(session: Session, place: Place, case: Case) -> list[Delete | Update]:
    """The ledger says of a rewritten file what it is now, so that nobody takes it for a new one."""
    if place.landing is None or not case.landing or LEDGER not in session.tables():
        return []
    names = {done.path.relative_to(place.landing).as_posix(): done for done in case.landing}
    books = {QUARANTINE, *(f"raw.{feed}" for feed in contracts())}
    loaded = _rows_per_file(session, case, [t for t in tables.lake_tables(session) if t.name in books])
    refused = loaded.pop(QUARANTINE, {})
    kept = {name: sum(by_file.get(name, 0) for by_file in loaded.values()) for name in names}
    known = session.connection.execute(f"select source_file, sha256 from {LEDGER}").fetchall()
    return [
        _ledger_line(name, names[name], loaded=kept[name], refused=refused.get(name, 0), case=case)
        for name, sha256 in known
        if name in names and sha256 != names[name].sha256
    ]


def _rows_per_file(session: Session, case: Case, raw: Iterable[tables.Table]) -> dict[str, dict[str, int]]:
    """Raw table → file → rows of the person that are about to go."""
    found: dict[str, dict[str, int]] = {}
    for table in raw:
        own = tables.own_rows(table, case.person, events=case.events)
        mention = tables.mentions(table, case.person) if table.name == QUARANTINE else tables.Condition("false", {})
        rows = session.connection.execute(
            f"select source_file, count(*) from {table.name} where {own.sql} or {mention.sql} group by source_file",
            {**own.parameters, **mention.parameters} or None,
        ).fetchall()
        found[table.name] = dict(rows)
    return found


def _ledger_line(name: str, done: Rewriting, *, loaded: int, refused: int, case: Case) -> Update:
    """Rows that were neither loaded nor refused had been duplicates; the numbers go on adding up.

    Rows in the table under a file of which nothing was loaded are those it keeps of an earlier delivery.
    """
    again = max(0, done.rows_removed - loaded - refused)
    gone = {
        "rows_loaded": "least(rows_loaded, $loaded)",
        "rows_quarantined": "least(rows_quarantined, $refused)",
        "rows_duplicate": "least(rows_duplicate, $again)",
    }
    return Update(
        LEDGER,
        {
            "size_bytes": "$size",
            "sha256": "$sha256",
            "rows_in": f"rows_in - {' - '.join(gone.values())}",
            "rows_kept": "rows_kept - case when rows_loaded = 0 then least(rows_kept, $loaded) else 0 end",
            **{column: f"{column} - {number}" for column, number in gone.items()},
            "note": "trim(coalesce(note, '') || $note)",
        },
        "source_file = $name",
        {
            "name": name,
            "size": done.size_bytes,
            "sha256": done.sha256,
            "loaded": loaded,
            "refused": refused,
            "again": again,
            "note": f" {done.rows_removed} rows were erased by request {case.request.request_id}; source_row counts "
            "the rows as they were delivered.",
        },
    )


def _forget_models(place: Place, case: Case) -> None:
    if place.registry is None:
        return
    known = {(v.model, v.version): v for v in case.versions}
    wanted = [known[model, version] for model, version in map(tuple, case.trained_before) if (model, version) in known]
    case.trained = [models.forget(place.registry, v, case.person, request_id=case.request.request_id) for v in wanted]


def _hits(place: Place, person: Person) -> list[str]:
    """Files that still name the person; the request itself is not one of them."""
    found = {h.file for h in scan_home(place.home, person.words, whole_words=True)}
    if place.landing is not None and not place.landing.is_relative_to(place.home):
        found |= {f"landing/{h.file}" for h in scan_home(place.landing, person.words, whole_words=True)}
    return sorted(f for f in found if not f.startswith(f"{FOLDER}/"))


def _conclude(
    place: Place, case: Case, purged: lake.Purged, *, run_id: str, now: datetime, say: Callable[[str], object]
) -> Erased:
    """Scan once more, write the book and the receipt, and close the request where nothing is left."""
    hits = _hits(place, case.person)
    with place.lake.session() as session:
        after = {c.table: c for c in tables.count_rows(session, case.person, events=case.events)}
        totals = {t: int(session.read(f"select count(*) as n from {t}").item()) for t in case.before}
        is_complete = not hits and not any(c.of_person or c.mentioning for c in after.values())
        counted = [_counted(before, after.get(t), totals[t]) for t, before in sorted(case.before.items())]
        _write_book(session, case, counted, purged, is_complete=is_complete, run_id=run_id, now=now)
    content = _content(place, case, counted, purged, hits, is_complete=is_complete, run_id=run_id, now=now)
    receipt = write_receipt(place.home, content, words=case.person.words)
    say(f"{case.request.request_id}: {content['status']}, receipt {receipt.relative_to(place.home)}")
    if is_complete:
        close(place.home, case.request)
    return Erased(case.request.request_id, is_complete, receipt, content)


def _counted(before: Count, after: Count | None, rows_after: int) -> dict[str, Any]:
    return {
        "table": before.table,
        "rows_of_person_before": before.of_person,
        "rows_of_person_after": after.of_person if after else 0,
        "rows_overwritten": before.mentioning,
        "rows_before": before.rows,
        "rows_after": rows_after,
    }


def _write_book(
    session: Session,
    case: Case,
    counted: Sequence[Mapping[str, Any]],
    purged: lake.Purged,
    *,
    is_complete: bool,
    run_id: str,
    now: datetime,
) -> None:
    request = case.request
    shared = {
        "request_id": request.request_id,
        "asked_on": request.asked_on,
        "erased_at": now,
        "scope": request.scope,
        "status": COMPLETE if is_complete else INCOMPLETE,
        "snapshots_expired": len(purged.expired),
        "first_readable_snapshot": purged.first_readable,
        "files_changed": len(case.landing) + len(case.cleared),
        "models_trained_with": len(case.trained),
        "run_id": run_id,
    }
    lines = [{**shared, **{k: v for k, v in c.items() if k != "table"}, "table_name": c["table"]} for c in counted]
    whole: dict[str, Any] = {k: sum(c[k] for c in counted) for k in SCHEMA if k.startswith("rows_")}
    rows = pl.DataFrame([*lines, {**shared, **whole, "table_name": "all"}], schema=SCHEMA)
    session.stage_rows("new_erasures", rows)
    scope = Equal((("request_id", request.request_id),))
    session.commit([Replace(ERASURES, "new_erasures", scope, DESCRIPTION, COLUMNS)])


def _content(
    place: Place,
    case: Case,
    counted: Sequence[Mapping[str, Any]],
    purged: lake.Purged,
    hits: Sequence[str],
    *,
    is_complete: bool,
    run_id: str,
    now: datetime,
) -> dict[str, Any]:
    """The receipt, without its digest and seal."""
    request, person = case.request, case.person
    masked = files.forgotten_of(person, None).masked
    gone = [t for t in case.trained if t.snapshot_id is not None and t.snapshot_id in purged.expired]
    content: dict[str, Any] = {
        "request_id": request.request_id,
        "asked_on": _iso(request.asked_on),
        "erased_at": _iso(now),
        "dagster_run": run_id,
        "scope": request.scope,
        "firm_asked": request.account.partner,
        "status": COMPLETE if is_complete else INCOMPLETE,
        "accounts_erased": len(person.accounts),
        "tables": list(counted),
        "lake": {
            "snapshots_no_longer_readable": lake.in_words(purged.expired),
            "first_readable_snapshot": purged.first_readable,
            "data_files_removed": purged.files_removed,
        },
        "delivered_files": [
            {
                "file": masked(_below(place.landing, d.path)),
                "rows_removed": d.rows_removed,
                "rows_overwritten": d.rows_masked,
            }
            for d in case.landing
        ],
        "delivered_files_left": _left(place, case, masked),
        "other_files": [{"file": masked(c.file), "done": c.done} for c in case.cleared],
        "models": [t._asdict() for t in case.trained],
        "training_snapshots_no_longer_readable": [f"{t.model} {t.version}: {t.snapshot_id}" for t in gone],
        "campaigns_to_evaluate_again": case.campaigns,
        "retraining": _retraining(case),
        "kept": [*KEPT, *lake.kept(place.lake.address)],
        "verification": {
            "values_looked_for": len(person.words),
            "ids_looked_for_in_columns_only": person.untold_ids,
            "files_that_still_name_the_person": [masked(h) for h in hits],
        },
    }
    return content


def _left(place: Place, case: Case, masked: Callable[[str], str]) -> list[str]:
    if place.landing is None:
        return ["The landing address is remote: its files are the partner's to delete."]
    return [masked(text) for text in case.landing_left]


def _below(landing: Path | None, path: Path) -> str:
    return path.relative_to(landing).as_posix() if landing else path.name


def _retraining(case: Case) -> str:
    if case.request.scope == "account":
        return "Requested: the newest day is loaded and trained again, for the person stays with the other firm."
    return "Requested: models and lists as of the newest day are made again without the person."


def _iso(when: date | datetime) -> str:
    return when.isoformat(timespec="seconds") if isinstance(when, datetime) else when.isoformat()
