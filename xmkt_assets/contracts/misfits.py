"""Misfits: what must hold in a contract beyond the spelling of its terms, each said with the remedy. Pure."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, get_args

from xmkt_assets.contracts.model import (
    DUCKDB_TYPES,
    PARTNERS,
    PURPOSES,
    Classification,
    Contract,
    ContractColumn,
    Delivery,
    DriftRule,
    FormerColumn,
    FormerVersion,
    MixRule,
    SharingMode,
    Undeclared,
)
from xmkt_assets.contracts.versions import FACTOR_DIGITS, ContractVersion, change_kind, changes, moved_enough, versions

# Columns the platform adds to every row on its way in.
_RESERVED: Final = {"partner", "dt", "source_file", "source_row", "loaded_at"}
# Names that end in _ are those of the loader's own working columns.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?<!_)")
_NUMBER: Final = re.compile(r"\d+\.\d+\.\d+")


def misfits(contract: Contract, *, file_stem: str) -> Iterator[str]:
    """What is wrong with the contract, with the remedy."""
    if contract.feed != file_stem:
        yield f"id is {contract.feed}; the file must be named after the feed."
    if not _NUMBER.fullmatch(contract.version):
        yield f"version is {contract.version!r}; wanted three numbers such as 1.0.0."
    yield from _shape_misfits(contract)
    for column in contract.columns:
        yield from _column_misfits(column)
    yield from _term_misfits(contract)


def _shape_misfits(contract: Contract) -> Iterator[str]:
    names = contract.column_names
    times = {c.name for c in contract.columns if c.logical_type == "timestamp" and c.is_required}
    if contract.delivery not in get_args(Delivery):
        yield f"delivery is {contract.delivery!r}; wanted one of {list(get_args(Delivery))}."
    if unknown := [p for p in contract.partners if p not in PARTNERS]:
        yield f"names the unknown partners {unknown}. Known: {list(PARTNERS)}."
    if twice := sorted({n for n in names if names.count(n) > 1}):
        yield f"names the columns {twice} twice. Give every column its own name."
    if not contract.key:
        yield "names no primaryKey column. Mark the column that identifies one row."
    if strangers := [n for n in (contract.event_time, contract.version_by) if n and n not in times]:
        yield f"names {strangers} in eventTime or versionBy; wanted a required timestamp column of its schema."
    if (contract.delivery == "events") != (contract.event_time is not None):
        yield "delivery events needs an eventTime, delivery snapshot must not have one."
    if contract.late_days and contract.delivery != "events":
        yield "slaProperties has latency, which only delivery events has: a snapshot is of its day."
    if (contract.delivery == "snapshot") != (contract.version_by is not None):
        yield "delivery snapshot needs a versionBy (the newest version wins), delivery events must not have one."


def _term_misfits(contract: Contract) -> Iterator[str]:
    """What is wrong with the terms of use."""
    if not contract.owner.strip():
        yield "team has no name. Name who answers for the feed at the partner."
    if not contract.purposes or set(contract.purposes) - set(PURPOSES):
        yield f"purposes is {list(contract.purposes)}; wanted at least one of {list(PURPOSES)}."
    for term, found, known in (
        ("sharingMode", contract.sharing_mode, get_args(SharingMode)),
        ("undeclaredColumns", contract.undeclared_columns, get_args(Undeclared)),
        ("drift", contract.drift, get_args(DriftRule)),
        ("mixDrift", contract.mix_drift, get_args(MixRule)),
    ):
        if found not in known:
            yield f"{term} is {found!r}; wanted one of {list(known)}."
    if not 0 <= contract.max_refused_share < 1:
        yield f"maxRefusedShare is {contract.max_refused_share}; wanted a share from 0 to below 1."
    if not contract.retention_reason:
        yield "slaProperties retention has no description. Say why the rows are kept that long and no longer."
    if contract.is_personal and contract.sharing_mode == "open to both firms":
        yield "sharingMode is 'open to both firms', but columns are personal. Choose a narrower mode."
    if contract.is_personal and not contract.notice_versions:
        yield "noticeVersions is empty, but columns are personal. Name the versions of the notice that cover them."


def _column_misfits(column: ContractColumn) -> Iterator[str]:
    """What is wrong with one column, with the remedy."""
    name = f"column {column.name!r}"
    if not _NAME.fullmatch(column.name):
        yield f"{name} is no plain name; wanted lower-case letters, digits and _ between them."
    if column.name in _RESERVED:
        yield f"{name} is a name the platform uses itself. Give it another one."
    if column.is_key and not column.is_required:
        yield f"{name} is a primaryKey; write required: true, rows without a key cannot be told apart."
    if column.classification not in get_args(Classification):
        yield f"{name} has classification {column.classification!r}. Known: {list(get_args(Classification))}."
    if (column.classification == "sensitive") != bool(column.classification_reason):
        yield f"{name}: classification sensitive and a classificationReason (what it gives away) belong together."
    if (column.minimum, column.maximum) != (None, None) and column.logical_type not in ("integer", "number"):
        yield f"{name} has a minimum or maximum, which only integer and number have."
    if (column.valid_values or column.pattern) and column.logical_type != "string":
        yield f"{name} has validValues or a pattern, which only string has."
    if column.holds_free_text and (column.logical_type != "string" or column.classification == "internal"):
        yield f"{name} holds free text of people; wanted logicalType string and classification personal or sensitive."
    if column.pattern is not None and not _is_pattern(column.pattern):
        yield f"{name} has the pattern {column.pattern!r}, which is no regular expression."


def _is_pattern(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


# --- earlier versions ------------------------------------------------------------------------------------------------


def history_misfits(contract: Contract) -> Iterator[str]:
    """What is wrong with the earlier versions, newest first: each is read against the version after it."""
    for place, entry in enumerate(contract.history):
        if not _NUMBER.fullmatch(entry.version):
            yield f"history has the version {entry.version!r}; wanted three numbers such as 1.0.0."
        after = versions(replace(contract, history=contract.history[:place]))[-1]
        for complaint in _entry_misfits(entry, after.then):
            yield f"history {entry.version}: {complaint}"
        then = versions(replace(contract, history=contract.history[: place + 1]))[-1]
        for complaint in _version_misfits(then, after):
            yield f"history {entry.version}: {complaint}"


def _entry_misfits(entry: FormerVersion, after: Contract) -> Iterator[str]:
    """What is wrong with one entry as it is written; `after` is the version after it."""
    columns = {c.name: c for c in after.columns}
    said = [*(name for name, _ in entry.lacked), *(f.name for f in entry.columns)]
    if unknown := [name for name in said if name not in columns]:
        yield f"speaks of {unknown}; wanted columns of version {after.version}: {', '.join(columns)}."
        return
    if twice := sorted({name for name in said if said.count(name) > 1}):
        yield f"speaks of {twice} twice. Say of a column either that it was lacked or how it was."
    for former in entry.columns:
        yield from _former_misfits(former, columns[former.name])


def _former_misfits(former: FormerColumn, after: ContractColumn) -> Iterator[str]:
    name, terms = f"column {former.name!r}", dict(former.terms)
    if ("unit" in terms) != (former.factor is not None):
        yield f"{name}: a former unit and the factor that makes it {after.unit!r} belong together."
    if former.factor is not None and not _is_factor(former.factor):
        yield f"{name} has the factor {former.factor}; wanted a number above 0 of at most {FACTOR_DIGITS} digits."
    if former.factor is not None and after.logical_type not in ("integer", "number"):
        yield f"{name} has a factor, which only integer and number have."
    if terms.get("logical_type", after.logical_type) not in DUCKDB_TYPES:
        yield f"{name} has logicalType {terms['logical_type']!r}. Known: {sorted(DUCKDB_TYPES)}."
    if lost := [new for _, new in former.values if after.valid_values and new not in after.valid_values]:
        yield f"{name} makes values {lost}; wanted one of {list(after.valid_values)}. Write validValues: {{old: new}}."


def _version_misfits(then: ContractVersion, after: ContractVersion) -> Iterator[str]:
    """What is wrong with an earlier version as a whole."""
    yield from _shape_misfits(then.then)
    for column in then.then.columns:
        yield from _column_misfits(column)
    for column_then, column_now in zip(then.columns, after.columns, strict=True):
        today = column_now.column
        is_filled = any(step.fill is not None for step in column_then.steps)
        if column_now.column.is_required and not column_then.column.is_required and not is_filled:
            yield f"column {today.name!r} is required since; give the rows of then a value, in lacked or as fill."
    reads_alike = then.file_names == after.file_names
    if reads_alike and [c.steps for c in then.columns] != [c.steps for c in after.columns] and then.until is None:
        yield "its files cannot be told from later ones by their columns; say until which day they came (until)."
    kind = change_kind(then.then, after.then)
    if not moved_enough(then.version, after.version, kind):
        why = "; ".join(said for found, said in changes(then.then, after.then) if found == kind)
        yield f"version {after.version} follows it, but the change is {kind} ({why}). Move the {kind} number."


def _is_factor(factor: float) -> bool:
    digits = format(factor, ".12f").strip("0").replace(".", "")
    return factor > 0 and len(digits) <= FACTOR_DIGITS
