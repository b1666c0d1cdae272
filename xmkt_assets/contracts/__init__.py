"""Contracts: what each partner feed must look like. One YAML file per feed, in the terms of the Open Data
Contract Standard where they fit; this module only reads them.

To add a feed, add ``<feed>.yaml`` here: its raw asset, checks, quarantine and ledger follow. What is done with
the rows is not said here (``raw/`` loads them, ``dbt_like_sql/staging/`` cleans them).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml

FOLDER: Final = Path(__file__).parent
PARTNERS: Final = ("course_platform", "insurer")
DUCKDB_TYPES: Final = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
IN_WORDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2026-07-01",
    "timestamp": "a UTC time such as 2026-07-01T08:30:00Z",
}
Classification = Literal["internal", "personal", "sensitive"]
Delivery = Literal["events", "snapshot"]
_KEYS: Final = {
    "apiVersion",
    "kind",
    "id",
    "version",
    "status",
    "description",
    "partners",
    "delivery",
    "eventTime",
    "versionBy",
    "optional",
    "schema",
}
_COLUMN_KEYS: Final = {
    "name",
    "logicalType",
    "description",
    "primaryKey",
    "required",
    "classification",
    "unit",
    "validValues",
    "minimum",
    "maximum",
    "pattern",
}
# Columns the platform adds to every row on its way in.
_RESERVED: Final = {"partner", "dt", "source_file", "source_row", "loaded_at"}
# Names that end in _ are those of the loader's own working columns.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?<!_)")


class ContractError(ValueError):
    """A contract file that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """One column of a feed, as the partner promises it."""

    name: str
    logical_type: str
    description: str
    is_key: bool = False
    is_required: bool = False
    classification: Classification = "internal"
    unit: str | None = None
    valid_values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None

    @property
    def duckdb_type(self) -> str:
        return DUCKDB_TYPES[self.logical_type]

    @property
    def meaning(self) -> str:
        """Description with unit and allowed values, for people."""
        unit = f" Unit: {self.unit}." if self.unit else ""
        values = f" One of: {', '.join(self.valid_values)}." if self.valid_values else ""
        return f"{self.description}.{unit}{values}"


@dataclass(frozen=True, slots=True)
class Contract:
    """One feed: who delivers it, how, and its columns."""

    feed: str
    version: str
    description: str
    partners: tuple[str, ...]
    delivery: Delivery
    event_time: str | None
    version_by: str | None
    is_optional: bool
    columns: tuple[ContractColumn, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.is_key)

    @property
    def is_personal(self) -> bool:
        return any(c.classification != "internal" for c in self.columns)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)


def read_contract(path: Path) -> Contract:
    """The contract in one YAML file. Raises `ContractError` on an unknown term or a missing one."""
    terms = _terms(path)
    try:
        contract = Contract(
            feed=terms["id"],
            version=str(terms["version"]),
            description=terms["description"],
            partners=tuple(terms["partners"]),
            delivery=terms["delivery"],
            event_time=terms.get("eventTime"),
            version_by=terms.get("versionBy"),
            is_optional=bool(terms.get("optional", False)),
            columns=tuple(_column(c, path=path) for c in terms["schema"]),
        )
    except KeyError as missing:
        raise ContractError(
            f"{path.name} lacks the term {missing}. See course_views.yaml for a complete one."
        ) from None
    for complaint in (
        *_misfits(contract, path=path),
        *(c for column in contract.columns for c in _column_misfits(column)),
    ):
        raise ContractError(f"{path.name}: {complaint}")
    return contract


@cache
def contracts() -> dict[str, Contract]:
    """Every contract by feed name, sorted."""
    return {c.feed: c for c in (read_contract(p) for p in sorted(FOLDER.glob("*.yaml")))}


def _terms(path: Path) -> dict[str, Any]:
    try:
        terms = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ContractError(f"{path.name} is no YAML: {error}. Mend that line.") from None
    if not isinstance(terms, dict):
        raise ContractError(f"{path.name} holds no terms. See course_views.yaml for a complete one.")
    if unknown := sorted(terms.keys() - _KEYS):
        raise ContractError(f"{path.name} uses the unknown terms {unknown}. Known: {sorted(_KEYS)}.")
    return terms


def _column(terms: dict[str, Any], *, path: Path) -> ContractColumn:
    name, kind = terms.get("name"), terms.get("logicalType")
    if unknown := sorted(terms.keys() - _COLUMN_KEYS):
        known = sorted(_COLUMN_KEYS)
        raise ContractError(f"{path.name}: column {name!r} uses the unknown terms {unknown}. Known: {known}.")
    if kind not in DUCKDB_TYPES:
        raise ContractError(f"{path.name}: column {name!r} has logicalType {kind!r}. Known: {sorted(DUCKDB_TYPES)}.")
    return ContractColumn(
        name=terms["name"],
        logical_type=terms["logicalType"],
        description=terms["description"],
        is_key=terms.get("primaryKey", False),
        is_required=terms.get("required", False),
        classification=terms.get("classification", "internal"),
        unit=terms.get("unit"),
        valid_values=tuple(str(v) for v in terms.get("validValues", ())),
        minimum=terms.get("minimum"),
        maximum=terms.get("maximum"),
        pattern=terms.get("pattern"),
    )


def _misfits(contract: Contract, *, path: Path) -> Iterator[str]:
    """What is wrong with the contract as a whole, with the remedy."""
    names = contract.column_names
    times = {c.name for c in contract.columns if c.logical_type == "timestamp" and c.is_required}
    if contract.feed != path.stem:
        yield f"id is {contract.feed}; the file must be named after the feed."
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
    if (contract.delivery == "snapshot") != (contract.version_by is not None):
        yield "delivery snapshot needs a versionBy (the newest version wins), delivery events must not have one."


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
    if (column.minimum, column.maximum) != (None, None) and column.logical_type not in ("integer", "number"):
        yield f"{name} has a minimum or maximum, which only integer and number have."
    if (column.valid_values or column.pattern) and column.logical_type != "string":
        yield f"{name} has validValues or a pattern, which only string has."
    if column.pattern is not None and not _is_pattern(column.pattern):
        yield f"{name} has the pattern {column.pattern!r}, which is no regular expression."


def _is_pattern(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
