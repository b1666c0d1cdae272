"""One contract file: YAML in, a `Contract` out, or a refusal that names file, term, what was found and what is wanted.

Here: the terms and their spelling. What must hold between them is in ``misfits``, what they mean in ``model``.
"""

import itertools
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from xmkt_assets.contracts.misfits import history_misfits, misfits
from xmkt_assets.contracts.model import DUCKDB_TYPES, Contract, ContractColumn, FormerColumn, FormerVersion

API_VERSION: Final = "v3.1.0"
_EXAMPLE: Final = "See course_views.yaml for a complete one."
_KEYS: Final = {
    "apiVersion",
    "kind",
    "id",
    "version",
    "status",
    "description",
    "partners",
    "team",
    "delivery",
    "eventTime",
    "versionBy",
    "optional",
    "slaProperties",
    "purposes",
    "noticeVersions",
    "sharingMode",
    "maxRefusedShare",
    "undeclaredColumns",
    "drift",
    "mixDrift",
    "history",
    "schema",
}
_COLUMN_KEYS: Final = {
    "name",
    "logicalType",
    "description",
    "primaryKey",
    "required",
    "classification",
    "classificationReason",
    "unit",
    "validValues",
    "minimum",
    "maximum",
    "pattern",
    "holdsFreeText",
}
_HISTORY_KEYS: Final = {"version", "until", "description", "lacked", "dropped", "columns"}
# YAML term of a former column → field of `ContractColumn` it changes.
_FORMER_TERMS: Final = {
    "logicalType": "logical_type",
    "unit": "unit",
    "required": "is_required",
    "minimum": "minimum",
    "maximum": "maximum",
    "pattern": "pattern",
    "validValues": "valid_values",
}
_FORMER_KEYS: Final = {*_FORMER_TERMS, "formerName", "factor", "fill"}
_SLA_KEYS: Final = {"property", "value", "unit", "description", "driver"}
_DAYS_IN: Final = {"d": 1, "day": 1, "days": 1, "y": 365, "yr": 365, "years": 365}


class ContractError(ValueError):
    """A contract file that cannot be used; the message names the file and the remedy."""


def read_contract(path: Path) -> Contract:
    """The contract in one YAML file. Raises `ContractError` on an unknown term, a missing one or a wrong one."""
    terms = _terms(path)
    try:
        contract = _contract(terms, path=path)
    except KeyError as missing:
        raise ContractError(f"{path.name} lacks the term {missing}. {_EXAMPLE}") from None
    except (TypeError, AttributeError) as error:
        raise ContractError(f"{path.name} has a term with a value of the wrong kind ({error}). {_EXAMPLE}") from None
    for complaint in itertools.chain(misfits(contract, file_stem=path.stem), history_misfits(contract)):
        raise ContractError(f"{path.name}: {complaint}")
    return contract


# --- terms -----------------------------------------------------------------------------------------------------------


def _terms(path: Path) -> dict[str, Any]:
    try:
        terms = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ContractError(f"{path.name} is no YAML: {error}. Mend that line.") from None
    if not isinstance(terms, dict):
        raise ContractError(f"{path.name} holds no terms. {_EXAMPLE}")
    _refuse_unknown(path, "uses", terms, _KEYS)
    if (found := terms.get("apiVersion", API_VERSION)) != API_VERSION:
        raise ContractError(f"{path.name}: apiVersion is {found!r}; wanted {API_VERSION}, which this platform reads.")
    return terms


def _contract(terms: dict[str, Any], *, path: Path) -> Contract:
    service = _service_levels(terms["slaProperties"], path=path)
    return Contract(
        feed=terms["id"],
        version=str(terms["version"]),
        description=terms["description"],
        partners=tuple(terms["partners"]),
        delivery=terms["delivery"],
        event_time=terms.get("eventTime"),
        version_by=terms.get("versionBy"),
        is_optional=bool(terms.get("optional", False)),
        columns=tuple(_column(c, path=path) for c in _listed(terms["schema"], "schema", path=path)),
        owner=str(terms["team"]["name"]),
        purposes=tuple(terms["purposes"]),
        retention_days=service["retention"][0],
        retention_reason=service["retention"][1],
        frequency_days=service["frequency"][0],
        late_days=service.get("latency", (0, ""))[0],
        notice_versions=tuple(str(v) for v in terms.get("noticeVersions", ())),
        sharing_mode=terms["sharingMode"],
        max_refused_share=_number(terms["maxRefusedShare"], "maxRefusedShare", path=path),
        undeclared_columns=terms.get("undeclaredColumns", "ignore"),
        drift=terms.get("drift", "block"),
        mix_drift=terms.get("mixDrift", "warn"),
        history=tuple(_former_version(e, path=path) for e in _listed(terms.get("history", []), "history", path=path)),
    )


def _column(terms: dict[str, Any], *, path: Path) -> ContractColumn:
    name, kind = terms.get("name"), terms.get("logicalType")
    _refuse_unknown(path, f"column {name!r} uses", terms, _COLUMN_KEYS)
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
        holds_free_text=terms.get("holdsFreeText", False),
        classification_reason=terms.get("classificationReason", ""),
    )


def _service_levels(listed: object, *, path: Path) -> dict[str, tuple[int, str]]:
    """ODCS ``slaProperties`` → days and reason of each property; retention and frequency must be among them.

    Latency, how many days after its event a row may come, is for events only and none where it is not said.
    """
    found = {}
    for entry in _listed(listed, "slaProperties", path=path):
        _refuse_unknown(path, f"slaProperties {entry.get('property')!r} uses", entry, _SLA_KEYS)
        name, value, unit = entry["property"], entry["value"], entry["unit"]
        if unit not in _DAYS_IN or not isinstance(value, int) or isinstance(value, bool) or value < 1:
            wanted = f"a whole number from 1 in one of the units {sorted(_DAYS_IN)}"
            raise ContractError(f"{path.name}: slaProperties {name!r} is {value!r} {unit!r}; wanted {wanted}.")
        found[name] = (value * _DAYS_IN[unit], str(entry.get("description", "")))
    if found.keys() - {"latency"} != {"retention", "frequency"}:
        raise ContractError(
            f"{path.name}: slaProperties has {sorted(found)}; wanted retention, frequency and for events latency, "
            f"once each. {_EXAMPLE}"
        )
    return found


def _former_version(terms: dict[str, Any], *, path: Path) -> FormerVersion:
    number = str(terms["version"])
    _refuse_unknown(path, f"history {number} uses", terms, _HISTORY_KEYS)
    until = terms.get("until")
    if until is not None and (not isinstance(until, date) or isinstance(until, datetime)):
        raise ContractError(f"{path.name}: history {number} has until {until!r}; wanted a day such as 2026-06-30.")
    lacked = terms.get("lacked", {})
    pairs = lacked.items() if isinstance(lacked, dict) else ((name, None) for name in lacked)
    return FormerVersion(
        version=number,
        description=terms["description"],
        until=until,
        lacked=tuple((name, None if fill is None else str(fill)) for name, fill in pairs),
        dropped=tuple(terms.get("dropped", ())),
        columns=tuple(
            _former_column(name, changed, where=f"{path.name}: history {number}", path=path)
            for name, changed in terms.get("columns", {}).items()
        ),
    )


def _former_column(name: str, terms: dict[str, Any], *, where: str, path: Path) -> FormerColumn:
    _refuse_unknown(path, f"{where.partition(': ')[2]}, column {name!r} uses", terms, _FORMER_KEYS)
    then: dict[str, object] = {_FORMER_TERMS[term]: terms[term] for term in _FORMER_TERMS.keys() & terms.keys()}
    values = terms.get("validValues", ())
    pairs = values.items() if isinstance(values, dict) else ((v, v) for v in values)
    mapped = tuple((str(old), str(new)) for old, new in pairs)
    if "validValues" in terms:
        then["valid_values"] = tuple(old for old, _ in mapped)
    factor = terms.get("factor")
    return FormerColumn(
        name=name,
        former_name=terms.get("formerName", name),
        terms=tuple(sorted(then.items())),
        factor=None if factor is None else _number(factor, f"factor of {name}", path=path),
        values=mapped,
        fill=None if terms.get("fill") is None else str(terms["fill"]),
    )


def _listed(found: object, term: str, *, path: Path) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ContractError(f"{path.name}: {term} is {str(found)[:60]!r}; wanted a list of entries. {_EXAMPLE}")
    return found


def _number(found: object, term: str, *, path: Path) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ContractError(f"{path.name}: {term} is {found!r}; wanted a number.")
    return found


def _refuse_unknown(path: Path, who: str, terms: Mapping[str, object], known: set[str]) -> None:
    if unknown := sorted(str(term) for term in terms.keys() - known):
        between = "" if who == "uses" else ":"
        raise ContractError(f"{path.name}{between} {who} the unknown terms {unknown}. Known: {sorted(known)}.")
