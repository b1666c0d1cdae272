"""What people look at: the page of one person, the pictures of the groups."""

import warnings
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from xmkt_assets.letters import CHINESE, chinese_letters
from xmkt_assets.person_page import PROFILE, NoProfileError, page_of
from xmkt_assets.segments.person_page import LIKELIHOODS, NOT_USED, page
from xmkt_assets.segments.summary_pictures import PANELS, groups_beside_each_other
from xmkt_assets.table_pictures import TABLE_PICTURES, picture_of
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.sql_helper import read_model

DAY, EARLIER = date(2026, 9, 28), date(2026, 9, 21)


def profile(**changed: Any) -> dict[str, Any]:
    person: dict[str, Any] = {
        "as_of_on": DAY,
        "person_id": "p1",
        "has_course_side": True,
        "has_insurance_side": True,
        "value_label": "high value",
        "value_why": "paid ¥ 2,400 for courses",
        "interests_in_words": "健康 60%, 养老 40%",
        "next_interest": "养老",
        "next_interest_share": 0.31,
        "next_interest_why": "more than 20 minutes on 养老",
        "course_view_count": 1200,
        "course_order_count": 3,
        "paid_fen": 240_000,
        "product_view_count": 7,
        "active_policy_count": 2,
    }
    for one in LIKELIHOODS:
        person |= {f"{one.name}_share": 0.123, f"{one.name}_band": "high", f"{one.name}_why": f"why {one.name}"}
    return {**person, **changed}


def test_a_page_says_every_label_with_its_reason() -> None:
    told = page(profile(), earlier=None)
    assert "Value group: high value (paid ¥ 2,400 for courses)" in told
    assert "Interests: 健康 60%, 养老 40%" in told
    assert "Likely next interest: 养老, 31% (more than 20 minutes on 养老)" in told
    for one in LIKELIHOODS:
        assert f"Probability of {one.words}: 12.3%, high (why {one.name})" in told
    assert "1,200 course views, 3 paid orders (¥2,400), 7 views of insurance pages, 2 policies in force" in told
    assert told.endswith(NOT_USED)


def test_a_page_says_of_what_is_not_known_that_it_is_not() -> None:
    unknown = {f"{one.name}_{part}": None for one in LIKELIHOODS for part in ("share", "why")}
    bands = {f"{one.name}_band": "not scored" for one in LIKELIHOODS}
    nothing = {
        "interests_in_words": None,
        "next_interest": None,
        "value_label": "unknown",
        "value_why": "too few people",
    }
    told = page(profile(has_insurance_side=False, **unknown, **bands, **nothing), earlier=None)
    assert "Known to: the course platform.\n" in told
    assert "Interests: nothing is known" in told
    assert "Likely next interest: nothing is known" in told
    assert "Value group: unknown (too few people)" in told
    assert told.count(": not scored\n") == len(LIKELIHOODS)
    assert "None" not in told


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("high value", "The value group is the same as on 2026-09-21."),
        ("steady", "Value group on 2026-09-21: steady."),
    ],
)
def test_a_page_says_whether_the_group_changed(before: str, words: str) -> None:
    assert words in page(profile(), earlier=profile(as_of_on=EARLIER, value_label=before))


def test_a_page_reads_only_columns_that_the_profile_has() -> None:
    assert set(profile()) <= {column.name for column in read_model(PROFILE).columns}


def test_the_newest_day_is_shown_unless_an_earlier_one_is_asked_for(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = pl.DataFrame([profile(), profile(as_of_on=EARLIER, value_label="steady")])
    for day in (DAY, EARLIER):
        lake.replace(PROFILE, rows.filter(pl.col("as_of_on") == day), where={"as_of_on": day})
    assert "as of the end of 2026-09-28" in page_of(lake, "p1")
    assert "Value group: steady" in page_of(lake, "p1", as_of=date(2026, 9, 22))
    with pytest.raises(NoProfileError, match="p2 has no profile: unknown, erased, or without a consent"):
        page_of(lake, "p2")


def test_a_lake_without_profiles_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NoProfileError, match="Run the job retrain"):
        page_of(Lake(tmp_path), "p1")


@pytest.mark.parametrize("one", TABLE_PICTURES, ids=lambda one: one.table)
def test_every_picture_belongs_to_a_sql_table_and_draws_from_its_columns(one: Any, tmp_path: Path) -> None:
    assert picture_of(one.table) is one
    columns = {column.name for column in read_model(one.table).columns}
    row = {c: "steady" if c.endswith("_label") else DAY if c.endswith("_on") else 1.0 for c in columns}
    figure = one.draw(pl.DataFrame([row]).with_columns(pl.col("people").cast(pl.Int64)))
    figure.savefig(tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 3000


def test_a_group_of_whom_nobody_was_scored_has_no_bar() -> None:
    rows = {column: [100.0, 50.0] for column, _, _ in PANELS}
    rows |= {"value_label": ["high value", "dormant"], "people": [100, 50], "mean_lapse_risk_share": [0.2, None]}
    figure = groups_beside_each_other(pl.DataFrame(rows))
    (panel,) = [axes for axes in figure.axes if axes.get_title() == "lapse risk, %"]
    assert [text.get_text().strip() for text in panel.texts] == ["20", "–"]


def test_a_picture_with_chinese_words_is_written_in_a_font_that_has_them_or_without_a_warning_per_letter(
    tmp_path: Path,
) -> None:
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    figure = Figure()
    text = figure.text(0.5, 0.5, "健康")
    with warnings.catch_warnings(), chinese_letters():
        warnings.simplefilter("error", ResourceWarning)
        figure.savefig(tmp_path / "drawn.png")
        used = font_manager.get_font(font_manager.findfont(text.get_fontproperties())).family_name
    installed = set(font_manager.fontManager.get_font_names()) & set(CHINESE)
    assert (used in CHINESE) == bool(installed)
