"""The helper by which SQL models are tested: it passes what is right, and says readably what is not."""

from datetime import date

import polars as pl
import pytest

from xmkt_assets.sql_models import SqlModel
from xmkt_assets_tests.sql_helper import Written, assert_model, lake_types

TYPES = {"raw.orders": {"order_id": "VARCHAR", "paid_fen": "BIGINT", "ordered_on": "DATE", "share": "DOUBLE"}}
MODEL = SqlModel(
    "staging",
    "orders",
    "orders.sql",
    """\
-- grain: order_id
-- partition: ordered_on
select
    order_id, -- Id
    paid_fen * 2 as double_fen, -- Twice the price
    share / 3 as third, -- A third
    ordered_on -- Day
from raw.orders
where ordered_on >= $start and ordered_on < $end
""",
)
DAY = date(2026, 7, 1)
GIVEN = """
    order_id | paid_fen | ordered_on | share
    a        | 10       | 2026-07-01 | 0.1
    b        |          | 2026-07-01 |
    c        | 7        | 2026-07-02 |
"""


def judge(expect: Written, *, given: Written = GIVEN, through: date | None = None) -> None:
    assert_model(MODEL, given={"raw.orders": given}, expect=expect, day=DAY, through=through, types=TYPES)


def complaint(expect: Written, *, given: Written = GIVEN) -> str:
    with pytest.raises(AssertionError) as error:
        judge(expect, given=given)
    return str(error.value)


def test_rows_may_come_in_any_order_with_only_the_columns_that_matter() -> None:
    judge([{"order_id": "b"}, {"order_id": "a"}])
    judge([{"double_fen": None, "order_id": "b"}, {"double_fen": 20, "order_id": "a"}])
    judge("order_id | double_fen\n b |\n a | 20")
    judge("| order_id | double_fen |\n| a | 20 |\n| b | |")


def test_rows_may_be_given_as_dicts_frames_or_tables_and_what_is_left_out_is_null() -> None:
    judge([{"order_id": "a", "double_fen": None}], given=[{"order_id": "a", "ordered_on": "2026-07-01"}])
    frame = pl.DataFrame({"order_id": ["a"], "ordered_on": [DAY], "share": [0.3]})
    judge([{"third": pytest.approx(0.1)}], given=frame)
    judge([], given=[])


def test_floats_are_compared_as_floats_and_texts_as_the_type_of_the_column() -> None:
    judge(
        [
            {"order_id": "a", "third": 0.1 / 3, "ordered_on": "2026-07-01"},
            {"order_id": "b", "third": None, "ordered_on": DAY},
        ]
    )
    assert "third is 0.0333" in complaint([{"order_id": "a", "third": 0.034}, {"order_id": "b", "third": None}])


def test_a_range_of_days_is_made_in_one_query_as_a_backfill_does() -> None:
    judge([{"order_id": name} for name in "abc"], through=date(2026, 7, 2))


def test_a_difference_is_shown_row_by_row() -> None:
    assert complaint("order_id | double_fen\n a | 21\n z | 1") == (
        "staging.orders made 2 rows, expected 2:\n"
        "  otherwise   order_id='a': double_fen is 20, expected 21\n"
        "  missing     order_id='z', double_fen=1\n"
        "  unexpected  order_id='b', double_fen=None"
    )


def test_a_row_too_many_and_one_that_comes_twice_are_differences() -> None:
    assert "unexpected  order_id='b'" in complaint([{"order_id": "a"}])
    assert "missing     order_id='a'" in complaint([{"order_id": "a"}, {"order_id": "a"}, {"order_id": "b"}])
    assert "made 2 rows, expected 0" in complaint([])


@pytest.mark.parametrize(
    ("given", "expect", "words"),
    [
        ([{"ordr_id": "a"}], [], "raw.orders has no column 'ordr_id'. Did you mean order_id?"),
        (GIVEN, [{"doubl_fen": 1}], "staging.orders has no column 'doubl_fen'. Did you mean double_fen?"),
        ([{"paid_fen": "ten"}], [], "given raw.orders: {'paid_fen': 'ten'} does not fit the types of the table."),
        (GIVEN, [{"ordered_on": "July"}], "expected of staging.orders: {'ordered_on': 'July'} does not fit"),
        ("order_id | paid_fen\n a", [], "2 columns in the header, 1 cells in 'a'"),
    ],
)
def test_a_mistake_in_the_test_itself_is_named(given: Written, expect: Written, words: str) -> None:
    assert words in complaint(expect, given=given)


def test_a_table_that_the_model_does_not_read_is_named() -> None:
    with pytest.raises(AssertionError, match=r"staging.orders does not read raw.order. Did you mean raw.orders\?"):
        assert_model(MODEL, given={"raw.order": []}, expect=[], day=DAY, types=TYPES)


def test_a_partitioned_model_asks_for_its_day() -> None:
    with pytest.raises(AssertionError, match="give day="):
        assert_model(MODEL, given={}, expect=[], types=TYPES)


def test_types_of_the_repository_go_through_files_to_their_feeds() -> None:
    types = lake_types()
    assert types["staging.course_orders"]["ordered_on"] == "DATE"
    assert types["segments.person_profile"]["as_of_on"] == "DATE"
