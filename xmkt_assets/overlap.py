"""How large the common base of the two firms is, by broad cells, told without telling of anybody: for the decision to
share, before rows are shared. Counts only; small cells are left out, with as many others as it takes to hide them.

As a command it reads one file of each firm (keyed hashes and broad attributes), prints the counts, and stores nothing::

    python -m xmkt_assets.overlap --course-platform users.csv --insurer customers.csv

Here: cells, suppression, the attack that suppression must withstand, the command. Not here: who is whom (the SQL of
``staging.identity_links``, which the command runs in memory) and the table in the lake (``assets/agreement.py``).

A cell is left out when any of its three counts is below the threshold: known only to the course platform, only to the
insurer, or to both. The attack (`recoverable`) knows every published count exactly, before rounding, and besides, for
small cells, all numbers of one firm: that firm knows how many of its own people are in each. Where it can narrow a
hidden count to less than the threshold (or than the firm's own number there, which bounds it anyhow), more cells are
left out.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST: Final = 10
AGE_BANDS: Final = ("under 25", "25 to 34", "35 to 44", "45 to 54", "55 and over", "unknown")
CITY_BANDS: Final = ("tier 1", "tiers 2 and 3", "tiers 4 and 5", "unknown")
GENDERS: Final = ("female", "male", "other or unknown")
DIMENSIONS: Final[Mapping[str, tuple[str, ...]]] = {"age_band": AGE_BANDS, "city_band": CITY_BANDS, "gender": GENDERS}
BREAKDOWNS: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("age_band",),
    ("city_band",),
    ("gender",),
    ("age_band", "city_band"),
)
SIDES: Final = ("course_only", "insurer_only", "both_firms")
TABLE: Final = "staging.overlap_report"
DESCRIPTION: Final = (
    "One row per broad cell of the people whom the two firms know: how many only the one, only the other, or both "
    "know. Cells with a count below the threshold are left out, and others with them, so that none follows "
    "from the totals."
)
COLUMNS: Final[dict[str, str]] = {
    "breakdown": "What the people are broken down by; total = not at all",
    **dict.fromkeys(DIMENSIONS, "Band of the cell; all = not broken down by it"),
    "course_only": "People whom only the course platform knows, rounded; empty = left out",
    "insurer_only": "People whom only the insurer knows, rounded; empty = left out",
    "both_firms": "People whom both firms know, rounded; empty = left out",
    "is_suppressed": "Whether the cell is left out, being small or needed to hide one that is",
}
# The finest cells, from the platform's own tables; $year is the year whose ages are meant.
ATOMS_QUERY: Final = """
    select
        case
            when birth_year is null then 'unknown'
            when $year - birth_year < 25 then 'under 25'
            when $year - birth_year < 35 then '25 to 34'
            when $year - birth_year < 45 then '35 to 44'
            when $year - birth_year < 55 then '45 to 54'
            else '55 and over'
        end as age_band,
        case city_tier when 1 then 'tier 1' when 2 then 'tiers 2 and 3' when 3 then 'tiers 2 and 3'
            when 4 then 'tiers 4 and 5' when 5 then 'tiers 4 and 5' else 'unknown' end as city_band,
        case when gender in ('female', 'male') then gender else 'other or unknown' end as gender,
        case
            when not has_insurance_side then 'course_only'
            when not has_course_side then 'insurer_only'
            else 'both_firms'
        end as side,
        count(*) as people
    from staging.people
    group by all
"""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_KINDS: Final = ("id_card", "phone", "email", "wechat_openid")
_LOOKS: Final = (
    (re.compile(r"[^@\s]+@[^@\s]+"), "looks like an e-mail address"),
    (re.compile(r"\d{17}[\dXx]"), "looks like an identity card number"),
    (re.compile(r"\+?[\d\s().-]{7,20}"), "looks like a phone number"),
)

Cell = tuple[str, ...]  # one band per dimension, "all" where not broken down by it
Floats = npt.NDArray[np.float64]
_Known = tuple[npt.NDArray[np.bool_], tuple[int, ...], float]  # atoms and sides that are summed, and the sum


class OverlapError(ValueError):
    """Files or limits from which no report is made; the message names them and never repeats a value."""


class Narrowed(NamedTuple):
    """A hidden count that published ones narrow too far: between `low` and `high`."""

    cell: Cell
    side: str
    low: float
    high: float


@dataclass(frozen=True)
class Counts:
    """People per atom (finest cell) and side: `people[atom, side]`, atoms in the order of the product of all bands."""

    people: Floats

    @cached_property
    def atoms(self) -> list[Cell]:
        return list(product(*DIMENSIONS.values()))

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell of every breakdown, coarse ones first."""
        return [
            tuple(dict(zip(dims, bands, strict=True)).get(d, "all") for d in DIMENSIONS)
            for dims in BREAKDOWNS
            for bands in product(*(DIMENSIONS[d] for d in dims))
        ]

    @cached_property
    def members(self) -> dict[Cell, npt.NDArray[np.bool_]]:
        """Cell → which atoms lie in it."""
        return {
            cell: np.array([all(c in ("all", a) for c, a in zip(cell, atom, strict=True)) for atom in self.atoms])
            for cell in self.cells
        }

    def of(self, cell: Cell) -> Floats:
        """The cell's counts, in the order of `SIDES`."""
        return np.asarray(self.people[self.members[cell]].sum(axis=0))


def counts_of(rows: pl.DataFrame) -> Counts:
    """Counts from rows age_band, city_band, gender, side, people."""
    place = {atom: i for i, atom in enumerate(product(*DIMENSIONS.values()))}
    people = np.zeros((len(place), len(SIDES)))
    for age, city, gender, side, number in rows.select(*DIMENSIONS, "side", "people").iter_rows():
        people[place[age, city, gender], SIDES.index(side)] += number
    return Counts(people)


def overlap_report(counts: Counts, *, threshold: int = SMALLEST, rounding: int = SMALLEST) -> pl.DataFrame:
    """One row per cell, columns `COLUMNS`; counts to the nearest multiple of `rounding` (1 = exact), or none.

    Raises `OverlapError` for a threshold below 10 or a rounding below 1.
    """
    if threshold < SMALLEST or rounding < 1:
        raise OverlapError(
            f"Got a threshold of {threshold} and rounding to {rounding}; wanted a threshold of at least {SMALLEST} and "
            f"rounding to at least 1. Raise them."
        )
    hidden = suppressed(counts, threshold=threshold)
    rows = []
    for cell in counts.cells:
        shown = [None] * len(SIDES) if cell in hidden else [_rounded(n, rounding) for n in counts.of(cell)]
        rows.append((_breakdown(cell), *cell, *shown, cell in hidden))
    texts = dict.fromkeys(("breakdown", *DIMENSIONS), pl.String)
    return pl.DataFrame(
        rows, schema={**texts, **dict.fromkeys(SIDES, pl.Int64), "is_suppressed": pl.Boolean}, orient="row"
    )


def suppressed(counts: Counts, *, threshold: int) -> frozenset[Cell]:
    """The cells that must not be shown: small ones, and others until no hidden count can be recovered."""
    hidden = {cell for cell in counts.cells if counts.of(cell).min() < threshold}
    _hide_lone_ones(counts, hidden)
    while True:
        found = next(recoverable(counts, frozenset(hidden), threshold=threshold), None)
        if found is None:
            return frozenset(hidden)
        companions = _companions(counts, found.cell, hidden)
        if not companions:
            return frozenset(counts.cells)
        hidden.add(companions[0])


def recoverable(counts: Counts, hidden: frozenset[Cell], *, threshold: int) -> Iterator[Narrowed]:
    """The attack: hidden counts that somebody could narrow to less than the threshold.

    Small cells withstand either firm, which knows its own number in each cell besides what is published; the others,
    hidden for their sake, withstand everybody else.
    """
    small = {cell for cell in hidden if counts.of(cell).min() < threshold}
    for own in (0, 1, None):  # the side that, with both_firms, makes a firm's own number
        attack = _Attack.by(counts, hidden, own=own)
        sought = small if own is not None else hidden - small
        for cell in sorted(sought, key=lambda c: (c.count("all"), c)):
            for side in (2, 1 - own) if own is not None else range(len(SIDES)):  # its own side follows from both
                low, high = attack.narrow(counts.members[cell], side)
                prior = counts.of(cell)[[own, 2]].sum() if own is not None and side == 2 else np.inf
                if high - low < min(threshold, prior) - 1e-6:
                    yield Narrowed(cell, SIDES[side], low, high)


@dataclass(frozen=True)
class _Attack:
    """Linear equations over people per atom and side (all at least 0): everything that a firm knows."""

    equations: Any
    values: Floats

    @classmethod
    def by(cls, counts: Counts, hidden: frozenset[Cell], *, own: int | None) -> "_Attack":
        """Every published count and, for the firm of side `own`, its own number in each atom."""
        from scipy.sparse import csr_array

        told: list[_Known] = [
            (counts.members[c], (side,), counts.of(c)[side])
            for c in counts.cells
            if c not in hidden
            for side in range(len(SIDES))
        ]
        if own is not None:
            places = np.eye(len(counts.atoms), dtype=np.bool_)
            told += [(at, (own, 2), n[own] + n[2]) for at, n in zip(places, counts.people, strict=True)]
        rows = [_row(members, sides) for members, sides, _ in told] or [np.zeros(counts.people.size)]
        return cls(csr_array(np.array(rows)), np.array([value for *_, value in told] or [0.0]))

    def narrow(self, members: npt.NDArray[np.bool_], side: int) -> tuple[float, float]:
        """The smallest and the largest number of people that `members` can have on that side."""
        from scipy.optimize import linprog

        sought = _row(members, (side,))
        ends = []
        for sign in (1.0, -1.0):
            solved = linprog(sign * sought, A_eq=self.equations, b_eq=self.values, bounds=(0, None), method="highs")
            ends.append(sign * solved.fun if solved.status == 0 else -sign * np.inf)
        return ends[0], ends[1]


def _row(members: npt.NDArray[np.bool_], sides: tuple[int, ...]) -> Floats:
    """1 for each unknown (atom, side) that is summed, 0 for the others."""
    row = np.zeros((len(members), len(SIDES)))
    for side in sides:
        row[members, side] = 1.0
    return row.ravel()


def _hide_lone_ones(counts: Counts, hidden: set[Cell]) -> None:
    """A cell hidden alone in its line follows from the line's total: hide the smallest other one with it."""
    lines = [line for cell in counts.cells for line in _lines(counts, cell)]
    for _ in DIMENSIONS:  # hiding one may leave another alone in the line that crosses
        for line in lines:
            shown = [c for c in line if c not in hidden]
            if len(shown) == len(line) - 1 and shown:
                hidden.add(min(shown, key=lambda c: _size(counts, c)))


def _lines(counts: Counts, cell: Cell) -> Iterator[list[Cell]]:
    """Per dimension of the cell's breakdown: the cells that differ from it there only, with it."""
    known = set(counts.cells)
    for at, bands in enumerate(DIMENSIONS.values()):
        if cell[at] != "all":
            yield [c for band in bands if (c := (*cell[:at], band, *cell[at + 1 :])) in known]


def _companions(counts: Counts, cell: Cell, hidden: set[Cell]) -> list[Cell]:
    """Published cells whose hiding may protect a cell: its neighbours, then what lies in it or around it, then any."""
    neighbours = {c for line in _lines(counts, cell) for c in line}
    inside = counts.members[cell]

    def far(other: Cell) -> int:
        mine = counts.members[other]
        related = bool((mine & inside).any())
        if mine.all():  # the total is what the report is for: it goes last
            return 4
        return 0 if other in neighbours else 1 if related and mine.sum() <= inside.sum() else 2 if related else 3

    return sorted((c for c in counts.cells if c not in hidden), key=lambda c: (far(c), _size(counts, c), c))


def _size(counts: Counts, cell: Cell) -> float:
    return float(counts.of(cell).sum())


def _rounded(number: float, rounding: int) -> int:
    return rounding * int(number / rounding + 0.5)


def _breakdown(cell: Cell) -> str:
    return " x ".join(d for d, band in zip(DIMENSIONS, cell, strict=True) if band != "all") or "total"


def figure(report: pl.DataFrame) -> "Figure":
    """Bars of the three counts by age band; bands left out have none."""
    from matplotlib.figure import Figure

    bands = report.filter(pl.col("breakdown") == "age_band")
    drawn = Figure(figsize=(7, 3.2))
    axes = drawn.subplots()
    left = np.zeros(bands.height)
    for side, colour in zip(SIDES, ("#4c78a8", "#f58518", "#54a24b"), strict=True):
        width = bands[side].fill_null(0).to_numpy()
        axes.barh(bands["age_band"].to_list(), width, left=left, color=colour, label=side.replace("_", " "))
        left = left + width
    axes.invert_yaxis()
    axes.set_xlabel("people")
    axes.legend(frameon=False)
    return drawn


def in_words(report: pl.DataFrame) -> str:
    """The report as text columns, left-out cells as a dash."""
    shown = report.select("breakdown", *DIMENSIONS, *(pl.col(s).cast(pl.String).fill_null("-") for s in SIDES))
    widths = [max(len(str(v)) for v in (name, *shown[name])) for name in shown.columns]
    lines = [shown.columns, *shown.iter_rows()]
    return "\n".join("  ".join(str(v).ljust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in lines)


# ── two files, before anything is shared ─────────────────────────────────────────────────────────────────────────────


def read_side(path: Path) -> pl.DataFrame:
    """One firm's file: keyed hashes (phone_hash, …) and the bands age_band, city_tier, gender; nothing else.

    Raises `OverlapError` for a column that is not needed and for a value that is no keyed hash, such as a phone number.
    """
    try:
        rows = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise OverlapError(f"{path.name} cannot be read as {path.suffix or 'CSV'} ({type(error).__name__}).") from None
    hashes = {f"{kind}_hash" for kind in _KINDS} & set(rows.columns)
    wanted = {f"{kind}_hash" for kind in _KINDS} | {"age_band", "city_tier", "gender"}
    if extra := sorted(set(rows.columns) - wanted):
        raise OverlapError(f"{path.name} holds {extra}, not needed here. Remove them; wanted: {sorted(wanted)}.")
    if not hashes:
        raise OverlapError(f"{path.name} holds no hashes; wanted at least one of {[f'{k}_hash' for k in _KINDS]}.")
    rows = rows.select(pl.all().cast(pl.String).replace("", None))
    for name in sorted(hashes):
        _refuse_raw(rows[name], path=path)
    _refuse_bands(rows, path=path)
    missing = [pl.lit(None, pl.String).alias(name) for name in sorted(wanted - set(rows.columns))]
    return rows.with_columns(missing)


def _refuse_raw(values: pl.Series, *, path: Path) -> None:
    wrong = (~values.str.contains(f"^{_HASH.pattern}$")).arg_true()
    if len(wrong):
        value = values[int(wrong[0])].strip()
        looks = next((words for pattern, words in _LOOKS if pattern.fullmatch(value)), "is no keyed hash")
        raise OverlapError(
            f"{path.name}, row {int(wrong[0]) + 1} of the data, column {values.name}: the value {looks} ({len(wrong)} "
            f"such values); wanted HMAC-SHA256 under the agreement's key as 64 hexadecimal digits. Hash the column "
            f"before the file leaves your firm; nothing was counted."
        )


def _refuse_bands(rows: pl.DataFrame, *, path: Path) -> None:
    allowed = {"age_band": AGE_BANDS, "city_tier": tuple("12345"), "gender": ("female", "male", "other")}
    for name, values in allowed.items():
        if name in rows.columns and not set(rows[name].drop_nulls()) <= set(values):
            raise OverlapError(f"{path.name}: column {name} holds other values than {list(values)}. Write only these.")


def files_overlap(course_platform: pl.DataFrame, insurer: pl.DataFrame) -> Counts:
    """Counts from the frames of `read_side`; people are joined by the platform's own rules, in memory."""
    import duckdb

    from xmkt_assets.agreement import read_agreement
    from xmkt_assets.identity_terms import hash_key_rows, identifier_rule_rows

    sides = {
        "users": course_platform.with_row_index("user_id").with_columns(pl.col("user_id").cast(pl.String)),
        "customers": insurer.with_row_index("customer_id").with_columns(pl.col("customer_id").cast(pl.String)),
    }
    agreement = read_agreement()
    with duckdb.connect() as con:
        con.execute("create schema staging")
        for name, opened in (("users", "registered_at"), ("customers", "became_customer_at")):
            con.register("given", sides[name])
            con.execute(
                f"create table staging.{name} as "
                f"select *, timestamp '2000-01-01' as {opened}, cast(null as bigint) as birth_year from given"
            )
        for name, rows in (
            ("hash_keys", hash_key_rows(agreement)),
            ("identifier_rules", identifier_rule_rows(agreement)),
            ("identifiers", _identifiers(sides, version=agreement.first_key.version)),
        ):
            con.register("given", rows)
            con.execute(f"create table staging.{name} as select * from given")
        for name in ("identity_links", "identities"):
            con.execute(f"create table staging.{name} as {(_SQL / f'{name}.sql').read_text(encoding='utf-8')}")
        return counts_of(con.sql(_FILES_ATOMS).pl())


def _identifiers(sides: Mapping[str, pl.DataFrame], *, version: str) -> pl.DataFrame:
    """The rows of ``staging.identifiers``."""
    frames = [
        rows.select(
            pl.lit(partner).alias("partner"),
            pl.col(subject).alias("subject_id"),
            pl.lit(kind).alias("kind"),
            pl.lit(version).alias("key_version"),
            pl.col(f"{kind}_hash").alias("identifier_hash"),
            pl.lit("valid").alias("status"),
            pl.lit(date(2000, 1, 1)).alias("first_on"),
            pl.lit(None, pl.Date).alias("until_on"),
        )
        for partner, subject, rows in (
            ("course_platform", "user_id", sides["users"]),
            ("insurer", "customer_id", sides["customers"]),
        )
        for kind in _KINDS
    ]
    return pl.concat(frames).drop_nulls("identifier_hash")


_SQL: Final = Path(__file__).parent.parent / "dbt_like_sql" / "staging"
_FILES_ATOMS: Final = """
    with accounts as (
        select i.person_id, 2 as voice, u.age_band, u.city_tier, u.gender
        from staging.identities as i
        inner join staging.users as u on i.partner = 'course_platform' and i.subject_id = u.user_id
        union all
        select i.person_id, 1, c.age_band, c.city_tier, c.gender
        from staging.identities as i
        inner join staging.customers as c on i.partner = 'insurer' and i.subject_id = c.customer_id
    ),

    people as (
        select
            person_id,
            arg_min(age_band, voice) as age_band,
            arg_min(city_tier, voice) as city_tier,
            arg_min(gender, voice) as gender,
            case
                when min(voice) = 2 then 'course_only'
                when max(voice) = 1 then 'insurer_only'
                else 'both_firms'
            end as side
        from accounts
        group by person_id
    )

    select
        coalesce(age_band, 'unknown') as age_band,
        case city_tier when '1' then 'tier 1' when '2' then 'tiers 2 and 3' when '3' then 'tiers 2 and 3'
            when '4' then 'tiers 4 and 5' when '5' then 'tiers 4 and 5' else 'unknown' end as city_band,
        case when gender in ('female', 'male') then gender else 'other or unknown' end as gender,
        side,
        count(*) as people
    from people
    group by all
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 2 where the files or limits are refused."""
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.overlap", description=__doc__.split("\n\n")[0])
    parser.add_argument("--course-platform", type=Path, required=True, help="its file, CSV or Parquet")
    parser.add_argument("--insurer", type=Path, required=True, help="its file, CSV or Parquet")
    parser.add_argument("--threshold", type=int, default=SMALLEST, help="counts below it are left out, at least 10")
    parser.add_argument("--rounding", type=int, default=SMALLEST, help="counts are rounded to its multiples, 1 = exact")
    given = parser.parse_args(arguments)
    try:
        counts = files_overlap(read_side(given.course_platform), read_side(given.insurer))
        report = overlap_report(counts, threshold=given.threshold, rounding=given.rounding)
    except OverlapError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(in_words(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
