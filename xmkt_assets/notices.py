"""The notices of the sharing agreement as rows, for SQL to judge consents by. Pure; what an agreement says is read by
``agreement``, what follows for a consent is said in ``dbt_like_sql/staging/consent_ledger.sql``.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from xmkt_assets.agreement import Notice

TABLE: Final = "staging.notices"
DESCRIPTION: Final = (
    "One row per version of a notice, purpose and firm it covers, from the sharing agreement in force. A grant counts "
    "only under a notice that is here."
)
SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    "notice_version": pl.String,
    "purpose": pl.String,
    "recipient": pl.String,
    "valid_from_on": pl.Date,
    "valid_until_on": pl.Date,
    "languages": pl.String,
    "link": pl.String,
    "meaning": pl.String,
}
COLUMNS: Final[dict[str, str]] = {
    "notice_version": "Version, as consents name it",
    "purpose": "Purpose it covers",
    "recipient": "Firm that it says may use the data",
    "valid_from_on": "First day on which people were asked with it",
    "valid_until_on": "Last such day; empty = still in use. Grants given by then go on",
    "languages": "Languages it is written in, separated by |",
    "link": "Where people read it",
    "meaning": "What it is, in words",
}


def notice_rows(notices: Sequence[Notice]) -> pl.DataFrame:
    """The rows of ``staging.notices``, sorted."""
    rows = [
        (n.version, purpose, firm, n.valid_from, n.valid_until, "|".join(n.languages), n.link, n.meaning)
        for n in notices
        for purpose in n.purposes
        for firm in n.recipients
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("notice_version", "purpose", "recipient")
