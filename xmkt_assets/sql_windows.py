"""Which days around its own a model reads: offsets of ``$start`` and ``$end`` found in the syntax tree. Pure.

Here: ``$start - interval 27 days`` becomes 27 days before, ``$end + interval 2 days`` 2 days after, and an offset that
has no fixed number of days is told so. Not here: what a day's window means for staleness (``sql_assets`` maps it).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sqlglot import exp

_DAYS_PER_UNIT: Final = {"DAY": 1, "DAYS": 1, "WEEK": 7, "WEEKS": 7}
_DAYS_PER_CALL: Final = {"to_days": 1, "to_weeks": 7}
# What moves a time by an amount that is not read here. Comparing with it would read days nobody knows of.
_SHIFTS: Final = (
    exp.DateAdd,
    exp.DateSub,
    exp.DateBin,
    exp.DateTrunc,
    exp.TimestampTrunc,
    exp.TimestampAdd,
    exp.TimestampSub,
    exp.LastDay,
)


class Window(NamedTuple):
    """Days read before and after the days that are made."""

    days_before: int = 0
    days_after: int = 0


class Unreadable(NamedTuple):
    """An offset of ``$start`` or ``$end`` that says no window, and why."""

    shifted: exp.Expr
    why: str

    @property
    def found(self) -> str:
        return self.shifted.sql(dialect="duckdb", comments=False)


def read_window(ast: exp.Expr) -> tuple[Window, tuple[Unreadable, ...]]:
    """The widest window around the day, and the offsets that could not be read."""
    before, after, unreadable = 0, 0, []
    for placeholder in ast.find_all(exp.Placeholder):
        if placeholder.name not in ("start", "end"):
            continue
        shifted, days = _offset(placeholder)
        if why := _refusal(placeholder.name, shifted, days):
            unreadable.append(Unreadable(shifted, why))
        elif days:
            before, after = max(before, -days), max(after, days)
    return Window(before, after), tuple(unreadable)


def _offset(placeholder: exp.Expr) -> tuple[exp.Expr, int | None]:
    """The whole shifted expression and the days it is moved by; None where that is no fixed number."""
    shifted, total = placeholder, 0
    for node, amount, sign in _shifts(placeholder):
        days = None if amount is None else _days(amount)
        if days is None:
            return node, None
        shifted, total = node, total + sign * days
    return shifted, total


def _shifts(node: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Expr | None, int]]:
    """Each shift on the way up: the shifted expression, by how much (None: unreadable), and in which direction."""
    while (parent := node.parent) is not None:
        is_left = parent.args.get("this") is node
        if isinstance(parent, exp.Sub) and is_left and not _is_point_in_time(parent.expression):
            yield parent, parent.expression, -1
        elif isinstance(parent, exp.Add):
            yield parent, parent.expression if is_left else parent.this, 1
        elif isinstance(parent, _SHIFTS):
            yield parent, None, 0
        elif not isinstance(parent, exp.Cast | exp.TryCast | exp.Paren):
            return
        node = parent


def _is_point_in_time(subtracted: exp.Expr) -> bool:
    """Whether a difference of two times is taken, so that nothing is moved: ``$end - max(viewed_at)``."""
    while isinstance(subtracted, exp.Cast | exp.TryCast | exp.Paren):
        if isinstance(subtracted, exp.Cast | exp.TryCast) and subtracted.to.this in exp.DataType.TEMPORAL_TYPES:
            return True
        subtracted = subtracted.this
    return isinstance(subtracted, exp.Placeholder | exp.Column | exp.AggFunc | exp.Coalesce)


def _days(amount: exp.Expr) -> int | None:
    """Days of an interval, of ``to_days(n)``, or of a bare number taken from a date."""
    while isinstance(amount, exp.Paren):
        amount = amount.this
    match amount:
        case exp.Cast() if amount.to.this == exp.DType.INTERVAL:
            return _days(exp.Interval(this=amount.this)) if amount.this.is_string else _days(amount.this)
        case exp.Interval():
            return _interval_days(amount)
        case exp.Mul():
            return _product(_whole(amount.this), _days(amount.expression))
        case exp.ToDays():
            return _whole(amount.this)
        case exp.Anonymous() if amount.name.lower() in _DAYS_PER_CALL and len(amount.expressions) == 1:
            return _product(_whole(amount.expressions[0]), _DAYS_PER_CALL[amount.name.lower()])
        case _:
            return None if amount.is_string else _whole(amount)


def _product(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one * other


def _interval_days(interval: exp.Interval) -> int | None:
    unit = interval.unit.name.upper() if interval.unit else ""
    number = interval.this
    if not unit and number is not None and number.is_string:  # interval '2 weeks' in the spellings kept as one text
        text, _, unit = number.name.strip().partition(" ")
        number = exp.Literal.string(text)
        unit = unit.strip().upper()
    days = _whole(number)
    return None if days is None or unit not in _DAYS_PER_UNIT else days * _DAYS_PER_UNIT[unit]


def _whole(number: exp.Expr | None) -> int | None:
    """A whole number written as such, in quotes or in brackets."""
    match number:
        case exp.Paren():
            return _whole(number.this)
        case exp.Neg():
            positive = _whole(number.this)
            return None if positive is None else -positive
        case exp.Literal():
            text = number.name.strip()
            return int(text) if text.removeprefix("-").isdecimal() else None
        case _:
            return None


def _refusal(name: str, shifted: exp.Expr, days: int | None) -> str:
    """Why an offset is no window; empty where it is one."""
    wanted = "$start - interval 27 days" if name == "start" else "$end + interval 2 days"
    if days is None:
        return f"has no fixed number of days. Write it in days or weeks, for example {wanted}"
    if (days > 0) if name == "start" else (days < 0):
        direction = "after the first" if name == "start" else "before the last"
        return (
            f"lies {direction} day of a range that is made in one query, so it is no window of each day. "
            f"Widen the window from its other end, for example {wanted}"
        )
    return ""
