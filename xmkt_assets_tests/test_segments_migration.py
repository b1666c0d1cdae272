"""Migration between value groups: from the newest earlier snapshot to this one, rows in and rows out."""

from datetime import date

import polars as pl
import pytest

from xmkt_assets.segments import pictures
from xmkt_assets_tests.sql_helper import assert_model

TABLE = "segments.segment_migration"
DAY = date(2026, 9, 28)
PEOPLE = """
    as_of_on   | person_id | value_label
    2026-09-14 | p1        | dormant
    2026-09-21 | p1        | steady
    2026-09-21 | p2        | steady
    2026-09-21 | p3        | steady
    2026-09-21 | p4        | high value
    2026-09-21 | p5        | unknown
    2026-09-28 | p1        | steady
    2026-09-28 | p2        | high value
    2026-09-28 | p4        | high value
    2026-09-28 | p5        | newcomer
    2026-09-28 | p6        | newcomer
    2026-10-05 | p1        | dormant
    2026-10-05 | p7        | dormant
"""


def test_everybody_of_either_snapshot_goes_one_way() -> None:
    expect = [
        {"from_label": "steady", "to_label": "steady", "people": 1, "people_share": pytest.approx(1 / 3)},
        {"from_label": "steady", "to_label": "high value", "people": 1, "people_share": pytest.approx(1 / 3)},
        {"from_label": "steady", "to_label": "gone", "people": 1, "people_share": pytest.approx(1 / 3)},
        {"from_label": "high value", "to_label": "high value", "people": 1, "people_share": 1.0},
        {"from_label": "unknown", "to_label": "newcomer", "people": 1, "people_share": 1.0},
        {"from_label": "new", "to_label": "newcomer", "people": 1, "people_share": 1.0},
    ]
    dated = [{"as_of_on": DAY, "previous_as_of_on": date(2026, 9, 21), **row} for row in expect]
    assert_model(TABLE, given={"segments.person_clusters": PEOPLE}, expect=dated, day=DAY)


def test_the_newest_earlier_snapshot_is_compared_and_no_later_one_is_seen() -> None:
    expect = """
        previous_as_of_on | from_label | to_label   | people | people_share
        2026-09-14        | dormant    | steady     | 1      | 1
        2026-09-14        | new        | steady     | 2      | 0.5
        2026-09-14        | new        | high value | 1      | 0.25
        2026-09-14        | new        | unknown    | 1      | 0.25
    """
    assert_model(TABLE, given={"segments.person_clusters": PEOPLE}, expect=expect, day=date(2026, 9, 21))


def test_the_first_snapshot_has_no_migration() -> None:
    assert_model(TABLE, given={"segments.person_clusters": PEOPLE}, expect=[], day=date(2026, 9, 14))


def test_the_picture_has_a_cell_per_way_and_new_and_gone_at_the_end() -> None:
    rows = pl.DataFrame(
        [("new", "steady", 4, 1.0), ("steady", "gone", 1, 0.2), ("steady", "steady", 4, 0.8), ("a", "z", 2, 1.0)],
        schema=["from_label", "to_label", "people", "people_share"],
        orient="row",
    )
    (axes,) = pictures.migration(rows).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "steady", "new"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["steady", "z", "gone"]
    assert {(t.get_position(), t.get_text()) for t in axes.texts} == {
        ((0, 2), "4\n100%"),
        ((2, 1), "1\n20%"),
        ((0, 1), "4\n80%"),
        ((1, 0), "2\n100%"),
    }
    assert pictures.migration(rows.clear()).axes[0].texts == pytest.approx([])
