"""What of a table's rows a person may be shown: in a sample, in a message about rows that break a promise. Pure.

Dagster keeps what it shows for years and in plain files, and everybody who opens its pages reads it. So a sample
holds no id that leads to a person, nothing a contract grades personal or sensitive, and no free text; tables made of
sensitive data have none at all. A message must let somebody find the row: it keeps ids, which are pseudonyms, and
masks every other personal value.
"""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final

from xmkt_assets.contracts import contracts
from xmkt_assets.purposes import SENSITIVE_TABLES

if TYPE_CHECKING:
    import polars as pl

MASK: Final = "***"
# Ids of people and of their accounts, and hashes that join them.
PERSON_IDS: Final = frozenset(
    {"person_id", "own_person_id", "user_id", "customer_id", "subject_id", "other_subject_id"}
)
# Ids of what is offered or said to many people; any other id in a personal table leads to one person's act.
SHARED_IDS: Final = frozenset({"course_id", "product_id", "item_id", "campaign_id", "run_id"})
# Computed from what contracts grade personal, or written by a person; the platform names them itself.
_DERIVED: Final = frozenset({"age_years", "age_band", "age_clean_years", "stated_interests", "raw_text", "fixed_text"})
# Rows as partners and operators typed them, and keys of who was erased: nothing of them is shown.
_WORDS_OF_PEOPLE: Final = frozenset({"raw.quarantine", "raw.quarantine_fixes", "raw.erased_subjects"})
_HASH: Final = ("_hash", "hash")


def sample_columns(table: str, columns: Iterable[str]) -> tuple[str, ...]:
    """Columns of `table` that a sample may show; none where the table is made of sensitive data."""
    names = tuple(columns)
    if table in SENSITIVE_TABLES or table in _WORDS_OF_PEOPLE:
        return ()
    left = [n for n in names if n not in PERSON_IDS and not _is_value(table, n)]
    if PERSON_IDS & set(names):
        left = [n for n in left if n in SHARED_IDS or not n.endswith("_id")]
    return tuple(left)


def masked_rows(table: str, rows: "pl.DataFrame", *, limit: int = 5) -> list[dict[str, object]]:
    """The first of `rows`, fit for JSON: ids stay, other personal values (in a sensitive table: all) are masked."""
    hidden = {n for n in rows.columns if _is_value(table, n) or (table in SENSITIVE_TABLES and not _names_a_row(n))}
    return [
        {name: _shown(value, is_hidden=name in hidden) for name, value in row.items()}
        for row in rows.head(limit).to_dicts()
    ]


def _shown(value: object, *, is_hidden: bool) -> object:
    if value is None:
        return None
    return MASK if is_hidden else value if isinstance(value, int | float | str) else str(value)


def _is_value(table: str, column: str) -> bool:
    """Whether the column holds something about a person, or their own words, rather than an id."""
    if column in PERSON_IDS:
        return False
    base = column.removesuffix("_clean").removesuffix("_scaled")
    return base in _graded() or base in _graded_by_feed(table) or base in _DERIVED or column.endswith(_HASH)


def _names_a_row(column: str) -> bool:
    return column.endswith(("_id", "_on")) or column == "times"


@cache
def _graded() -> frozenset[str]:
    """Columns that the contract of a feed about people grades personal, or sensitive by a name of its own."""
    graded = {
        c.name
        for contract in contracts().values()
        for c in contract.columns
        if c.holds_free_text or c.classification == "personal" or c.name in _SENSITIVE_BY_NAME
    }
    return frozenset(graded - PERSON_IDS)


@cache
def _graded_by_feed(table: str) -> frozenset[str]:
    """What the contract of the feed of that name grades: in claims the status is sensitive, in orders it is not."""
    contract = contracts().get(table.partition(".")[2])
    return frozenset(c.name for c in contract.columns if c.classification != "internal") if contract else frozenset()


# Amounts and states of claims share their names with harmless columns of orders; these do not.
_SENSITIVE_BY_NAME: Final = frozenset({"annual_income_fen", "claimed_fen"})
