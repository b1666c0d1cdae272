"""Drift: values of a day that all changed at once, as when a partner sends yuan for fen or drops a column's content.

Row by row such values are allowed, so only a comparison with the days before can tell. Pure: reads the staged rows and
the lake, writes nothing. Rows that break the contract are refused in ``values``; wrong headers in ``contracts.door``.

What is compared, per partner, day and column, wherever both sides have at least `MIN_VALUES` values (for medians the
new side `MIN_NEW_VALUES`):

* columns with a unit: the median of the values above 0 with the median of the days before. A ratio near a factor
  between units (fen and yuan: 100, seconds and milliseconds: 1000) is `unit`, another beyond 30 is `jump`.
* columns with allowed values, and any that may be empty: the shares of the values, or of empty and not, by the
  population stability index, PSI = sum (p - q) ln(p / q). Above 0.25, against at least a week, is `mix`. The threshold
  is a convention of credit scoring (Lewis 1994; Siddiqi, Credit Risk Scorecards, 2006), not a test: it fires by chance
  in small samples (Yurdakul and Naranjo 2020), hence the minimum counts.

The days before are the last 28 loaded ones, in the lake or among the days being loaded. Their median is the middle of
their daily medians, weighted by values. All is counted in a sample, 50,000 rows of each new day and about two million
rows of the lake, so that a day of ten million rows costs little. It takes each file's first row and every so many-th
after it: the same rows every time, and some of every file.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from xmkt_assets.contracts import Contract, ContractColumn
from xmkt_assets.warehouse import Session, literal

MIN_VALUES: Final = 200
# A median of so few already lies within a factor of 2 where values spread over a factor of 10, far from 30 or 100.
MIN_NEW_VALUES: Final = 50
DAYS_BEFORE: Final = 28
_REFUSED_ROWS: Final = 20
_REFUSED_SHARE: Final = 0.5
LOOKED_BACK_DAYS: Final = 120
PSI_LIMIT: Final = 0.25
# A week, so that the days before hold every day of the week.
DAYS_BEFORE_A_MIX: Final = 7
JUMP_LIMIT: Final = 30.0
# A ratio within half as much again of a factor is taken for it; medians of a day move by less.
_NEARNESS: Final = 1.5
_SAMPLED_PER_DAY: Final = 50_000
_SAMPLED_IN_LAKE: Final = 2_000_000
# What a value in the declared unit is multiplied by where another unit is delivered, by declared unit.
_MONEY: Final[Mapping[float, str]] = {0.01: "yuan", 0.000001: "ten thousand yuan", 100.0: "hundredths of a fen"}
_TIME: Final[Mapping[float, str]] = {
    1000.0: "milliseconds",
    1 / 60: "minutes",
    1 / 3600: "hours",
    1_000_000.0: "microseconds",
}
OTHER_UNITS: Final[Mapping[str, Mapping[float, str]]] = {
    "fen": _MONEY,
    "smallest unit of currency": {0.01: "whole currency", 100.0: "hundredths of the smallest unit"},
    "seconds": _TIME,
}
Kind = Literal["unit", "jump", "mix", "refused"]


@dataclass(frozen=True, slots=True)
class Drift:
    """One column of one partner's day that is not as the days before. `blocks`: the day must not be loaded so."""

    partner: str
    dt: date
    column: str
    kind: Kind
    blocks: bool
    message: str


class _Facts(NamedTuple):
    """One column of one partner's day: its values above 0 and their median, and how often it had which value."""

    n_positive: int
    median: float
    counts: Mapping[str, int]


_Books = Mapping[tuple[str, date], Mapping[str, _Facts]]


def find_drift(
    session: Session,
    contract: Contract,
    staged: str,
    days: Iterable[date],
    *,
    sizes: Mapping[tuple[str, date], int] | None = None,
) -> tuple[Drift, ...]:
    """What of the rows in the temporary table `staged` (partner, dt, the feed's columns) is not as the days before.

    `days` are the days that are being loaded; the lake's rows of these days are about to be replaced and do not count.
    `sizes` are the rows of each partner's day, where they are known; else they are counted.
    """
    replaced = sorted(set(days))
    columns = [c for c in contract.columns if _watches_median(c, contract) or _watches_mix(c, contract)]
    if not columns or not replaced:
        return ()
    new = _books_of_new(session, staged, columns, sizes or _sizes(session, staged))
    old = _books_of_lake(session, contract, columns, replaced) if new else {}
    by_name = {c.name: c for c in columns}
    found: list[Drift] = []
    for partner in sorted({p for p, _ in new}):
        known = {d: facts for (p, d), facts in old.items() if p == partner}
        for dt in sorted(d for p, d in new if p == partner):
            before = [known[d] for d in sorted(known) if d < dt][-DAYS_BEFORE:]
            facts = new[partner, dt]
            drifts = [
                Drift(
                    partner, dt, name, kind, kind == "unit" and contract.drift == "block", _said(contract, name, said)
                )
                for name, column in by_name.items()
                for kind, said in _compare(contract, column, facts[name], [b[name] for b in before])
            ]
            found.extend(drifts)
            odd = {d.column for d in drifts}
            # What drifted is no measure for the days after it.
            known[dt] = {name: _NOTHING if name in odd else of_column for name, of_column in facts.items()}
    return tuple(found)


def find_refused_columns(session: Session, contract: Contract) -> tuple[Drift, ...]:
    """Columns for which at least half of a file's rows were refused, as when a partner changes their type.

    Reads what a load has staged: ``new_quarantine`` and ``new_ledger``. Blocks nothing: a day of which too much was
    refused is held back anyway; this says that it is one change and not many mistakes.
    """
    found = session.connection.execute(
        "select q.partner, q.dt, q.column_name, q.source_file, l.rows_in, count(*) as refused, "
        "min(q.source_row), arg_min(q.reason, q.source_row) from new_quarantine as q inner join new_ledger as l "
        "on q.source_file = l.source_file where q.column_name is not null group by all "
        f"having count(*) >= {_REFUSED_ROWS} and count(*) >= {_REFUSED_SHARE} * l.rows_in order by all"
    ).fetchall()
    return tuple(
        Drift(
            partner,
            dt,
            column,
            "refused",
            False,
            f"{contract.feed}.{column}: {refused:,} of {rows:,} rows of {file} were refused for it, the first in row "
            f"{row} ({reason}). The column changed as a whole: ask the partner, and have the file corrected or agree "
            f"on a new version of the contract.",
        )
        for partner, dt, column, file, rows, refused, row, reason in found
    )


def table_of(drifts: Sequence[Drift]) -> list[dict[str, object]]:
    """The findings as rows, for people."""
    return [
        {"partner": d.partner, "dt": d.dt, "column": d.column, "kind": d.kind, "blocks": d.blocks, "message": d.message}
        for d in drifts
    ]


def stability_index(now: Mapping[str, int], before: Mapping[str, int]) -> float:
    """PSI of two sets of counts. Half a count is added to each, so that a value seen on one side only has a share."""
    names = now.keys() | before.keys()
    totals = [sum(side.values()) + len(names) / 2 for side in (now, before)]
    index = 0.0
    for name in names:
        p, q = ((side.get(name, 0) + 0.5) / total for side, total in zip((now, before), totals, strict=True))
        index += (p - q) * math.log(p / q)
    return index


_NOTHING: Final = _Facts(0, 0.0, {})


def _watches_median(column: ContractColumn, contract: Contract) -> bool:
    return contract.drift != "off" and _has_median(column)


def _watches_mix(column: ContractColumn, contract: Contract) -> bool:
    has_mix = not column.is_key and (bool(column.valid_values) or not column.is_required)
    return contract.mix_drift != "off" and has_mix


def _has_median(column: ContractColumn) -> bool:
    return bool(column.unit) and column.logical_type in ("integer", "number")


# --- comparing -------------------------------------------------------------------------------------------------------


def _compare(
    contract: Contract, column: ContractColumn, now: _Facts, before: Sequence[_Facts]
) -> Iterator[tuple[Kind, str]]:
    if _watches_median(column, contract):
        yield from _compare_medians(column, now, before)
    if _watches_mix(column, contract):
        yield from _compare_mixes(now, [facts for facts in before if facts.counts])


def _compare_medians(column: ContractColumn, now: _Facts, before: Sequence[_Facts]) -> Iterator[tuple[Kind, str]]:
    usual = [(f.median, f.n_positive) for f in before if f.n_positive]
    if now.n_positive < MIN_NEW_VALUES or sum(n for _, n in usual) < MIN_VALUES:
        return
    median = _weighted_median(usual)
    ratio = now.median / median
    facts = f"median {_shown(now.median)} today against {_shown(median)} over the {len(usual)} days before "
    facts += f"(ratio {ratio:.3g})"
    for factor, other in OTHER_UNITS.get(column.unit or "", {}).items():
        if 1 / _NEARNESS < ratio / factor < _NEARNESS:
            mend = f"multiply by {1 / factor:,.0f}" if factor < 1 else f"divide by {factor:,.0f}"
            yield (
                "unit",
                f"{facts}: looks like {other} delivered as {column.unit}. Ask the partner; {mend} in a corrected file.",
            )
            return
    if not 1 / JUMP_LIMIT <= ratio <= JUMP_LIMIT:
        yield (
            "jump",
            f"{facts}, wanted a ratio between 1/30 and 30. Ask the partner whether the unit {column.unit} holds.",
        )


def _compare_mixes(now: _Facts, before: Sequence[_Facts]) -> Iterator[tuple[Kind, str]]:
    usual: dict[str, int] = {}
    for facts in before:
        for name, count in facts.counts.items():
            usual[name] = usual.get(name, 0) + count
    n_now, n_before = sum(now.counts.values()), sum(usual.values())
    if n_now < MIN_VALUES or n_before < MIN_VALUES or len(before) < DAYS_BEFORE_A_MIX:
        return
    index = stability_index(now.counts, usual)
    if index > PSI_LIMIT:
        shares = {
            name: (now.counts.get(name, 0) / n_now, usual.get(name, 0) / n_before) for name in {**usual, **now.counts}
        }
        name, (p, q) = max(shares.items(), key=lambda item: (abs(item[1][0] - item[1][1]), item[1]))
        yield (
            "mix",
            f"{name} has a share of {p:.1%} today against {q:.1%} over the {len(before)} days before "
            f"(stability index {index:.2f}, wanted at most {PSI_LIMIT}). Ask the partner whether something changed.",
        )


def _weighted_median(pairs: Iterable[tuple[float, int]]) -> float:
    values, weights = zip(*sorted(pairs), strict=True)
    passed = list(accumulate(weights))
    return float(values[bisect_left(passed, passed[-1] / 2)])


def _said(contract: Contract, column: str, said: str) -> str:
    return f"{contract.feed}.{column}: {said}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}"


# --- counting --------------------------------------------------------------------------------------------------------


def _sizes(session: Session, staged: str) -> dict[tuple[str, date], int]:
    found = session.connection.execute(f"select partner, dt, count(*) from {staged} group by partner, dt").fetchall()
    return {(partner, dt): n for partner, dt, n in found}


def _books_of_new(
    session: Session, staged: str, columns: Sequence[ContractColumn], sizes: Mapping[tuple[str, date], int]
) -> _Books:
    """The facts of each partner's day among the new rows, of about 50,000 rows each."""
    steps = {day: max(1, round(n / _SAMPLED_PER_DAY)) for day, n in sizes.items()}
    if len(set(steps.values())) <= 1:
        step = max(steps.values(), default=1)
        return _books(session, columns, f"{staged} where source_row % {step} = 1" if step > 1 else staged)
    listed = ", ".join(
        f"({literal(partner)}, date {literal(dt)}, {step})" for (partner, dt), step in steps.items() if step > 1
    )
    source = f"{staged} left join (values {listed}) as steps(partner, dt, step_) using (partner, dt)"
    return _books(session, columns, f"{source} where step_ is null or source_row % step_ = 1")


def _books_of_lake(
    session: Session, contract: Contract, columns: Sequence[ContractColumn], days: Sequence[date]
) -> _Books:
    """The same facts of the lake's days before, the days that are being replaced left out."""
    table = f"raw.{contract.feed}"
    there = session.columns(table)
    columns = [c for c in columns if c.name in there]
    if not columns:
        return {}
    window = f"dt >= date {literal(days[0] - timedelta(days=LOOKED_BACK_DAYS))} and dt < date {literal(days[-1])}"
    loaded = session.connection.execute(f"select dt, count(*) from {table} where {window} group by dt").fetchall()
    apart = {dt: n for dt, n in sorted(loaded) if dt not in days}
    kept = [dt for dt in apart if dt < days[0]][-DAYS_BEFORE:] + [dt for dt in apart if dt > days[0]]
    if not kept:
        return {}
    step = -(-sum(apart[dt] for dt in kept) // _SAMPLED_IN_LAKE)
    sampled = f" and source_row % {step} = 1" if step > 1 else ""
    listed = ", ".join(f"date {literal(dt)}" for dt in kept)
    return _books(session, columns, f"{table} where dt in ({listed}){sampled}")


def _books(session: Session, columns: Sequence[ContractColumn], source: str) -> _Books:
    """Facts per partner, day and column of the rows of the FROM clause `source`."""
    aggregates = ", ".join(f"{sql} as {alias}" for c in columns for alias, sql in _aggregates(c))
    found = session.connection.execute(f"select partner, dt, {aggregates} from {source} group by partner, dt")
    names = [d[0] for d in found.description or ()]
    books = {}
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        books[row["partner"], row["dt"]] = {c.name: _facts(c, row) for c in columns}
    return books


def _aggregates(column: ContractColumn) -> Iterator[tuple[str, str]]:
    name = column.name
    if _has_median(column):
        yield f"{name}_n_", f"count(*) filter (where {name} > 0)"
        yield f"{name}_median_", f"median({name}) filter (where {name} > 0)"
    for i, value in enumerate(column.valid_values):
        yield f"{name}_v{i}_", f"count(*) filter (where {name} = {literal(value)})"
    yield f"{name}_all_", "count(*)"
    yield f"{name}_given_", f"count({name})"


def _facts(column: ContractColumn, row: Mapping[str, object]) -> _Facts:
    def number(alias: str) -> float:
        value = row.get(f"{column.name}_{alias}_")
        return float(value) if isinstance(value, int | float) else 0.0

    given, rows = int(number("given")), int(number("all"))
    counts = {value: int(number(f"v{i}")) for i, value in enumerate(column.valid_values)}
    if not column.valid_values and column.is_required:
        return _Facts(int(number("n")), number("median"), {})
    shares = counts if column.valid_values else {"a value": given}
    return _Facts(int(number("n")), number("median"), {**shares, "empty": rows - given})
