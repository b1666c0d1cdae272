"""Withdrawals: people who refuse a purpose now are taken out of everything that was made of them for it. Pure.

Here: which tables hold people for which purpose (found from the lake's columns), removing the rows, turning old
decisions, and moving people off lists that nobody has been contacted from. Not here: who refuses
(``dbt_like_sql/staging/consent_refusals.sql``), the gates of days still to be built (they honour it themselves), older
snapshots, models and what was sent (a withdrawal works forward; erasing a person reaches those too).

Every table changes in one transaction together with its line in `APPLIED`, so whatever was removed is on record.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from xmkt_assets.campaigns.decisions import RULE_NAMES
from xmkt_assets.purposes import purposes_of
from xmkt_assets.raw.books import LEDGER
from xmkt_assets.warehouse import Delete, Equal, Replace, Session, Update

APPLIED: Final = "staging.withdrawals_applied"
REFUSALS: Final = "staging.consent_refusals"
DECISIONS: Final = "staging.consent_decisions"
LIST, EXCLUSIONS = "campaigns.campaign_list", "campaigns.exclusions"
RULE: Final = "consent withdrawn"
STEP: Final = len(RULE_NAMES) + 1  # after every rule that was asked when the list was made
# A list rests on the person's profile too.
LIST_PURPOSES: Final = ("joint_marketing", "profiling")

DESCRIPTION: Final = (
    "One row per table and run from which people were taken because they withdrew a consent; nothing to do = no row. "
    "Nobody is named: whom it was is in staging.consent_refusals."
)
SCHEMA: Final[dict[str, pl.DataType]] = {
    "run_id": pl.String(),
    "table_name": pl.String(),
    "applied_at": pl.Datetime("us"),
    "purposes": pl.String(),
    "action": pl.String(),
    "people": pl.Int64(),
    "rows_removed": pl.Int64(),
}
COLUMNS: Final[dict[str, str]] = {
    "run_id": "Dagster run that applied the withdrawals",
    "table_name": "Table they were applied to",
    "applied_at": "When (UTC)",
    "purposes": "Purposes whose refusal takes a person out of this table, separated by |",
    "action": "removed; turned = the decision now says withdrawn; moved = from a list to its exclusions",
    "people": "People concerned",
    "rows_removed": "Rows removed, turned or moved",
}


@dataclass(frozen=True, slots=True)
class Removal:
    """What one run did to one table."""

    table: str
    purposes: tuple[str, ...]
    action: str
    people: int
    rows: int
    campaigns: tuple[str, ...] = ()  # whose lists lost people


@dataclass(frozen=True, slots=True)
class Run:
    """Which run applies withdrawals, and when (naive UTC)."""

    run_id: str
    at: datetime

    def line(self, removal: Removal) -> pl.DataFrame:
        values = (self.run_id, removal.table, self.at, "|".join(removal.purposes))
        return pl.DataFrame([(*values, removal.action, removal.people, removal.rows)], schema=SCHEMA, orient="row")


def apply_withdrawals(session: Session, run: Run) -> list[Removal]:
    """Take everybody who refuses now out of what was made before; returns what changed, table by table.

    A list whose launch day has come stands: people have been contacted by it, and its effect is measured. Until then
    its people can still be spared, also if its files have been written: those must be written and sent again.
    """
    _make_books(session, run)
    found = [*_found(session), *_allowed_decisions(session), *_listed(session)]
    for removal in found:
        session.stage_rows("applied_line", run.line(removal))
        book = Replace(APPLIED, "applied_line", Equal((("run_id", run.run_id), ("table_name", removal.table))))
        session.commit([*_changes(session, removal), book])
    return found


def person_tables(session: Session) -> dict[str, tuple[str, ...]]:
    """Tables of the lake with a row per person, and the purposes that each of its people must not have refused.

    Lists are not among them: what becomes of a person on a list depends on whether the list is released.
    """
    rows = session.read(
        "select c.schema_name || '.' || c.table_name as name from duckdb_columns() as c "
        "inner join duckdb_tables() as t using (database_name, schema_name, table_name) "
        "where c.database_name = 'lake' and c.column_name = 'person_id' order by name"
    )
    return {t: purposes_of(t) for t in rows["name"] if purposes_of(t) and t not in (LIST, EXCLUSIONS)}


def _make_books(session: Session, run: Run) -> None:
    if APPLIED not in session.tables():
        session.stage_rows("applied_line", pl.DataFrame(schema=SCHEMA))
        first = Replace(APPLIED, "applied_line", Equal((("run_id", run.run_id),)), DESCRIPTION, COLUMNS)
        session.commit([first])


def _found(session: Session) -> list[Removal]:
    """Tables that hold rows of people who refuse; one query over all of them."""
    tables = person_tables(session)
    if not tables:
        return []
    parts = [
        f"select '{table}' as name, count(*) as n, count(distinct person_id) as people from {table} "
        f"where {_refused(purposes)}"
        for table, purposes in tables.items()
    ]
    counted = session.read(f"select * from ({' union all '.join(parts)}) where n > 0 order by name")
    return [Removal(t, tables[t], "removed", people, n) for t, n, people in counted.iter_rows()]


def _allowed_decisions(session: Session) -> list[Removal]:
    """Decisions of earlier days that still say allowed."""
    if DECISIONS not in session.tables():
        return []
    query = (
        f"select count(*) as n, count(distinct d.person_id) as people, string_agg(distinct d.purpose, '|') as purposes "
        f"from {DECISIONS} as d semi join {REFUSALS} as r on r.person_id = d.person_id and r.purpose = d.purpose "
        f"where d.is_allowed"
    )
    ((n, people, purposes),) = session.read(query).rows()
    return [Removal(DECISIONS, tuple(sorted(purposes.split("|"))), "turned", people, n)] if n else []


def _listed(session: Session) -> list[Removal]:
    """People on lists whose launch day is not loaded yet; leaves them in the temporary table ``moved``."""
    if LIST not in session.tables():
        return []
    session.stage(
        "moved",
        f"select l.campaign_id, l.person_id, l.as_of_on, string_agg(r.purpose, ', ' order by r.purpose) as purposes, "
        f"max(r.refused_at) as refused_at from {LIST} as l inner join {REFUSALS} as r on r.person_id = l.person_id "
        f"where r.purpose in {_texts(LIST_PURPOSES)} and l.launched_on > $newest_day "
        f"group by l.campaign_id, l.person_id, l.as_of_on",
        {"newest_day": _newest_day(session)},
    )
    moved = session.read("select campaign_id, person_id from moved")
    campaigns = tuple(moved["campaign_id"].unique().sort())
    people = moved["person_id"].n_unique()
    return [Removal(LIST, LIST_PURPOSES, "moved", people, moved.height, campaigns)] if campaigns else []


def _newest_day(session: Session) -> date:
    """The newest day of which partner rows have been loaded; long ago where none was."""
    if LEDGER not in session.tables():
        return date.min
    newest: date | None = session.read(f"select max(dt) as day from {LEDGER} where rows_loaded > 0").item()
    return newest or date.min


def _changes(session: Session, removal: Removal) -> Sequence[Replace | Delete | Update]:
    match removal.action:
        case "moved":
            return _moves(session)
        case "turned":
            return _turned_decisions()
        case _:
            return [Delete(removal.table, _refused(removal.purposes))]


def _turned_decisions() -> Sequence[Update]:
    """The refused decisions, turned into what building their days again would say."""
    of_row = f"from {REFUSALS} as r where r.person_id = consent_decisions.person_id and r.purpose = "
    heard = f"exists (select 1 {of_row} consent_decisions.purpose and r.refused_at < as_of_on + interval 1 day)"
    reason = f"case when {heard} then 'withdrawn' else 'withdrawn since' end"
    refused = f"is_allowed and (person_id, purpose) in (select person_id, purpose from {REFUSALS})"
    return [Update(DECISIONS, {"is_allowed": "false", "reason": reason, "consent_id": "null"}, refused)]


def _moves(session: Session) -> Sequence[Replace | Delete]:
    """Off the list and into the exclusions, so that everybody known is still accounted for once."""
    campaigns, people = (
        session.read(f"select distinct {name} as one from moved order by one")["one"].to_list()
        for name in ("campaign_id", "person_id")
    )
    # The slice replaced is every such campaign times every such person, so what it holds already goes back in.
    session.stage(
        "moved_exclusions",
        f"select campaign_id, person_id, cast({STEP} as bigint) as step, '{RULE}' as rule, "
        f"'withdrew ' || purposes || ' on ' || strftime(refused_at, '%Y-%m-%d') || ', after the list was made' "
        f"as detail, as_of_on from moved union all by name select * from {EXCLUSIONS} "
        f"where campaign_id in (select campaign_id from moved) and person_id in (select person_id from moved)",
    )
    return [
        Delete(LIST, "(campaign_id, person_id) in (select campaign_id, person_id from moved)"),
        Replace(EXCLUSIONS, "moved_exclusions", Equal((("campaign_id", campaigns), ("person_id", people)))),
    ]


def _refused(purposes: Iterable[str]) -> str:
    return f"person_id in (select person_id from {REFUSALS} where purpose in {_texts(purposes)})"


def _texts(values: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"
