"""The overlap report: right counts, small cells hidden so that no arithmetic finds them, two files counted."""

from itertools import product
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from xmkt_assets import overlap
from xmkt_assets.overlap import (
    AGE_BANDS,
    CITY_BANDS,
    DIMENSIONS,
    GENDERS,
    SIDES,
    Cell,
    Counts,
    OverlapError,
    counts_of,
    overlap_report,
    recoverable,
    suppressed,
)

FULL = dict.fromkeys(product(AGE_BANDS, CITY_BANDS, GENDERS), 20)


def counts(changes: dict[Cell, tuple[int, int, int]]) -> Counts:
    """20 people of each side in each finest cell, but where told otherwise."""
    rows = [
        (*cell, side, number)
        for cell, n in FULL.items()
        for side, number in zip(SIDES, changes.get(cell, (n, n, n)), strict=True)
    ]
    return counts_of(pl.DataFrame(rows, schema=[*DIMENSIONS, "side", "people"], orient="row"))


def small_cell(age: str, city: str, numbers: tuple[int, int, int]) -> dict[Cell, tuple[int, int, int]]:
    """One cell of age and city with few people, all of them female."""
    rest = {(age, city, gender): (0, 0, 0) for gender in GENDERS[1:]}
    return {(age, city, "female"): numbers, **rest}


def implied(report: pl.DataFrame) -> dict[tuple[Cell, str], float]:
    """Second method: every hidden count that follows from published exact ones by linear algebra alone."""
    atoms = list(product(*DIMENSIONS.values()))
    cells = {row[:3]: row[3:6] for row in report.select(*DIMENSIONS, *SIDES).iter_rows()}

    def members(cell: Cell) -> np.ndarray:
        return np.array([all(c in ("all", a) for c, a in zip(cell, atom, strict=True)) for atom in atoms], dtype=float)

    told = {cell: values for cell, values in cells.items() if values[0] is not None}
    equations = np.array([members(cell) for cell in told])
    found = {}
    for cell in cells.keys() - told.keys():
        weights, *_ = np.linalg.lstsq(equations.T, members(cell), rcond=None)
        if np.allclose(equations.T @ weights, members(cell)):
            for at, side in enumerate(SIDES):
                found[cell, side] = float(weights @ np.array([values[at] for values in told.values()]))
    return found


def test_cells_hold_the_people_of_their_bands_rounded() -> None:
    report = overlap_report(counts({("35 to 44", "tier 1", "male"): (23, 24, 26)}))
    assert not report["is_suppressed"].any()
    cells = {row[:4]: row[4:] for row in report.drop("is_suppressed").iter_rows()}
    # 72 cells of 20, one of them with 23, 24, 26 in their place; 12 of 72 cells lie in an age band, 3 in age and city.
    assert cells["total", "all", "all", "all"] == (1440, 1440, 1450)
    assert cells["age_band", "35 to 44", "all", "all"] == (240, 240, 250)
    assert cells["age_band x city_band", "35 to 44", "tier 1", "all"] == (60, 60, 70)
    exact = overlap_report(counts({("35 to 44", "tier 1", "male"): (23, 24, 26)}), rounding=1)
    assert exact.row(0)[4:7] == (1443, 1444, 1446)


@pytest.mark.parametrize("numbers", [(9, 30, 30), (30, 9, 30), (30, 30, 9), (30, 30, 0)])
def test_a_cell_with_any_count_below_ten_is_left_out_with_others_so_that_no_sum_gives_it_away(
    numbers: tuple[int, int, int],
) -> None:
    made = counts(small_cell("45 to 54", "tier 1", numbers))
    report = overlap_report(made, rounding=1)
    hidden = {row[:3] for row in report.filter("is_suppressed").select(*DIMENSIONS).iter_rows()}
    assert ("45 to 54", "tier 1", "all") in hidden
    assert len(hidden) >= 4  # another one in its row and in its column, and the fourth corner
    assert implied(report) == {}
    assert report.filter("is_suppressed").select(SIDES).null_count().row(0) == (len(hidden),) * 3


def test_the_attack_finds_what_hiding_small_cells_alone_gives_away() -> None:
    """Hiding only the small cell leaves it to subtraction: the attack must name the very number."""
    made = counts(small_cell("45 to 54", "tier 1", (30, 30, 7)))
    lone: Cell = ("45 to 54", "tier 1", "all")
    found = next(recoverable(made, frozenset({lone}), threshold=10))
    assert (found.cell, found.side) == (lone, "both_firms")
    assert (found.low, found.high) == pytest.approx((7, 7))
    exact = {c: made.of(c) for c in made.cells}
    rows = [(*c, *([None] * 3 if c == lone else exact[c])) for c in made.cells]
    naive = pl.DataFrame(rows, schema=[*DIMENSIONS, *SIDES], orient="row")
    assert implied(naive)[lone, "both_firms"] == pytest.approx(7)


def test_a_firm_that_knows_its_own_numbers_narrows_no_hidden_count_below_the_threshold() -> None:
    rng = np.random.default_rng(5)
    shares = np.outer(np.outer([0.1, 0.3, 0.3, 0.15, 0.1, 0.05], [0.4, 0.4, 0.15, 0.05]).ravel(), [0.5, 0.45, 0.05])
    people = np.stack([rng.multinomial(n, shares.ravel()) for n in (4000, 2500, 3000)], axis=1)
    made = Counts(people.astype(float))
    hidden = suppressed(made, threshold=10)
    small = {cell for cell in made.cells if made.of(cell).min() < 10}
    assert small < hidden < set(made.cells)
    assert next(recoverable(made, hidden, threshold=10), None) is None
    assert next(recoverable(made, frozenset(small), threshold=10), None) is not None


def test_firms_without_ten_common_people_are_told_nothing() -> None:
    report = overlap_report(counts(dict.fromkeys(FULL, (20, 20, 0))))
    assert report["is_suppressed"].all()
    assert report.select(SIDES).null_count().row(0) == (report.height,) * 3


@pytest.mark.parametrize(("threshold", "rounding"), [(9, 10), (0, 10), (10, 0)])
def test_a_threshold_below_ten_is_refused(threshold: int, rounding: int) -> None:
    with pytest.raises(OverlapError, match="at least 10"):
        overlap_report(counts({}), threshold=threshold, rounding=rounding)


def test_the_platforms_people_fall_into_their_bands() -> None:
    people = pl.DataFrame(
        [
            (2002, 1, "female", True, True),
            (2001, 3, "other", True, False),
            (1961, 5, None, False, True),
            (None, None, "male", True, True),
        ],
        schema=["birth_year", "city_tier", "gender", "has_course_side", "has_insurance_side"],
        orient="row",
    )
    with duckdb.connect() as con:
        con.execute("create schema staging")
        con.register("given", people)
        con.execute("create table staging.people as select * from given")
        rows = con.execute(overlap.ATOMS_QUERY, {"year": 2026}).pl()
    assert set(rows.rows()) == {
        ("under 25", "tier 1", "female", "both_firms", 1),
        ("25 to 34", "tiers 2 and 3", "other or unknown", "course_only", 1),
        ("55 and over", "tiers 4 and 5", "other or unknown", "insurer_only", 1),
        ("unknown", "unknown", "male", "both_firms", 1),
    }


# ── two files ────────────────────────────────────────────────────────────────────────────────────────────────────────


def hashed(number: int) -> str:
    return f"{number:064x}"


def write_files(folder: Path) -> tuple[Path, Path]:
    """120 users, 100 customers; 60 share a phone, 15 more only an e-mail, and 5 users share one household's phone."""
    users = [(hashed(n), hashed(1000 + n), "25 to 34", 1, "female") for n in range(115)]
    users += [(hashed(500), None, "25 to 34", 1, "female") for _ in range(5)]
    customers = [(hashed(n), None, "25 to 34", 1, "female") for n in range(60)]
    customers += [(None, hashed(1000 + n), "35 to 44", 2, "female") for n in range(60, 75)]
    customers += [(hashed(500 + n), None, "25 to 34", 1, "female") for n in range(25)]
    names = ["phone_hash", "email_hash", "age_band", "city_tier", "gender"]
    one, other = folder / "users.csv", folder / "customers.parquet"
    pl.DataFrame(users, schema=names, orient="row").write_csv(one)
    pl.DataFrame(customers, schema=names, orient="row").write_parquet(other)
    return one, other


def test_the_command_counts_two_files_prints_counts_only_and_stores_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = write_files(tmp_path)
    files = ["--course-platform", str(one), "--insurer", str(other)]
    assert overlap.main([*files, "--rounding", "1"]) == 0
    printed = capsys.readouterr().out
    total = next(line.split() for line in printed.splitlines() if line.startswith("total"))
    assert total[-3:] == ["45", "25", "75"]
    # The insurer's word comes first: the 15 joined by e-mail are of its band, in a cell without others, so left out.
    assert next(line.split() for line in printed.splitlines() if "35 to 44" in line)[-3:] == ["-", "-", "-"]
    assert hashed(1) not in printed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["customers.parquet", "users.csv"]
    assert overlap.main([*files, "--threshold", "5"]) == 2
    assert "at least 10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "value", "looks"),
    [
        ("phone_hash", "13812345678", "looks like a phone number"),
        ("phone_hash", "+86 138-1234-5678", "looks like a phone number"),
        ("email_hash", "li.na@mail.example", "looks like an e-mail address"),
        ("id_card_hash", "11010119900307123X", "looks like an identity card number"),
        ("phone_hash", "d41d8cd98f00b204e9800998ecf8427e", "is no keyed hash"),
        ("name", "Li Na", "not needed here"),
        ("gender", "13812345678", "column gender holds other values"),
    ],
)
def test_raw_identifiers_are_refused_without_repeating_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, value: str, looks: str
) -> None:
    one, other = write_files(tmp_path)
    kept = pl.col("gender" if column == "gender" else "phone_hash")
    planted = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value)).otherwise(kept)
    rows = pl.read_csv(one, infer_schema=False).with_columns(planted.alias(column))
    rows.write_csv(one)
    assert overlap.main(["--course-platform", str(one), "--insurer", str(other)]) == 2
    said = capsys.readouterr()
    assert looks in said.err
    assert "users.csv" in said.err
    assert value not in said.err + said.out


def test_a_file_without_hashes_or_that_is_no_table_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = write_files(tmp_path)
    pl.DataFrame({"gender": ["female"]}).write_csv(one)
    assert overlap.main(["--course-platform", str(one), "--insurer", str(other)]) == 2
    assert "holds no hashes" in capsys.readouterr().err
    assert overlap.main(["--course-platform", str(tmp_path / "none.csv"), "--insurer", str(other)]) == 2
    assert "none.csv cannot be read" in capsys.readouterr().err
