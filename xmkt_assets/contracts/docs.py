"""Contracts for people and for other tools: ``README.md`` of this folder, and documents of the standard. Pure text."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from xmkt_assets.contracts.model import SHARING_IN_WORDS, Contract, ContractColumn, FormerVersion

_FINGERPRINT: Final = re.compile(r"<!-- (\w+) (\d+\.\d+\.\d+) (\w{12}) -->")
# Fields of a former column that are told as they are; the others are told in words.
_TOLD: Final = ("logical_type", "unit", "is_required", "minimum", "maximum", "pattern")
_HEAD: Final = """# Contracts
What each partner feed must look like and what it may be used for. Written by `python -m xmkt_assets.contracts --docs`
from the YAML files beside it: change those, not this page.

A partner can try a file before sending it: `python -m xmkt_assets.contracts --check FEED FILE ...`
A contract as a document of the Open Data Contract Standard: `python -m xmkt_assets.contracts --json FEED`
"""


def page(every: Iterable[Contract]) -> str:
    """The whole ``README.md``."""
    listed = list(every)
    rows = [
        f"| [{c.feed}](#{c.feed}) | {c.version} | {', '.join(c.partners)} | {_grade(c)} | {_years(c)} | "
        f"{c.sharing_mode} |"
        for c in listed
    ]
    overview = ["| feed | version | delivered by | highest grade | kept | what the other firm sees |", _rule(6), *rows]
    return "\n".join([_HEAD, *overview, "", *(section(c) for c in listed)])


def section(contract: Contract) -> str:
    """One feed: who, how, terms of use, columns, versions."""
    parts = [
        f"## {contract.feed}",
        f"<!-- {contract.feed} {contract.version} {fingerprint(contract)} -->",
        contract.description,
        "",
        *terms_table(contract),
        "",
        *columns_table(contract),
        *_reasons(contract),
        *_versions(contract),
        "",
    ]
    return "\n".join(parts)


def _late(contract: Contract) -> str:
    return f", and rows up to {contract.late_days} days late" if contract.late_days else ""


def terms_table(contract: Contract) -> list[str]:
    """The terms of delivery and use as lines of Markdown."""
    how = (
        f"events: the rows of the day that the dt folder names, by `{contract.event_time}` (UTC){_late(contract)}"
        if contract.delivery == "events"
        else f"snapshot: new and changed rows; of a key the newest `{contract.version_by}` wins"
    )
    every = "every day" if contract.frequency_days == 1 else f"every {contract.frequency_days} days"
    undeclared = {"ignore": "named, not loaded", "refuse": "the file is refused"}[contract.undeclared_columns]
    drift = {
        "block": "a jump that looks like another unit blocks the day, other jumps are told",
        "warn": "jumps are told",
        "off": "not watched",
    }[contract.drift]
    rows = [
        ("delivered by", f"{' and '.join(contract.partners)}{', optional' if contract.is_optional else ''}, {every}"),
        ("how", how),
        ("owner", contract.owner),
        ("key", ", ".join(f"`{name}`" for name in contract.key)),
        ("person", f"`{contract.subject_column}`" if contract.subject_column else "none"),
        ("purposes", ", ".join(contract.purposes)),
        ("notice versions", ", ".join(contract.notice_versions) or "none needed"),
        ("kept", f"{_years(contract)}. {contract.retention_reason}"),
        ("shared", f"{contract.sharing_mode}. {SHARING_IN_WORDS[contract.sharing_mode]}"),
        ("refused rows", f"a day is blocked when more than {contract.max_refused_share:.0%} of its rows are refused"),
        ("undeclared columns", undeclared),
        ("drift of units", drift),
        ("drift of shares", {"warn": "jumps are told", "off": "not watched"}[contract.mix_drift]),
    ]
    return ["| term | |", _rule(2), *(f"| {name} | {said} |" for name, said in rows)]


def columns_table(contract: Contract) -> list[str]:
    """The columns as lines of Markdown."""
    rows = [
        f"| `{c.name}` | {c.logical_type} | {_role(c)} | {c.classification} | {_cell(c.description)} | {_allowed(c)} |"
        for c in contract.columns
    ]
    return ["| column | type | | grade | meaning | unit and allowed values |", _rule(6), *rows]


def fingerprint(contract: Contract) -> str:
    """Twelve characters that change when anything changes that the version number must follow."""
    columns = [[str(getattr(c, field)) for field in c.__slots__] for c in contract.columns]
    terms = [contract.delivery, contract.event_time, contract.version_by, contract.partners, contract.purposes]
    terms += [contract.sharing_mode, contract.undeclared_columns, contract.notice_versions, contract.description]
    return hashlib.sha256(json.dumps([terms, columns], default=list).encode()).hexdigest()[:12]


def unversioned_changes(every: Iterable[Contract], page_before: str) -> list[str]:
    """Feeds that changed since `page_before` was written while their version number stayed, with what to do."""
    known = {feed: (version, mark) for feed, version, mark in _FINGERPRINT.findall(page_before)}
    return [
        f"{c.feed} changed, but its version is still {c.version}. Move the number in {c.feed}.yaml and say in history "
        f"how {c.version} differed (patch for words, minor where old files still do, major where they do not)."
        for c in every
        if c.feed in known and known[c.feed][0] == c.version and known[c.feed][1] != fingerprint(c)
    ]


def standard_document(contract: Contract) -> dict[str, object]:
    """The contract as a document of the Open Data Contract Standard v3.1.0; our own terms are customProperties."""
    retention = {"property": "retention", "value": contract.retention_days, "unit": "d"}
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": contract.feed,
        "name": contract.feed,
        "version": contract.version,
        "status": "active",
        "description": {"purpose": contract.description},
        "team": {"name": contract.owner},
        "slaProperties": [
            {**retention, "description": contract.retention_reason},
            {"property": "frequency", "value": contract.frequency_days, "unit": "d"},
            *([{"property": "latency", "value": contract.late_days, "unit": "d"}] if contract.late_days else []),
        ],
        "schema": [
            {
                "name": contract.feed,
                "logicalType": "object",
                "physicalType": "file",
                "description": contract.description,
                "properties": [_property(c, place) for place, c in enumerate(_keys_first(contract), start=1)],
            }
        ],
        "customProperties": _custom(_own_terms(contract)),
    }


def _own_terms(contract: Contract) -> dict[str, object]:
    return {
        "partners": list(contract.partners),
        "delivery": contract.delivery,
        "eventTime": contract.event_time,
        "versionBy": contract.version_by,
        "optional": contract.is_optional,
        "purposes": list(contract.purposes),
        "noticeVersions": list(contract.notice_versions),
        "sharingMode": contract.sharing_mode,
        "maxRefusedShare": contract.max_refused_share,
        "undeclaredColumns": contract.undeclared_columns,
        "drift": contract.drift,
        "mixDrift": contract.mix_drift,
    }


def _property(column: ContractColumn, place: int) -> dict[str, object]:
    options = {"minimum": column.minimum, "maximum": column.maximum, "pattern": column.pattern}
    given = {name: value for name, value in options.items() if value is not None}
    own = {
        "unit": column.unit,
        "classificationReason": column.classification_reason or None,
        "holdsFreeText": column.holds_free_text or None,
    }
    found: dict[str, object] = {
        "name": column.name,
        "logicalType": column.logical_type,
        "physicalType": column.duckdb_type,
        "description": column.description,
        "primaryKey": column.is_key,
        "required": column.is_required,
        "classification": column.classification,
    }
    if column.is_key:
        found["primaryKeyPosition"] = place
    if given:
        found["logicalTypeOptions"] = given
    if column.valid_values:
        rule = {"metric": "invalidValues", "arguments": {"validValues": list(column.valid_values)}, "mustBe": 0}
        found["quality"] = [rule]
    if custom := _custom(own):
        found["customProperties"] = custom
    return found


def _keys_first(contract: Contract) -> list[ContractColumn]:
    return sorted(contract.columns, key=lambda c: not c.is_key)


def _custom(terms: Mapping[str, object]) -> list[dict[str, object]]:
    return [{"property": name, "value": value} for name, value in terms.items() if value is not None]


def _reasons(contract: Contract) -> list[str]:
    said = [f"- `{c.name}`: {c.classification_reason}" for c in contract.columns if c.classification_reason]
    return ["", "Sensitive, because:", *said] if said else []


def _versions(contract: Contract) -> list[str]:
    if not contract.history:
        return []
    lines = ["", f"Version {contract.version} is the present one. Older files still load:"]
    for entry in contract.history:
        until = f", files until {entry.until}" if entry.until else ""
        lines += [f"- **{entry.version}**{until}: {entry.description}", *_differences(entry)]
    return lines


def _differences(entry: FormerVersion) -> Iterator[str]:
    for name, fill in entry.lacked:
        yield f"  - `{name}` did not exist and is {'empty' if fill is None else fill}"
    for name in entry.dropped:
        yield f"  - `{name}` existed and is not loaded"
    for former in entry.columns:
        terms = [f"{term} {'none' if value is None else value}" for term, value in former.terms if term in _TOLD]
        terms += [f"times {former.factor}"] if former.factor is not None else []
        terms += [f"{old} is now {new}" if old != new else old for old, new in former.values]
        terms += [f"empty is now {former.fill}"] if former.fill is not None else []
        name = f" `{former.former_name}`" if former.former_name != former.name else ""
        yield f"  - `{former.name}` was{name}{':' if name and terms else ''} {'; '.join(terms)}".rstrip()


def _grade(contract: Contract) -> str:
    grades = ("internal", "personal", "sensitive")
    return max((c.classification for c in contract.columns), key=grades.index)


def _years(contract: Contract) -> str:
    years, rest = divmod(contract.retention_days, 365)
    return f"{contract.retention_days} days" if rest else f"{years} year{'s' if years > 1 else ''}"


def _role(column: ContractColumn) -> str:
    return "key" if column.is_key else "required" if column.is_required else ""


def _allowed(column: ContractColumn) -> str:
    unit = [column.unit] if column.unit else []
    limits = [f"at least {column.minimum}"] if column.minimum is not None else []
    limits += [f"at most {column.maximum}"] if column.maximum is not None else []
    pattern = [f"`{column.pattern}`"] if column.pattern else []
    free = ["free text of people"] if column.holds_free_text else []
    return _cell("; ".join([*unit, *limits, *column.valid_values, *pattern, *free]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rule(columns: int) -> str:
    return "|" + "---|" * columns
