"""Values: SQL that turns the text of one column into its typed value, or into the reason why it has none. Pure text.

Every expression reads the column ``<name>_text_`` (trimmed, null when empty), after it ``<name>_quick_`` (what a plain
cast makes of it) and last the columns ``<name>``. Most values are written the one plain way, which is told by a cheap
comparison; the careful, slow expressions are for the rest, and words are made for refused rows only.

A time without a zone is UTC; one with an offset is converted. Reading files is ``reading``'s work; cleaning typed
values is ``dbt_like_sql/staging``'s.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from xmkt_assets.contracts import IN_WORDS, Contract, ContractColumn
from xmkt_assets.warehouse import literal

HIDDEN: Final = "(not shown)"
# DuckDB also reads 'infinity', and '26-07-01' as the year 26: no partner means either.
_FIRST_YEAR: Final = 1000
_MONEY_UNIT: Final = "fen"
# What people cannot see at either end of a text: blanks of ASCII and Unicode, zero-width characters, byte order mark.
_BLANKS: Final = " \t\n\r\v\f\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u3000\ufeff"
_CONTROL: Final = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\\x{80}-\\x{9f}]"
_WIDE: Final = "[０-９．，＋－：／]"
_GROUPED: Final = "[+-]?[0-9]{1,3}([,，_ ''][0-9]{3})+([.][0-9]+)?"
# Digits are also looked for in full width, as Chinese input methods write them.
_DIGIT: Final = "[0-9０-９]"
_GAP: Final = "[ \u00a0\u3000‐‑–—-]?"
_EDGES: Final = ("(^|[^0-9０-９])", "([^0-9０-９]|$)")
_PHONE: Final = f"[(（]?(?:(?:[+＋]|00)?86[)）]?{_GAP})?[1１][3-9３-９]{_DIGIT}(?:{_GAP}{_DIGIT}){{8}}"
_ID_NUMBER: Final = f"[1-9]{_DIGIT}{{5}}{_GAP}(?:18|19|20){_DIGIT}{{6}}{_GAP}{_DIGIT}{{3}}[0-9０-９XxＸ]"
_EMAIL: Final = "[A-Za-z0-9._%+-]+[@＠][A-Za-z0-9-]+(?:[.][A-Za-z0-9-]+)+"
# Cheap: what holds neither of these holds none of the three.
_MAY_BE_CONTACT: Final = f"[@＠]|{_DIGIT}(?:{_GAP}{_DIGIT}){{10}}"


class Fault(NamedTuple):
    """One thing that may be wrong with a row: the SQL that says whether, and the SQL of what is then said."""

    condition: str
    words: str


def text_of(column: ContractColumn) -> str:
    """Name of the column that holds the text a value is made from."""
    return f"{column.name}_text_"


def quick_of(column: ContractColumn) -> str:
    """Name of the column that holds what a plain cast makes of the text."""
    return f"{column.name}_quick_"


def trimmed(given: str, edges: Sequence[str] | None) -> str:
    """SQL of the text without blanks at its ends, null when nothing is left.

    `edges` are the blanks a text of this file can end with (None = any): trimming costs more than reading the file,
    so it is kept for the few texts that begin or end with one.
    """
    stripped = f"nullif(trim({given}, {literal(_BLANKS)}), '')"
    if edges is None:
        return stripped
    at_end = " or ".join(f"ends_with({given}, {_character(edge)})" for edge in edges)
    return f"case when {given} < '!' or {at_end} then {stripped} else {given} end"


def masked(text: str) -> str:
    """SQL of the text with phone numbers, e-mail addresses and Chinese ID numbers masked."""
    found = f"regexp_replace({text}, {literal(_EMAIL)}, '[e-mail]', 'g')"
    for pattern, mask in ((_ID_NUMBER, "[id number]"), (_PHONE, "[phone]")):
        whole = literal(f"{_EDGES[0]}{pattern}{_EDGES[1]}")
        for _ in range(2):  # two neighbours share the character between them, so one pass sees every second only
            found = f"regexp_replace({found}, {whole}, '\\1{mask}\\2', 'g')"
    return f"case when regexp_matches({text}, {literal(_MAY_BE_CONTACT)}) then {found} else {text} end"


def quick_value(column: ContractColumn) -> str:
    """SQL of what a plain cast makes of the text; empty where no cast is needed."""
    if column.logical_type == "string":
        return ""
    return f"try_cast({text_of(column)} as {column.duckdb_type})"


def typed_value(column: ContractColumn) -> str:
    """SQL of the typed value; null where the text is no such value."""
    text, quick, kind = text_of(column), quick_of(column), column.logical_type
    if kind == "string":
        return text
    if kind == "integer":  # a plain cast would round 3.7 to 4 without a word
        return f"case when cast({quick} as varchar) = {text} then {quick} when {_is_whole(column)} then {quick} end"
    if kind == "number":
        return f"case when isfinite({quick}) and not contains({text}, '_') then {quick} end"
    if kind == "timestamp":  # a plain cast would drop an offset without a word
        has_no_offset = f"(ends_with({text}, 'Z') or {text} like '____-__-_____:__:__')"
        moment = f"try_cast({text} as timestamptz) at time zone 'UTC'"
        return (
            f"case when {has_no_offset} and {_is_of_our_age(quick)} then {quick} "
            f"when {_is_of_our_age(moment)} then {moment} end"
        )
    if kind == "date":  # a plain cast would drop the hours of a time without a word
        return f"case when try_cast({text} as timestamp) = {quick} and {_is_of_our_age(quick)} then {quick} end"
    return quick


def faults(column: ContractColumn, contract: Contract, *, is_present: bool, day: str) -> list[Fault]:
    """What may be wrong with a value: what was found, what was wanted. `day` is SQL of the day of the file's folder."""
    found = [*_unlike_type(column), *_out_of_range(column), *_unlike_pattern(column)]
    if column.is_required and is_present:
        wanted = f"'{column.name}: empty, wanted {IN_WORDS[column.logical_type]}'"
        found.insert(0, Fault(f"{text_of(column)} is null", wanted))
    if _may_be_contact(column):
        found.append(_contact(column))
    if column.name == contract.event_time:
        found.append(_of_another_day(column.name, day, late_days=contract.late_days))
    return found


def _may_be_contact(column: ContractColumn) -> bool:
    """Ids are a firm's own words: a phone, an e-mail address or an ID number in their place must never be stored."""
    is_id = column.classification != "internal" and column.name.endswith("_id")
    return is_id and column.logical_type == "string" and column.pattern is None


def _contact(column: ContractColumn) -> Fault:
    """The first character is looked at first: hardly any id begins like a number or holds an @."""
    text = text_of(column)
    shape = literal(f"({_PHONE}|{_ID_NUMBER}|{_EMAIL})")
    begins = f"{text} < ':' or {text} >= '（' or contains({text}, '@')"
    said = f"'{column.name}: found what looks like a phone, e-mail address or ID number (value not shown), "
    return Fault(
        f"case when {begins} then regexp_full_match({text}, {shape}) else false end",
        said + "wanted the firm''s own id'",
    )


def unprintable(column: ContractColumn) -> Fault:
    """A text with characters that no text holds: they break terminals, spreadsheets and files made from it."""
    condition = f"regexp_matches({text_of(column)}, '{_CONTROL}')"
    return Fault(condition, f"'{column.name}: found control characters (such as NUL), wanted text without them'")


def shown_text(column: ContractColumn) -> str:
    """SQL of the text as quarantine may keep it: what should be a hash and is none may be a phone number.

    Free text of a good row is stored as it is, so a refused row's is too; any other value is stored only when it is
    of its type, so what looks like a contact is masked.
    """
    text = text_of(column)
    if column.pattern is not None:
        is_safe = f"{text} is null or regexp_full_match({text}, {literal(column.pattern)})"
        return f"case when {is_safe} then {text} else '{HIDDEN}' end"
    is_free = column.logical_type == "string" and not column.valid_values and not _may_be_contact(column)
    return text if is_free else masked(text)


def _character(edge: str) -> str:
    return literal(edge) if edge.isprintable() else f"chr({ord(edge)})"


def _is_whole(column: ContractColumn) -> str:
    """SQL: an unusual spelling, such as 007 or 3.0, of a whole number. An amount with a point is yuan, not fen."""
    text = text_of(column)
    if column.unit == _MONEY_UNIT:
        return f"regexp_full_match({text}, '[+-]?[0-9]+')"
    return f"not contains({text}, '_') and try_cast({text} as double) = {quick_of(column)}"


def _is_of_our_age(moment: str) -> str:
    return f"isfinite({moment}) and {moment} >= '{_FIRST_YEAR}-01-01'"


def _unlike_type(column: ContractColumn) -> list[Fault]:
    if column.logical_type == "string":
        return []
    is_wrong = f"({text_of(column)} is not null and {column.name} is null)"
    return [Fault(is_wrong, f"{_found(column)}{IN_WORDS[column.logical_type]}' || {_hint(column)}")]


def _hint(column: ContractColumn) -> str:
    """SQL of what to do about a value that only looks unlike its type; empty for any other."""
    text = text_of(column)
    cases = [f"when regexp_matches({text}, '{_WIDE}') then ' in half-width characters (0-9), without full-width ones'"]
    if column.logical_type in ("integer", "number"):
        cases.append(f"when regexp_full_match({text}, '{_GROUPED}') then ' without thousands separators'")
    if column.unit == _MONEY_UNIT:
        said = " of fen; a decimal point looks like yuan, times 100 gives fen"
        cases.append(f"when regexp_full_match({text}, '[+-]?[0-9]*[.][0-9]*') then '{said}'")
    return f"case {' '.join(cases)} else '' end"


def _out_of_range(column: ContractColumn) -> list[Fault]:
    complaints = []
    if column.minimum is not None:
        complaints.append(Fault(f"{column.name} < {column.minimum}", f"{_found(column)}at least {column.minimum}'"))
    if column.maximum is not None:
        complaints.append(Fault(f"{column.name} > {column.maximum}", f"{_found(column)}at most {column.maximum}'"))
    if column.valid_values:
        known = ", ".join(literal(value) for value in column.valid_values)
        wanted = ", ".join(column.valid_values).replace("'", "''")
        complaints.append(Fault(f"{column.name} not in ({known})", f"{_found(column)}one of {wanted}'"))
    return complaints


def _unlike_pattern(column: ContractColumn) -> list[Fault]:
    if column.pattern is None:
        return []
    said = literal(f"{column.name}: found a text of another form (value not shown), wanted {column.pattern}")
    return [Fault(f"not regexp_full_match({column.name}, {literal(column.pattern)})", said)]


def _of_another_day(name: str, folder_day: str, *, late_days: int) -> Fault:
    """A row may come some days after it happened, as the contract says, and never before."""
    day = f"cast({name} as date)"
    or_before = f" or up to {late_days} days before" if late_days else ""
    wanted = f"', wanted ' || {folder_day} || '{or_before}; deliver the row in folder dt=' || {day}"
    is_other = f"{day} > {folder_day} or {day} < {folder_day} - {late_days}" if late_days else f"{day} <> {folder_day}"
    return Fault(is_other, f"'{name}: found ' || {day} || ' (UTC)' || {wanted}")


def _found(column: ContractColumn) -> str:
    shown = f"left(regexp_replace({masked(text_of(column))}, '{_CONTROL}', '?', 'g'), 60)"
    return f"'{column.name}: found ''' || {shown} || ''', wanted "
