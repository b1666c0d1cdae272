"""Suppression: an erased person must not come back with the next delivery, and the list of them must name nobody.

``raw.erased_subjects`` keeps a keyed hash per account: without the home's secret "erasure" it says nothing, with it the
loader can ask whether an arriving row is about somebody who asked to be erased. Keeping it is what carrying the request
out takes (GDPR Art. 17(3)(b); PIPL Art. 47 asks for the same effect).
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from xmkt_assets.erasure.requests import Account
from xmkt_assets.secrets import home_secret
from xmkt_assets.warehouse import Equal, Replace, Session

TABLE: Final = "raw.erased_subjects"
SECRET: Final = "erasure"
REASON: Final = "erased person: the row is not stored"
DESCRIPTION: Final = (
    "One row per account whose person asked to be erased. Rows about them are refused at the door. Trap: subject_key "
    "is a keyed hash; without the home's secret nobody can tell who it is, and with a lost secret it protects nobody."
)
COLUMNS: Final = {
    "partner": "Firm that keeps the account",
    "subject_key": "Keyed hash of firm and account",
    "request_id": "Request that asked for it",
    "erased_at": "When the account was first refused (UTC)",
}
_VARIABLE: Final = "erasure_secret"


def erased_condition(session: Session, home: Path, *, partner: str, subject: str) -> str:
    """SQL that holds for rows about an erased account; ``false`` where nobody has been erased.

    `partner` and `subject` are SQL: a column or a string in quotes. The secret is a variable of the connection, so that
    it stands in no statement and hence in no error message.
    """
    if TABLE not in session.tables() or not _count(session):
        return "false"
    session.connection.execute(f"set variable {_VARIABLE} = $secret", {"secret": home_secret(home, SECRET).hex()})
    key = f"sha256(getvariable('{_VARIABLE}') || '|' || {partner} || ':' || {subject})"
    return f"coalesce({key} in (select subject_key from {TABLE}), false)"


def suppress(
    session: Session, home: Path, accounts: Sequence[Account], *, request_id: str, erased_at: datetime
) -> None:
    """Put accounts on the list; one that is there already stays as it is."""
    secret = home_secret(home, SECRET).hex()
    rows = pl.DataFrame(
        [(a.partner, f"{secret}|{a.partner}:{a.subject_id}") for a in accounts],
        schema={"partner": pl.String, "keyed": pl.String},
        orient="row",
    )
    session.stage_rows("new_erased", rows)
    known = f"(select subject_key from {TABLE})" if TABLE in session.tables() else "('')"
    session.stage(
        "erased_rows",
        "select partner, sha256(keyed) as subject_key, $request as request_id, cast($at as timestamp) as erased_at "
        f"from new_erased where sha256(keyed) not in {known}",
        {"request": request_id, "at": erased_at},
    )
    session.connection.execute("drop table new_erased")
    keys = [key for (key,) in session.connection.execute("select subject_key from erased_rows").fetchall()]
    session.commit([Replace(TABLE, "erased_rows", Equal((("subject_key", keys),)), DESCRIPTION, COLUMNS)])


def _count(session: Session) -> int:
    row = session.connection.execute(f"select count(*) from {TABLE}").fetchone()
    return int(row[0]) if row else 0
