"""Files that leave: only who is contacted, only what the firm must know, safe to open in a spreadsheet."""

import csv
import io
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.exports import Checked, ExportError, check_again, firm_rows, spreadsheet_csv, write_exports
from xmkt_assets_tests.platform_helper import CAMPAIGN, Platform, finished_platform

SECRET = b"s" * 32
KINDS = dict.fromkeys(
    ("person_id", "arm", "user_id", "customer_id", "course_id", "product_id", "channel", "reason"), pl.String
)


def listed(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=KINDS, orient="row")


ANN = ("p1", "treatment", "u1", "k1", "c1", "s1", "app_push", "likes 烹饪")
BEA = ("p2", "treatment", None, "k2", "c1", "s2", "app_push", "=1+1")
CLEO = ("p3", "control", "u3", "k3", "c1", "s1", "app_push", "held out")
DEE = ("p4", "treatment", "u4", None, "c2", "s1", "sms", "r")
EVERYBODY = pl.DataFrame({"person_id": ["p1", "p2", "p3", "p4"]})
NOBODY = pl.DataFrame(schema={"person_id": pl.String, "channel": pl.String})


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))


def test_the_held_out_and_those_who_withdrew_or_opted_out_since_are_left_out() -> None:
    everyone = listed(ANN, BEA, CLEO, DEE)
    assert check_again(everyone, allowed=EVERYBODY, refused=NOBODY).listed["person_id"].to_list() == ["p1", "p2", "p4"]
    without_ann = check_again(everyone, allowed=EVERYBODY.filter(pl.col("person_id") != "p1"), refused=NOBODY)
    assert (without_ann.listed["person_id"].to_list(), without_ann.withdrawn) == (["p2", "p4"], 1)
    said_no = pl.DataFrame({"person_id": ["p1", "p2", "p4"], "channel": ["all", "sms", "sms"]})
    assert check_again(everyone, allowed=EVERYBODY, refused=said_no).listed["person_id"].to_list() == ["p2"]


def test_each_firm_is_told_of_its_own_accounts_only_and_nothing_else_of_the_person(tmp_path: Path) -> None:
    checked = Checked(listed(ANN, BEA, DEE), 0)
    done = write_exports(tmp_path, checked.listed, campaign_id="spring", secret=SECRET)
    assert [(d.file, d.rows) for d in done] == [
        ("exports/spring/course_platform.csv", 2),
        ("exports/spring/insurer.csv", 2),
    ]
    course = rows_of(tmp_path / done[0].file)
    assert list(course[0]) == ["user_id", "pseudonym", "course_id", "product_id", "channel", "reason"]
    assert [r["user_id"] for r in course] == ["u1", "u4"]
    insurer = (tmp_path / done[1].file).read_bytes().decode("utf-8-sig")
    assert not any(word in insurer for word in ("p1", "u1", "treatment", "p2"))


def test_the_pseudonym_is_one_for_both_firms_and_another_in_the_next_campaign() -> None:
    people = listed(ANN)
    one, other = (
        firm_rows(people, partner=p, campaign_id="spring", secret=SECRET)["pseudonym"][0]
        for p in ("course_platform", "insurer")
    )
    next_one = firm_rows(people, partner="insurer", campaign_id="summer", secret=SECRET)["pseudonym"][0]
    assert one == other != next_one


def test_a_file_is_replaced_as_a_whole_and_an_empty_one_keeps_its_header(tmp_path: Path) -> None:
    write_exports(tmp_path, listed(ANN), campaign_id="spring", secret=SECRET)
    (done, _) = write_exports(tmp_path, listed(), campaign_id="spring", secret=SECRET)
    text = (tmp_path / done.file).read_bytes()
    assert text == b'\xef\xbb\xbf"user_id","pseudonym","course_id","product_id","channel","reason"\r\n'
    assert {p.name for p in (tmp_path / "exports" / "spring").iterdir()} == {"course_platform.csv", "insurer.csv"}


@pytest.mark.parametrize("campaign", ["../landing", "", "a/b", ".hidden", "Ä"])
def test_a_campaign_cannot_name_another_folder(tmp_path: Path, campaign: str) -> None:
    with pytest.raises(ExportError, match="cannot name a folder"):
        write_exports(tmp_path, listed(), campaign_id=campaign, secret=SECRET)
    assert list(tmp_path.iterdir()) == []


DANGEROUS = "=+-@\t\r\n＝＋－＠"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.sampled_from(f"{DANGEROUS}ab\"',;|王 1"), max_size=8), min_size=1, max_size=5))
def test_no_cell_begins_like_a_formula_and_taking_the_mark_off_gives_the_text_back(cells: list[str]) -> None:
    written = spreadsheet_csv(pl.DataFrame({"a": cells})).decode("utf-8-sig")
    read = [row[0] for row in csv.reader(io.StringIO(written, newline=""))][1:]
    assert not any(cell.startswith(tuple(DANGEROUS)) for cell in read)
    assert [c[1:] if c[:1] == "'" else c for c in read] == cells


# ── the platform ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return finished_platform(tmp_path_factory)


@pytest.mark.parametrize(("firm", "account"), [("course_platform", "user_id"), ("insurer", "customer_id")])
def test_planning_a_campaign_writes_the_treated_accounts_of_each_firm(
    platform: Platform, firm: str, account: str
) -> None:
    path = platform.home / "exports" / CAMPAIGN / f"{firm}.csv"
    wanted = platform.read(
        f"select {account} as account, course_id, product_id from campaigns.campaign_list "
        f"where campaign_id = $id and arm = 'treatment' and {account} is not null order by 1",
        id=CAMPAIGN,
    ).rows()
    assert len(wanted) > 20
    assert [(r[account], r["course_id"], r["product_id"]) for r in rows_of(path)] == wanted
    people = platform.read("select distinct person_id from staging.identities")["person_id"].to_list()
    assert not set(people) & set(path.read_text(encoding="utf-8-sig").replace('"', ",").split(","))


def test_the_materialisation_says_how_many_are_contacted(platform: Platform) -> None:
    event = platform.instance.get_latest_materialization_event(dg.AssetKey(["campaigns", "exports"]))
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    treated = platform.read("select count(*) as n from campaigns.campaign_list where arm = 'treatment'").item()
    assert (shown["people_contacted"].value, shown["people_left_out_since_the_list"].value) == (treated, 0)
