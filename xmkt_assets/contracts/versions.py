"""Versions: which version of a contract a file was written to, and how its values become today's. Pure.

An old drop still loads: `version_for` names the version its columns fit, and each `VersionColumn` says under which
name a column of today stands in the file and, as SQL over DuckDB, what today's text for its text is. `change_kind`
says how far the version number must move. Reading files is ``raw.reading``'s work.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Final, Literal

from xmkt_assets.contracts.model import Contract, ContractColumn, FormerColumn, FormerVersion

ChangeKind = Literal["none", "patch", "minor", "major"]
_GRAVITY: Final[tuple[ChangeKind, ...]] = ("none", "patch", "minor", "major")
# 18 digits before the point and 10 after it: times a factor of 10 digits it still fits DuckDB's 38.
_EXACT: Final = "decimal(28, 10)"
FACTOR_DIGITS: Final = 10
# Put before a number that is too large to be converted exactly: unconverted, it would pass for one of today's unit.
_NO_NUMBER: Final = "?"


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a column's values from one version to the next. A value that is not in `values` stays."""

    factor: float | None = None
    is_rounded: bool = False
    values: tuple[tuple[str, str], ...] = ()
    fill: str | None = None

    def text(self, given: str) -> str:
        """SQL of the next version's text for the SQL `given` of this version's text (trimmed, null when empty)."""
        text = given
        if self.factor is not None:
            product = f"try_cast({text} as {_EXACT}) * {_plain(self.factor)}"
            exact = f"round({product}, 0)" if self.is_rounded else product
            odd = f"case when try_cast({text} as double) is null then {text} else '{_NO_NUMBER}' || {text} end"
            text = f"coalesce(cast({exact} as varchar), {odd})"
        if self.values:
            cases = " ".join(f"when {_literal(then)} then {_literal(now)}" for then, now in self.values)
            text = f"case {text} {cases} else {text} end"
        return f"coalesce({text}, {_literal(self.fill)})" if self.fill is not None else text


@dataclass(frozen=True, slots=True)
class VersionColumn:
    """One column of today as files of a version have it: `column` is today's, with the limits of then in its terms."""

    column: ContractColumn
    file_name: str | None  # None: files of this version have no such column
    steps: tuple[Step, ...] = ()  # oldest first

    def text(self, given: str) -> str:
        """SQL of today's text for the SQL `given` of the file's text; `given` itself where nothing changed."""
        for step in self.steps:
            given = step.text(given)
        return given


@dataclass(frozen=True, slots=True)
class ContractVersion:
    """One version of a contract: `then` as its files say it, `columns` as they are loaded today (one per column)."""

    then: Contract
    until: date | None
    columns: tuple[VersionColumn, ...]

    @property
    def version(self) -> str:
        return self.then.version

    @property
    def file_names(self) -> dict[str, str]:
        """Column of today → its name in files of this version, without the columns these lack."""
        return {c.column.name: c.file_name for c in self.columns if c.file_name is not None}


# --- which version ---------------------------------------------------------------------------------------------------


@cache
def versions(contract: Contract) -> tuple[ContractVersion, ...]:
    """Every version whose files still load, newest first; the first is the contract as it stands."""
    now = ContractVersion(contract, None, tuple(VersionColumn(c, c.name) for c in contract.columns))
    found = [now]
    for entry in contract.history:
        found.append(_version_before(found[-1], entry))
    return tuple(found)


def version_for(
    contract: Contract, header: Iterable[str], *, dt: date | None = None, promised: str | None = None
) -> ContractVersion:
    """The version that a file of day `dt` with the columns `header` was written to.

    `promised` is the version its manifest names, and is believed. Else: of the versions in force on `dt` whose
    required columns are all there, the one that knows most of the file's columns; among equals the one whose last day
    comes first, then the newest. Where none fits, the contract as it stands, against which the file is found wanting.

    Raises LookupError where `promised` is no version of the contract.
    """
    known = versions(contract)
    if promised is not None:
        for version in known:
            if version.version == promised:
                return version
        numbers = ", ".join(v.version for v in known)
        raise LookupError(f"names contract_version {promised!r}; {contract.feed} has {numbers}. Name one of these.")
    names = frozenset(header)
    fitting = [v for v in known if v.then.required_names <= names and in_force(v, dt)]
    ends = {v.version: date.max if dt is None or v.until is None else v.until for v in fitting}
    return min(fitting, key=lambda v: (-len(names & frozenset(v.then.column_names)), ends[v.version]), default=known[0])


def in_force(version: ContractVersion, dt: date | None) -> bool:
    """Whether files of day `dt` may be of this version."""
    return dt is None or version.until is None or dt <= version.until


def _version_before(after: ContractVersion, entry: FormerVersion) -> ContractVersion:
    former = {f.name: f for f in entry.columns}
    lacked = dict(entry.lacked)
    stayed = [c for c in after.then.columns if c.name not in lacked]
    dropped = [ContractColumn(name, "string", "Not loaded any more") for name in entry.dropped]
    columns = tuple([_column_then(c, former.get(c.name)) for c in stayed] + dropped)
    renamed = {f.name: f.former_name for f in entry.columns}
    then = replace(
        after.then,
        version=entry.version,
        columns=columns,
        event_time=renamed.get(after.then.event_time or "", after.then.event_time),
        version_by=renamed.get(after.then.version_by or "", after.then.version_by),
        history=(),
    )
    types = {c.name: c.logical_type for c in after.then.columns}
    by_name = {c.name: c for c in columns}
    return ContractVersion(
        then, entry.until, tuple(_one_step_back(c, former, lacked, types, by_name) for c in after.columns)
    )


def _one_step_back(
    after: VersionColumn,
    former: dict[str, FormerColumn],
    lacked: dict[str, str | None],
    types: dict[str, str],
    then: dict[str, ContractColumn],
) -> VersionColumn:
    name = after.file_name
    if name is None:
        return after
    if name in lacked:
        fill = lacked[name]
        steps = (Step(fill=fill), *after.steps) if fill is not None else ()
        return VersionColumn(_judged(after.column, None, steps), None, steps)
    if name not in former:
        return replace(after, column=_judged(after.column, then[name], after.steps))
    change = former[name]
    step = Step(
        factor=change.factor,
        is_rounded=change.factor is not None and change.factor < 1 and types[name] == "integer",
        values=tuple((old, new) for old, new in change.values if old != new),
        fill=change.fill,
    )
    steps = (step, *after.steps) if step != Step() else after.steps
    return VersionColumn(_judged(after.column, then[change.former_name], steps), change.former_name, steps)


def _judged(today: ContractColumn, then: ContractColumn | None, steps: tuple[Step, ...]) -> ContractColumn:
    """Today's column with the rules of then, in today's terms: old rows are judged by what was asked for then.

    A value that was filled in is there, so nothing is missing; the values allowed are those of then, as they are now.
    """
    is_filled = any(step.fill is not None for step in steps)
    if then is None:
        return replace(today, is_required=False)
    values = tuple(dict.fromkeys(_successor(v, steps) for v in then.valid_values))
    return replace(
        today,
        is_required=then.is_required and not is_filled,
        minimum=_in_todays_unit(then.minimum, steps),
        maximum=_in_todays_unit(then.maximum, steps),
        valid_values=values if today.valid_values and values else today.valid_values,
        pattern=then.pattern,
    )


def _successor(value: str, steps: Iterable[Step]) -> str:
    for step in steps:
        value = dict(step.values).get(value, value)
    return value


def _in_todays_unit(limit: float | None, steps: Iterable[Step]) -> float | None:
    if limit is None:
        return None
    factors = [Decimal(str(step.factor)) for step in steps if step.factor is not None]
    return _number(math.prod(factors, start=Decimal(str(limit)))) if factors else limit


def _number(value: Decimal) -> float:
    """Whole where it is whole, so that messages say 86400 and not 86400.0."""
    return int(value) if value == value.to_integral_value() else float(value)


def _column_then(column: ContractColumn, former: FormerColumn | None) -> ContractColumn:
    """The column as it stood. Limits that are not given were the same ones in the unit of then."""
    if former is None:
        return column
    terms = dict(former.terms)
    if former.factor is not None:
        for limit in ("minimum", "maximum"):
            value = getattr(column, limit)
            if value is not None and limit not in terms:
                terms[limit] = _number(Decimal(str(value)) / Decimal(str(former.factor)))
    return replace(column, name=former.former_name, **terms)  # type: ignore[arg-type]


# --- how far the number must move ------------------------------------------------------------------------------------


def change_kind(old: Contract, new: Contract) -> ChangeKind:
    """What the change from `old` to `new` asks of the version number.

    Major: files of the old version no longer do, or mean something else, or may be used for more. Minor: old files
    still do. Patch: only words changed.
    """
    return max((kind for kind, _ in changes(old, new)), key=_GRAVITY.index, default="none")


def moved_enough(old: str, new: str, kind: ChangeKind) -> bool:
    """Whether the number `new` follows `old` as a change of `kind` demands."""
    before, after = _numbers(old), _numbers(new)
    if after <= before:
        return kind == "none" and after == before
    part = next(i for i in range(3) if after[i] != before[i])
    return _GRAVITY.index(_GRAVITY[3 - part]) >= _GRAVITY.index(kind)


def changes(old: Contract, new: Contract) -> Iterator[tuple[ChangeKind, str]]:
    """Each difference with its gravity, in words."""
    before, after = ({c.name: c for c in contract.columns} for contract in (old, new))
    for name in (n for n in before if n not in after):
        yield "major", f"{name} is gone or has another name"
    for name in (n for n in after if n not in before):
        is_required = after[name].is_required
        yield "major" if is_required else "minor", f"{name} is a new {'required' if is_required else 'optional'} column"
    for name in (n for n in before if n in after):
        yield from ((kind, f"{name}: {said}") for kind, said in _column_changes(before[name], after[name]))
    for term in ("delivery", "event_time", "version_by"):
        if getattr(old, term) != getattr(new, term):
            yield "major", f"{term} is another one"
    for term in ("partners", "purposes", "notice_versions"):
        was, now = set(getattr(old, term)), set(getattr(new, term))
        gone, come = was - now, now - was
        if gone or (come and term == "purposes"):
            yield "major", f"{term} changed: {sorted(gone | come)}"
        elif come:
            yield "minor", f"{term} gained {sorted(come)}"
    if old.sharing_mode != new.sharing_mode:
        yield "major", "sharing_mode is another one"
    if old.undeclared_columns != new.undeclared_columns:
        yield "major" if new.undeclared_columns == "refuse" else "minor", "undeclared_columns is another one"
    if replace(old, version="", columns=(), history=()) != replace(new, version="", columns=(), history=()):
        yield "patch", "the terms read otherwise"


def _column_changes(old: ContractColumn, new: ContractColumn) -> Iterator[tuple[ChangeKind, str]]:
    for term in ("logical_type", "unit", "is_key", "classification"):
        if getattr(old, term) != getattr(new, term):
            yield "major", f"{term} was {getattr(old, term)}, is {getattr(new, term)}"
    if old.is_required != new.is_required:
        yield "major" if new.is_required else "minor", "now required" if new.is_required else "no longer required"
    if old.pattern != new.pattern:
        yield "minor" if new.pattern is None else "major", "the pattern is another one"
    if old.valid_values != new.valid_values:
        gone = bool(set(old.valid_values) - set(new.valid_values)) and bool(new.valid_values)
        narrowed = gone or (bool(new.valid_values) and not old.valid_values)
        yield "major" if narrowed else "minor", "the allowed values are others"
    for limit, is_tighter in (("minimum", float.__gt__), ("maximum", float.__lt__)):
        was, now = getattr(old, limit), getattr(new, limit)
        if was != now:
            narrowed = now is not None and (was is None or is_tighter(float(now), float(was)))
            yield "major" if narrowed else "minor", f"{limit} was {was}, is {now}"
    if old != new:
        yield "patch", "reads otherwise"


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = (int(part) for part in version.split("."))
    return major, minor, patch


def _plain(factor: float) -> str:
    return format(Decimal(str(factor)), "f")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
