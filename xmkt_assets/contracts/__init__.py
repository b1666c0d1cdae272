"""Contracts: what each partner feed must look like. One YAML file per feed, in the terms of the Open Data
Contract Standard where they fit; this module only reads them.

To add a feed, add ``<feed>.yaml`` here: its raw asset, checks, quarantine and ledger follow. What is done with
the rows is not said here (``raw/`` loads them, ``dbt_like_sql/staging/`` cleans them).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

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
    classification: Literal["internal", "personal", "sensitive"] = "internal"
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
    delivery: Literal["events", "snapshot"]
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
    terms = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
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
    _refuse_unfit(contract, path=path)
    return contract


@cache
def contracts() -> dict[str, Contract]:
    """Every contract by feed name, sorted."""
    return {c.feed: c for c in (read_contract(p) for p in sorted(FOLDER.glob("*.yaml")))}


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


def _refuse_unfit(contract: Contract, *, path: Path) -> None:
    names = contract.column_names
    named = [n for n in (contract.event_time, contract.version_by) if n]
    if contract.feed != path.stem:
        raise ContractError(f"{path.name} says id: {contract.feed}. The file must be named after the feed.")
    if not contract.key:
        raise ContractError(f"{path.name} names no primaryKey column. Mark the column that identifies one row.")
    if strangers := [n for n in named if n not in names]:
        raise ContractError(f"{path.name} names {strangers} in eventTime or versionBy, which are no columns of it.")
    if (contract.delivery == "events") != (contract.event_time is not None):
        raise ContractError(f"{path.name}: delivery events needs an eventTime, delivery snapshot must not have one.")
    if unknown := [p for p in contract.partners if p not in PARTNERS]:
        raise ContractError(f"{path.name} names the unknown partners {unknown}. Known: {list(PARTNERS)}.")
