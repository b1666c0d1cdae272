"""Values: SQL that turns the text of one column into its typed value, or into the reason why it has none. Pure text.

Every expression reads the column ``<name>_text_`` (trimmed, null when empty) and the columns ``<name>`` beside it.
Reading files is ``reading``'s work; cleaning typed values is ``dbt_like_sql/staging``'s.
"""

from typing import Final

from xmkt_assets.contracts import IN_WORDS, Contract, ContractColumn
from xmkt_assets.warehouse import literal

HIDDEN: Final = "(not shown)"
# DuckDB also reads 'infinity', and '26-07-01' as the year 26: no partner means either.
_FIRST_YEAR: Final = 1000


def text_of(column: ContractColumn) -> str:
    """Name of the column that holds the text a value is made from."""
    return f"{column.name}_text_"


def typed_value(column: ContractColumn) -> str:
    """SQL of the typed value; null where the text is no such value."""
    text, kind = text_of(column), column.logical_type
    if kind == "string":
        return text
    if kind == "integer":  # a plain cast would round 3.7 to 4 without a word
        return f"case when try_cast({text} as double) = try_cast({text} as bigint) then try_cast({text} as bigint) end"
    if kind == "number":
        return f"case when isfinite(try_cast({text} as double)) then try_cast({text} as double) end"
    if kind == "timestamp":
        moment = f"try_cast({text} as timestamptz) at time zone 'UTC'"
        return f"case when {_is_of_our_age(moment)} then {moment} end"
    if kind == "date":  # a plain cast would drop the hours of a time without a word
        day = f"try_cast({text} as date)"
        return f"case when try_cast({text} as timestamp) = {day} and {_is_of_our_age(day)} then {day} end"
    return f"try_cast({text} as {column.duckdb_type})"


def reasons(column: ContractColumn, contract: Contract, *, is_present: bool) -> list[str]:
    """SQL expressions, null when all is well, else what was found and what was wanted."""
    found = [_unlike_type(column), *_out_of_range(column), *_unlike_pattern(column)]
    if column.is_required and is_present:
        wanted = f"'{column.name}: empty, wanted {IN_WORDS[column.logical_type]}'"
        found.insert(0, f"case when {text_of(column)} is null then {wanted} end")
    if column.name == contract.event_time:
        found.append(_of_another_day(column.name))
    return [sql for sql in found if sql]


def shown_text(column: ContractColumn) -> str:
    """SQL of the text as quarantine may keep it: what should be a hash and is none may be a phone number."""
    if column.pattern is None:
        return text_of(column)
    is_safe = f"{text_of(column)} is null or regexp_full_match({text_of(column)}, {literal(column.pattern)})"
    return f"case when {is_safe} then {text_of(column)} else '{HIDDEN}' end"


def _is_of_our_age(moment: str) -> str:
    return f"isfinite({moment}) and year({moment}) >= {_FIRST_YEAR}"


def _unlike_type(column: ContractColumn) -> str:
    if column.logical_type == "string":
        return ""
    is_wrong = f"{text_of(column)} is not null and {column.name} is null"
    return f"case when {is_wrong} then {_found(column)}{IN_WORDS[column.logical_type]}' end"


def _out_of_range(column: ContractColumn) -> list[str]:
    complaints = []
    if column.minimum is not None:
        complaints.append(
            f"case when {column.name} < {column.minimum} then {_found(column)}at least {column.minimum}' end"
        )
    if column.maximum is not None:
        complaints.append(
            f"case when {column.name} > {column.maximum} then {_found(column)}at most {column.maximum}' end"
        )
    if column.valid_values:
        known = ", ".join(literal(value) for value in column.valid_values)
        wanted = ", ".join(column.valid_values).replace("'", "''")
        complaints.append(f"case when {column.name} not in ({known}) then {_found(column)}one of {wanted}' end")
    return complaints


def _unlike_pattern(column: ContractColumn) -> list[str]:
    if column.pattern is None:
        return []
    said = literal(f"{column.name}: found a text of another form (value not shown), wanted {column.pattern}")
    return [f"case when not regexp_full_match({column.name}, {literal(column.pattern)}) then {said} end"]


def _of_another_day(name: str) -> str:
    day = f"cast({name} as date)"
    said = f"'{name}: found ' || {day} || ' (UTC), wanted ' || dt || '; deliver the row in folder dt=' || {day}"
    return f"case when {day} <> dt then {said} end"


def _found(column: ContractColumn) -> str:
    return f"'{column.name}: found ''' || left({text_of(column)}, 60) || ''', wanted "
