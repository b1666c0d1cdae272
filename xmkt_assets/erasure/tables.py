"""Tables: which rows are a person's. Found from the columns of the lake as it is, so that a table added later counts.

A row is the person's where a column that names people, accounts or hashed identifiers names theirs; which columns do is
told by the ends of their names. Any other text is searched as well: a cell that is the id makes the row theirs, an id
within a longer text, a list or a struct is overwritten and the row, which is somebody else's, stays.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from xmkt_assets.contracts import PARTNERS
from xmkt_assets.erasure.requests import Account, Person, Request
from xmkt_assets.warehouse import Delete, Session, Update

PERSON_COLUMN: Final = "person_id"
ACCOUNT_COLUMNS: Final = {"user_id": "course_platform", "customer_id": "insurer"}
SUBJECT_COLUMN: Final = "subject_id"
HASH_COLUMN: Final = "_hash"
# Ids of what a person did: they tie a row to the person where no column names them.
EVENT_COLUMNS: Final = (
    "order_id",
    "order_line_id",
    "policy_id",
    "policy_event_id",
    "claim_id",
    "view_id",
    "review_id",
    "consent_id",
    "optout_id",
    "event_id",
    "interaction_id",
    "occasion_id",
)
AS_IT_CAME: Final = "raw_text"  # a whole row of a partner in one text: it is removed, not overwritten
REMOVED: Final = "[erased]"
# Names of files must go on matching the files; the suppression list holds no id.
_NOT_SEARCHED: Final = {"source_file", "partner", "subject_key", "sha256"}
_BOOKS: Final = {"raw.erased_subjects", "staging.erasures"}


class Column(NamedTuple):
    """One column of a table."""

    name: str
    kind: str

    @property
    def sql(self) -> str:
        return '"' + self.name.replace('"', '""') + '"'

    @property
    def text(self) -> str:
        return self.sql if self.kind == "VARCHAR" else f"cast({self.sql} as varchar)"

    @property
    def may_hold_text(self) -> bool:
        return any(word in self.kind for word in ("VARCHAR", "JSON", "BLOB", "VARIANT"))


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the lake."""

    name: str
    columns: tuple[Column, ...]

    def ending(self, end: str) -> list[Column]:
        return [c for c in self.columns if c.name == end or c.name.endswith(f"_{end.lstrip('_')}")]

    @property
    def events(self) -> list[Column]:
        return [c for c in self.columns if c.name in EVENT_COLUMNS]

    @property
    def names_accounts(self) -> bool:
        return any(self.ending(end) for end in (*ACCOUNT_COLUMNS, SUBJECT_COLUMN))

    @property
    def names_people(self) -> bool:
        return self.names_accounts or bool(self.ending(PERSON_COLUMN))


class Condition(NamedTuple):
    """SQL with the parameters bound in it."""

    sql: str
    parameters: Mapping[str, object]


class Count(NamedTuple):
    """Rows of one table: all, the person's, and those of others that mention the person."""

    table: str
    rows: int
    of_person: int
    mentioning: int


def lake_tables(session: Session) -> list[Table]:
    """Every table (no view) of the lake but the books of erasure itself."""
    found: dict[str, list[Column]] = {}
    query = (
        "select c.schema_name || '.' || c.table_name, c.column_name, c.data_type from duckdb_columns() as c "
        "inner join duckdb_tables() as t using (database_name, schema_name, table_name) "
        "where c.database_name = 'lake' order by 1, c.column_index"
    )
    for table, column, kind in session.connection.execute(query).fetchall():
        found.setdefault(table, []).append(Column(column, kind))
    return [Table(name, tuple(columns)) for name, columns in found.items() if name not in _BOOKS]


def find_person(session: Session, request: Request) -> Person:
    """The person of a request: all accounts, or the one; the hashed identifiers that nobody else carries."""
    tables, is_whole = lake_tables(session), request.scope == "everywhere"
    accounts, people = _identity(session, request, tables)
    own_names = [f"p{hashlib.md5(f'{a.partner}:{a.subject_id}'.encode()).hexdigest()[:16]}" for a in accounts]
    person = Person(accounts, tuple(dict.fromkeys((*people, *own_names))), is_whole=is_whole)
    person = person.joined(Person((), (), shared_ids=_shared_ids(session, person, tables)))
    return person.joined(Person((), (), hashes=_own_hashes(session, person, tables)))


def _identity(
    session: Session, request: Request, tables: Sequence[Table]
) -> tuple[tuple[Account, ...], tuple[str, ...]]:
    identities = next((t for t in tables if t.name == "staging.identities"), None)
    if identities is None:
        return (request.account,), ()
    names = ", ".join(c.sql for c in identities.ending(PERSON_COLUMN))
    rows = session.connection.execute(
        f"select partner, subject_id, {names} from staging.identities where person_id in "
        "(select person_id from staging.identities where partner = $partner and subject_id = $subject)",
        {"partner": request.account.partner, "subject": request.account.subject_id},
    ).fetchall()
    accounts = [Account(partner, subject) for partner, subject, *_ in rows]
    if request.scope == "account":
        accounts = []
        rows = [r for r in rows if Account(*r[:2]) == request.account]
    people = [name for row in rows for name in row[2:] if name]
    return tuple(dict.fromkeys((request.account, *accounts))), tuple(dict.fromkeys(people))


def _shared_ids(session: Session, person: Person, tables: Sequence[Table]) -> tuple[str, ...]:
    """Ids of the person's accounts that the other firm gave to somebody: as a word they would mean two people."""
    if not any(t.name == "staging.identities" for t in tables):
        return ()
    rows = session.connection.execute(
        "select distinct subject_id from staging.identities where subject_id in (select unnest($ids)) "
        "and partner || ':' || subject_id not in (select unnest($own))",
        {"ids": [i for _, i in person.accounts], "own": [f"{p}:{i}" for p, i in person.accounts]},
    ).fetchall()
    return tuple(sorted(subject for (subject,) in rows))


def _own_hashes(session: Session, person: Person, tables: Sequence[Table]) -> tuple[str, ...]:
    """Hashed identifiers of the accounts. One that another account carries (a household phone) is that one's, too."""
    own: set[str] = set()
    others: set[str] = set()
    for table in tables:
        hashes = table.ending(HASH_COLUMN)
        if not hashes or not table.names_accounts:
            continue
        is_own, parameters = _any(_account_terms(table, person))
        for column in hashes:
            rows = session.connection.execute(
                f"select {column.text}, bool_or({is_own}), bool_or(not {is_own}) from {table.name} "
                f"where {column.sql} is not null group by all having bool_or({is_own})",
                parameters,
            ).fetchall()
            own |= {value for value, _, _ in rows}
            others |= {value for value, _, is_shared in rows if is_shared}
    return tuple(sorted(own - others))


def own_rows(table: Table, person: Person, *, events: Iterable[str] = ()) -> Condition:
    """Rows of `table` that are the person's; `events` are ids of what the person did.

    Where one account of the person stays, a row that names accounts is judged by these alone.
    """
    accounts, terms = _account_terms(table, person), []
    if person.is_whole or not accounts:
        people = {"people": list(person.person_ids)}
        terms = [(f"{c.text} in (select unnest($people))", people) for c in table.ending(PERSON_COLUMN)]
    hashes = {"hashes": list(person.hashes)}
    terms += [(f"{c.text} in (select unnest($hashes))", hashes) for c in table.ending(HASH_COLUMN) if person.hashes]
    named = [
        c.name for end in (PERSON_COLUMN, *ACCOUNT_COLUMNS, SUBJECT_COLUMN, HASH_COLUMN) for c in table.ending(end)
    ]
    words = {"words": list(person.words)}
    terms += [
        (f"{c.sql} in (select unnest($words))", words)
        for c in _searched(table)
        if c.kind == "VARCHAR" and c.name not in named and person.words
    ]
    did = {"events": list(events)}
    if did["events"] and not table.names_people:
        terms += [(f"{c.text} in (select unnest($events))", did) for c in table.events]
    return Condition(*_any([*accounts, *terms]))


def event_ids(session: Session, person: Person, tables: Sequence[Table]) -> set[str]:
    """Ids of what the person did, wanted where a table without people has a column of such ids."""
    wanted = {c.name for t in tables if not t.names_people for c in t.events}
    if not wanted:
        return set()
    found: set[str] = set()
    for table in tables:
        if table.names_people and table.events:
            is_own, parameters = own_rows(table, person)
            for column in table.events:
                query = f"select distinct {column.text} from {table.name} where {is_own} and {column.sql} is not null"
                found |= {value for (value,) in session.connection.execute(query, parameters).fetchall()}
    return found


def count_rows(session: Session, person: Person, *, events: Iterable[str] = ()) -> list[Count]:
    """Rows of every table that are the person's or mention the person; tables without any are left out."""
    counts = []
    for table in lake_tables(session):
        own, mention = own_rows(table, person, events=events), mentions(table, person)
        row = session.connection.execute(
            f"select count(*), count(*) filter (where {own.sql}), "
            f"count(*) filter (where ({mention.sql}) and not {own.sql}) from {table.name}",
            {**own.parameters, **mention.parameters} or None,
        ).fetchone()
        if row and (row[1] or row[2]):
            counts.append(Count(table.name, *row))
    return counts


def removals(
    session: Session, person: Person, counts: Iterable[Count], *, events: Iterable[str] = ()
) -> list[Delete | Update]:
    """What takes the person out of the tables that `count_rows` named."""
    tables = {t.name: t for t in lake_tables(session)}
    changes: list[Delete | Update] = []
    for count in counts:
        table = tables[count.table]
        if count.of_person:
            changes.append(Delete(table.name, *own_rows(table, person, events=events)))
        if count.mentioning:
            changes += _clearings(table, person)
    return changes


def _clearings(table: Table, person: Person) -> list[Delete | Update]:
    changes: list[Delete | Update] = []
    for column in _searched(table):
        condition, parameters = _mention(column, person)
        if column.name == AS_IT_CAME:
            changes.append(Delete(table.name, condition, parameters))
            continue
        clear = f"regexp_replace({column.text}, $pattern, '{REMOVED}', 'g')"
        if column.kind not in ("VARCHAR", "JSON"):
            texts = f"regexp_replace(cast(to_json({column.sql}) as varchar), $pattern, '{REMOVED}', 'g')"
            clear = f"cast(cast({texts} as json) as {column.kind})"
        changes.append(Update(table.name, {column.sql: clear}, condition, parameters))
    return changes


def mentions(table: Table, person: Person) -> Condition:
    """Rows with a text that names the person among other things."""
    terms = [_mention(c, person) for c in _searched(table)] if person.words else []
    return Condition(*_any([(t.sql, t.parameters) for t in terms]))


def _mention(column: Column, person: Person) -> Condition:
    return Condition(f"coalesce(regexp_matches({column.text}, $pattern), false)", {"pattern": _pattern(person.words)})


def _pattern(words: Iterable[str]) -> str:
    """One of the words, alone: \\b is a boundary of ASCII words, which is wanted only beside such a sign."""
    parts = []
    for word in words:
        start = r"\b" if re.match(r"[0-9A-Za-z_]", word) else ""
        end = r"\b" if re.search(r"[0-9A-Za-z_]$", word) else ""
        parts.append(start + re.sub(r"([^0-9A-Za-z_\x80-\U0010ffff])", r"\\\1", word) + end)
    return "|".join(parts)


def _searched(table: Table) -> list[Column]:
    return [c for c in table.columns if c.may_hold_text and c.name not in _NOT_SEARCHED]


def _account_terms(table: Table, person: Person) -> list[tuple[str, Mapping[str, object]]]:
    terms: list[tuple[str, Mapping[str, object]]] = []
    for end, partner in ACCOUNT_COLUMNS.items():
        ids = {partner: person.of(partner)}
        terms += [(f"{c.text} in (select unnest(${partner}))", ids) for c in table.ending(end)]
    present = {c.name for c in table.columns}
    for column in table.ending(SUBJECT_COLUMN):
        firm = column.name.removesuffix(SUBJECT_COLUMN) + "partner"
        named = firm if firm in present else "partner" if "partner" in present else ""
        if named:
            own = {"accounts": [f"{p}:{i}" for p, i in person.accounts]}
            terms.append((f"\"{named}\" || ':' || {column.text} in (select unnest($accounts))", own))
        else:
            either = {"subjects": [i for partner in PARTNERS for i in person.of(partner)]}
            terms.append((f"{column.text} in (select unnest($subjects))", either))
    return terms


def _any(terms: Iterable[tuple[str, Mapping[str, object]]]) -> tuple[str, dict[str, object]]:
    """Any of the terms, false where a value is missing."""
    sql: list[str] = []
    parameters: dict[str, object] = {}
    for term, values in terms:
        sql.append(f"coalesce({term}, false)")
        parameters |= values
    return (f"({' or '.join(sql)})" if sql else "false"), parameters
