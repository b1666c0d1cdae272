"""Adapters: public research data as partner drops.

Made-up files in the published formats test the logic everywhere. The published files themselves are read where they
lie (XMKT_REAL_DATA, else ../shared/data beside the repository) and checked against published figures.
"""

import csv
import gzip
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.adapters import ADAPTERS, AdapterSummary, bruun, hahow, hillstrom
from xmkt_assets.adapters.__main__ import main
from xmkt_assets.adapters.drops import as_contract
from xmkt_assets.adapters.people import draw, draw_pairs
from xmkt_assets.contracts import Contract, ContractColumn, contracts

REAL_DATA = Path(os.environ.get("XMKT_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
PLACES = [
    "insurer/policies",
    "insurer/customers",
    "insurer/products",
    "insurer/product_eligibility",
    "insurer/consents",
    "course_platform/users",
    "course_platform/courses",
    "course_platform/course_orders",
    "course_platform/consents",
    "course_platform/campaign_events",
]
POLARS_TYPES = {
    "string": pl.String,
    "integer": pl.Int64,
    "number": pl.Float64,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "timestamp": pl.Datetime("us"),
}


class Drops(NamedTuple):
    landing: Path
    summaries: Mapping[str, AdapterSummary]


def write_all(data: Path, landing: Path) -> Drops:
    summaries = [write_drops(data, landing) for write_drops in ADAPTERS]
    return Drops(landing, {summary.dataset: summary for summary in summaries})


def read(landing: Path, place: str, *, dataset: str = "*") -> pl.DataFrame:
    """Rows of a feed and, as column dt, the day of their folder."""
    return pl.read_parquet(landing / place / "dt=*" / f"{dataset}.parquet", hive_partitioning=True)


def contents(landing: Path) -> dict[str, bytes]:
    return {str(p.relative_to(landing)): p.read_bytes() for p in landing.rglob("*") if p.is_file()}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(text)


def write_csv(path: Path, header: str, *lines: str) -> None:
    write(path, "\n".join([header, *lines]) + "\n")


def make_bruun(folder: Path) -> None:
    write_csv(
        folder / "purchase_events_train.csv.gz",
        "event_id,user_id,event_time,valid,item_id",
        "1,11,2018-10-01 07:42:23,0,item_15",
        "1,11,2018-10-01 07:42:23,0,item_2",
        "2,12,2018-10-01 23:59:59,0,item_2",
        "3,11,2018-10-03 00:00:00,1,item_2",
    )
    write_csv(
        folder / "purchase_events_test.csv.gz", "event_id,user_id,event_time,item_id", "4,13,2018-10-04 09:00:00,item_9"
    )
    write_csv(folder / "filter_test.csv.gz", "event_id,item_id", "4,item_2", "4,item_9")


def make_hahow(folder: Path) -> None:
    write_csv(folder / "val_seen.csv", "user_id,course_id", "anna,c1 c2", "bo,c1")
    write_csv(folder / "val_unseen.csv", "user_id,course_id", "chen,c3", "dai,c2")
    write_csv(
        folder / "processed_val_group_2.csv.gz",
        "user_id,interests,英文",
        'anna,"性別:female,職業:金融業,服務業,興趣:語言_英文,程式_AI 人工智慧,喜好:閱讀",1',
        'bo,"興趣:語言_英文",0',
    )
    write_csv(folder / "train_group.csv.gz", "user_id,subgroup", "anna,2 7", "bo,", "someone_else,2")
    write_csv(
        folder / "subgroups.csv",
        '"subgroup_id","subgroup_name","subgroup_description"',
        '2,"AI人工智慧","…"',
        '7,"理財","…"',
    )
    write(folder / "course_feature_map.json", json.dumps({"語言": 1, "英文": 2, "AI 人工智慧": 3}))
    courses = [
        {"course_id": "c1", "unique_id": 1, "feature": [1, 2, 0, 5, 20]},
        {"course_id": "c2", "unique_id": 2, "feature": [1, 0, 3, 4, 0]},
        {"course_id": "c3", "unique_id": 3, "feature": [0, 0, 0, 9, 0]},
        {"course_id": "c4", "unique_id": 4, "feature": [1, 0, 0, 4, 0]},
    ]
    write(folder / "courses_with_feature_price_teacher.json.gz", json.dumps(courses))
    write_csv(
        folder / "course_chapter_items.csv.gz",
        "course_id,chapter_no,chapter_id,chapter_name,chapter_item_id,chapter_item_no,chapter_item_name,"
        "chapter_item_type,video_length_in_seconds",
        "c1,10,x,文法,i4,1,時態,LECTURE,120",
        "c1,2,x,發音,i3,2,母音,LECTURE,",
        "c1,2,x,發音,i2,1,子音,LECTURE,30",
        "c1,2,x,發音,i5,3,作業,ASSIGNMENT,999",
        "c1,1,x,前言,i1,1,關於老師,LECTURE,7",
        "c2,1,x,本課程不分章節,i6,1,課程介紹,LECTURE,10",
        "c2,1,x,本課程不分章節,i7,2,神經網路,LECTURE,20",
        f"c4,1,x,長,i8,1,{'字' * 3000},LECTURE,20",
    )


def make_hillstrom(folder: Path) -> None:
    write_csv(
        folder / "hillstrom.csv.gz",
        "recency,history_segment,history,mens,womens,zip_code,newbie,channel,treatment,conversion,visit,spend",
        "10,2) $100 - $200,142.44,1,0,Surburban,0,Phone,Womens E-Mail,0,0,0.0",
        "10,2) $100 - $200,142.44,1,0,Surburban,0,Phone,Womens E-Mail,0,0,0.0",
        '6,"7) $1,000 +",1329.08,1,1,Rural,1,Web,No E-Mail,0,1,0.0',
        "7,2) $100 - $200,180.65,0,1,Urban,1,Multichannel,Mens E-Mail,1,1,29.99",
    )


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    make_bruun(folder / "insurance_bruun")
    make_hahow(folder / "hahow")
    make_hillstrom(folder / "hillstrom")
    return folder


@pytest.fixture(scope="session")
def made_up(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Drops:
    return write_all(published, tmp_path_factory.mktemp("made_up") / "landing")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Drops:
    if not (REAL_DATA / "insurance_bruun").is_dir():
        pytest.skip(f"the public research data are not in {REAL_DATA}; set XMKT_REAL_DATA to their folder")
    return write_all(REAL_DATA, tmp_path_factory.mktemp("real") / "landing")


@pytest.fixture(params=["made_up", "real"])
def drops(request: pytest.FixtureRequest) -> Drops:
    found: Drops = request.getfixturevalue(request.param)
    return found


# --- every feed of every data set -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_files_have_every_column_of_the_contract_in_its_type(drops: Drops, place: str) -> None:
    wanted = {c.name: POLARS_TYPES[c.logical_type] for c in contracts()[place.split("/")[1]].columns}
    for path in drops.landing.glob(f"{place}/dt=*/*.parquet"):
        assert dict(pl.read_parquet_schema(path)) == wanted, path


@pytest.mark.parametrize("place", PLACES)
def test_values_are_what_the_contract_allows(drops: Drops, place: str) -> None:
    rows, contract = read(drops.landing, place), contracts()[place.split("/")[1]]
    assert place.removesuffix(f"/{contract.feed}") in contract.partners
    assert not rows.select(contract.key).is_duplicated().any()
    for column in contract.columns:
        values = rows[column.name].drop_nulls()
        assert not column.is_required or values.len() == rows.height, column.name
        assert not column.valid_values or set(values) <= set(column.valid_values), column.name
        assert not column.pattern or values.str.contains(column.pattern).all(), column.name
        assert column.minimum is None or (values >= column.minimum).all(), column.name
        assert column.maximum is None or (values <= column.maximum).all(), column.name


@pytest.mark.parametrize("place", PLACES)
def test_rows_lie_in_the_folder_of_their_day(drops: Drops, place: str) -> None:
    contract = contracts()[place.split("/")[1]]
    rows = read(drops.landing, place)
    when = contract.event_time or contract.version_by
    assert (rows[when].dt.date() == rows["dt"]).all()


def test_the_landing_folder_holds_nothing_but_the_files_of_the_summaries(drops: Drops) -> None:
    found = [path.relative_to(drops.landing) for path in drops.landing.rglob("*") if path.is_file()]
    assert len(found) == sum(summary.files for summary in drops.summaries.values())
    assert {path.parts[0] + "/" + path.parts[1] for path in found} == set(PLACES)
    for summary in drops.summaries.values():
        days = {path.parts[2] for path in found if path.name == f"{summary.dataset}.parquet"}
        assert (min(days), max(days)) == (f"dt={summary.first_on}", f"dt={summary.last_on}")
        for place, count in summary.rows.items():
            assert read(drops.landing, place, dataset=summary.dataset).height == count


def test_the_same_seed_writes_the_same_bytes(published: Path, made_up: Drops, tmp_path: Path) -> None:
    assert contents(write_all(published, tmp_path).landing) == contents(made_up.landing)


def test_the_same_seed_writes_the_same_bytes_of_published_data(real: Drops, tmp_path: Path) -> None:
    again = write_all(REAL_DATA, tmp_path)
    assert again.summaries == real.summaries
    assert contents(again.landing) == contents(real.landing)


# --- Bruun ------------------------------------------------------------------------------------------------------


def test_each_bought_item_is_an_issued_policy_of_its_event(made_up: Drops) -> None:
    rows = read(made_up.landing, "insurer/policies").sort("policy_event_id")
    assert rows.select("policy_event_id", "order_id", "customer_id", "product_id", "occurred_at").rows() == [
        ("1-item_15", "1", "b11", "item_15", datetime(2018, 10, 1, 7, 42, 23)),
        ("1-item_2", "1", "b11", "item_2", datetime(2018, 10, 1, 7, 42, 23)),
        ("2-item_2", "2", "b12", "item_2", datetime(2018, 10, 1, 23, 59, 59)),
        ("3-item_2", "3", "b11", "item_2", datetime(2018, 10, 3)),
        ("4-item_9", "4", "b13", "item_9", datetime(2018, 10, 4, 9)),
    ]
    assert set(rows["event"]) == {"issued"}
    assert rows["premium_fen"].is_null().all()


def test_customers_are_delivered_once_on_the_day_of_their_first_purchase(made_up: Drops) -> None:
    rows = read(made_up.landing, "insurer/customers").sort("customer_id")
    assert rows.select("customer_id", "became_customer_at", "dt").rows() == [
        ("b11", datetime(2018, 10, 1, 7, 42, 23), date(2018, 10, 1)),
        ("b12", datetime(2018, 10, 1, 23, 59, 59), date(2018, 10, 1)),
        ("b13", datetime(2018, 10, 4, 9), date(2018, 10, 4)),
    ]


def test_eligibility_takes_customer_and_time_from_its_event(made_up: Drops) -> None:
    rows = read(made_up.landing, "insurer/product_eligibility").sort("product_id")
    assert rows.drop("dt").rows() == [
        ("4", "item_2", "b13", datetime(2018, 10, 4, 9)),
        ("4", "item_9", "b13", datetime(2018, 10, 4, 9)),
    ]


def test_eligibility_of_an_unknown_event_is_refused(published: Path, tmp_path: Path) -> None:
    make_bruun(tmp_path / "insurance_bruun")
    make_hahow(tmp_path / "hahow")
    write_csv(tmp_path / "insurance_bruun" / "filter_test.csv.gz", "event_id,item_id", "99,item_2")
    with pytest.raises(ValueError, match=r"product_eligibility has empty values in required columns: .*customer_id"):
        bruun.write_drops(tmp_path, tmp_path / "landing")
    assert not (tmp_path / "landing").exists()


def test_products_say_that_they_are_anonymous(made_up: Drops) -> None:
    rows = read(made_up.landing, "insurer/products").sort("product_id")
    assert rows["product_id"].to_list() == rows["product_name"].to_list() == ["item_15", "item_2", "item_9"]
    assert set(rows["product_class"]) == {"unknown"}
    assert rows["description"].str.contains("Anonymous").all()
    assert rows["is_on_sale"].all()
    assert rows.select("topics", "min_age", "max_age", "min_annual_income_fen").null_count().row(0) == (3, 3, 3, 3)


# --- Hahow ------------------------------------------------------------------------------------------------------


def test_a_user_has_one_order_of_all_courses_on_one_assigned_date(made_up: Drops) -> None:
    rows = read(made_up.landing, "course_platform/course_orders").sort("user_id", "course_id")
    assert rows.select("order_id", "user_id", "course_id").rows() == [
        ("dateassigned-anna", "anna", "c1"),
        ("dateassigned-anna", "anna", "c2"),
        ("dateassigned-bo", "bo", "c1"),
        ("dateassigned-chen", "chen", "c3"),
        ("dateassigned-dai", "dai", "c2"),
    ]
    assert rows["ordered_at"][0] == rows["ordered_at"][1]
    assert rows["paid_fen"].to_list() == [2, 1, 2, 6, 1]


@settings(max_examples=20, deadline=None)
@given(days=st.integers(1, 5), seed=st.integers(0, 10))
def test_order_dates_fall_on_every_day_of_the_window_and_on_no_other(days: int, seed: int) -> None:
    purchases = pl.DataFrame({"user_id": [f"u{n}" for n in range(80)], "course_id": ["c"] * 80})
    catalogue = pl.DataFrame({"course_id": ["c"], "price_fen": [3]})
    window = [date(2020, 2, 27) + timedelta(days=n) for n in range(days)]
    orders = hahow.course_orders(purchases, catalogue, first_on=window[0], last_on=window[-1], seed=seed)
    # Of 5 days one stays empty with probability .8 ** 80 < 2e-8.
    assert sorted(set(orders["ordered_at"].dt.date())) == window


def test_days_in_the_wrong_order_are_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"first_on to last_on, got 2020-01-02 to 2020-01-01\. Swap them\.$"):
        hahow.write_drops(published, tmp_path, first_on=date(2020, 1, 2), last_on=date(2020, 1, 1))


def test_another_date_seed_moves_orders_and_leaves_no_file_behind(published: Path, tmp_path: Path) -> None:
    hahow.write_drops(published, tmp_path, date_seed=1)
    before = read(tmp_path, "course_platform/course_orders").sort("order_line_id")
    someone_elses = tmp_path / "course_platform" / "course_orders" / f"dt={before['dt'][0]}" / "partner.parquet"
    someone_elses.write_bytes(b"not ours")
    summary = hahow.write_drops(published, tmp_path, date_seed=2)
    after = read(tmp_path, "course_platform/course_orders", dataset="hahow").sort("order_line_id")
    assert (before["ordered_at"] != after["ordered_at"]).all()
    assert after.select("order_line_id", "course_id").equals(before.select("order_line_id", "course_id"))
    assert someone_elses.read_bytes() == b"not ours"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == summary.files + 1
    assert all(any(folder.iterdir()) for folder in tmp_path.glob("*/*/dt=*"))


def test_courses_are_described_by_tags_and_headings(made_up: Drops) -> None:
    rows = {row["course_id"]: row for row in read(made_up.landing, "course_platform/courses").iter_rows(named=True)}
    titles = {course_id: row["title"] for course_id, row in rows.items()}
    # c1: headings of chapters 2 and 10, in the order of their numbers; c2: its chapter says nothing, so its lecture.
    assert titles == {"c1": "英文：發音、文法", "c2": "AI人工智慧：神經網路", "c3": "未分類", "c4": "語言：長"}
    assert {course_id: row["topics"] for course_id, row in rows.items()} == {
        "c1": "英文|語言",
        "c2": "AI人工智慧|語言",
        "c3": "未分類",
        "c4": "語言",
    }
    assert [rows[f"c{n}"]["price_fen"] for n in (1, 2, 3, 4)] == [2, 1, 6, 1]
    assert [rows[f"c{n}"]["teacher_id"] for n in (1, 2, 3, 4)] == ["teacher_20", None, None, None]
    assert [rows[f"c{n}"]["duration_seconds"] for n in (1, 2, 3, 4)] == [7 + 30 + 120, 30, None, 20]
    assert rows["c1"]["description"].startswith("關於老師 / 子音 / 母音 / 時態 [Title made of")
    assert "Price band 2 of 6" in rows["c1"]["description"]
    assert len(rows["c4"]["description"]) == 2000
    assert rows["c4"]["description"].endswith("is not money.]")


def test_users_state_interests_first_and_topic_history_after(made_up: Drops) -> None:
    rows = read(made_up.landing, "course_platform/users", dataset="hahow").sort("user_id")
    assert rows.select("user_id", "gender", "occupation", "interests").rows() == [
        ("anna", "female", "金融業|服務業", "英文|AI人工智慧|理財"),
        ("bo", None, None, "英文"),
        ("chen", None, None, None),
        ("dai", None, None, None),
    ]


def test_a_profile_keeps_hobbies_apart_from_interests() -> None:
    found = hahow.read_profile("性別:male,興趣:投資理財_理財,手作_刺繡,喜好:閱讀,貓派")
    assert found == hahow.Profile("male", (), ("理財", "刺繡"), ("閱讀", "貓派"))


def test_a_profile_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"begins with '金融業'; wanted one of the labels"):
        hahow.read_profile("金融業,興趣:投資理財_理財")


# --- the synthetic link -----------------------------------------------------------------------------------------


def linked_pairs(landing: Path) -> pl.DataFrame:
    users = read(landing, "course_platform/users").select("user_id", "phone_hash", "link_is_synthetic")
    customers = read(landing, "insurer/customers").select("customer_id", "phone_hash", "link_is_synthetic")
    return users.join(customers, on="phone_hash", suffix="_there")


def test_linked_people_and_only_they_share_a_hash_and_say_that_it_is_synthetic(drops: Drops) -> None:
    pairs = linked_pairs(drops.landing)
    users = read(drops.landing, "course_platform/users", dataset="hahow")
    customers = read(drops.landing, "insurer/customers")
    assert pairs.height == round(0.3 * users.height) > 0
    assert set(users.filter("link_is_synthetic")["user_id"]) == set(pairs["user_id"])
    assert set(customers.filter("link_is_synthetic")["customer_id"]) == set(pairs["customer_id"])
    for side in (users, customers):
        assert side["phone_hash"].n_unique() == side.height


def test_consents_name_the_people_whose_link_is_synthetic(drops: Drops) -> None:
    pairs = linked_pairs(drops.landing)
    linked = {"insurer": set(pairs["customer_id"]), "course_platform": set(pairs["user_id"])}
    for partner, people in linked.items():
        consents = read(drops.landing, f"{partner}/consents")
        assert set(consents["source"]) == {"research_data"}
        named = consents.filter(pl.col("notice_version") == "public-research-data;synthetic-link")
        assert set(named["subject_id"]) == people
        assert set(consents["notice_version"]) == {"public-research-data", "public-research-data;synthetic-link"}


def test_people_of_both_firms_consent_to_every_purpose_on_the_first_day(made_up: Drops) -> None:
    for place, dataset, people in (("insurer", "bruun", 3), ("course_platform", "hahow", 4)):
        consents = read(made_up.landing, f"{place}/consents", dataset=dataset)
        assert consents["purpose"].value_counts().sort("purpose").rows() == [
            ("joint_marketing", people),
            ("measurement", people),
            ("profiling", people),
            ("sensitive_profiling", people),
        ]
        assert set(consents["decided_at"]) == {datetime(2018, 10, 1)}


@settings(max_examples=25, deadline=None)
@given(
    users=st.sets(st.text(min_size=1), max_size=20),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    seed=st.integers(),
)
def test_pairs_are_one_to_one_and_a_larger_share_keeps_the_pairs_of_a_smaller(
    users: set[str], shares: list[float], seed: int
) -> None:
    customers = [f"b{n}" for n in range(20)]
    fewer, more = (draw_pairs(users, customers, share=share, seed=seed) for share in shares)
    assert len(set(more.values())) == len(more) == round(shares[1] * len(users))
    assert set(more.values()) <= users
    assert set(more) <= set(customers)
    assert fewer.items() <= more.items()


def test_another_seed_draws_other_pairs() -> None:
    users, customers = [f"u{n}" for n in range(200)], [f"b{n}" for n in range(200)]
    first, second = (set(draw_pairs(users, customers, share=1.0, seed=seed).items()) for seed in (1, 2))
    # Two random matchings of 200 agree in 1 pair on average (Poisson); more than 10 has probability 1e-8.
    assert len(first & second) <= 10


def test_more_pairs_than_customers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"asks for 4 pairs of 4 users and 2 customers\. Choose .* 0 and 0\.500\.$"):
        draw_pairs("abcd", "xy", share=1.0, seed=1)


def test_draws_are_uniform() -> None:
    counts = [0] * 10
    for n in range(10_000):
        counts[draw(f"key {n}", seed=3) * 10 >> 64] += 1
    # 1,000 expected in each tenth, standard deviation 30.
    assert all(abs(count - 1_000) < 150 for count in counts)


# --- Hillstrom --------------------------------------------------------------------------------------------------


def test_each_line_is_a_person_with_its_own_events_and_equal_lines_stay(made_up: Drops) -> None:
    rows = read(made_up.landing, "course_platform/campaign_events").sort("subject_id", "occurred_at")
    assert rows.select("subject_id", "event", "arm", "channel", "occurred_at", "amount_fen", "currency").rows() == [
        ("h1", "assignment", "womens_email", None, datetime(2020, 6, 1), None, None),
        ("h1", "exposure", None, "email", datetime(2020, 6, 1, 8), None, None),
        ("h2", "assignment", "womens_email", None, datetime(2020, 6, 1), None, None),
        ("h2", "exposure", None, "email", datetime(2020, 6, 1, 8), None, None),
        ("h3", "assignment", "control", None, datetime(2020, 6, 1), None, None),
        ("h3", "visit", None, None, datetime(2020, 6, 2, 12), None, None),
        ("h4", "assignment", "mens_email", None, datetime(2020, 6, 1), None, None),
        ("h4", "exposure", None, "email", datetime(2020, 6, 1, 8), None, None),
        ("h4", "visit", None, None, datetime(2020, 6, 2, 12), None, None),
        ("h4", "conversion", None, None, datetime(2020, 6, 2, 13), 2999, "USD"),
    ]


def test_assignments_carry_what_was_known_before(made_up: Drops) -> None:
    rows = read(made_up.landing, "course_platform/campaign_events").filter(pl.col("event") == "assignment")
    assert rows.sort("subject_id")["score"].to_list() == [142.44, 142.44, 1329.08, 180.65]
    assert set(rows["assignment_share"]) == {1 / 3}
    known = rows.filter(pl.col("subject_id") == "h4")["covariates"].item()
    assert json.loads(known) == {
        "recency": 7,
        "history": 180.65,
        "mens": 0,
        "womens": 1,
        "zip_code": "Urban",
        "newbie": 1,
        "channel": "Multichannel",
    }


def test_experiment_people_consent_to_measurement_alone_and_have_no_identifiers(drops: Drops) -> None:
    consents = read(drops.landing, "course_platform/consents", dataset="hillstrom")
    users = read(drops.landing, "course_platform/users", dataset="hillstrom")
    assert set(consents["purpose"]) == {"measurement"}
    assert sorted(consents["subject_id"]) == sorted(users["user_id"])
    assert users["phone_hash"].is_null().all()
    assert not users["link_is_synthetic"].any()


def test_the_date_of_the_experiment_is_an_argument(published: Path, tmp_path: Path) -> None:
    summary = hillstrom.write_drops(published, tmp_path, assigned_on=date(2019, 12, 31))
    assert (summary.first_on, summary.last_on) == (date(2019, 12, 31), date(2020, 1, 1))


def test_an_unknown_arm_is_refused(tmp_path: Path) -> None:
    make_hillstrom(tmp_path / "hillstrom")
    path = tmp_path / "hillstrom" / "hillstrom.csv.gz"
    write(path, gzip.decompress(path.read_bytes()).decode().replace("Mens E-Mail", "Letter"))
    with pytest.raises(ValueError, match=r"arms \['Letter'\]; wanted only \['Womens E-Mail'"):
        hillstrom.write_drops(tmp_path, tmp_path / "landing")


# --- writing ----------------------------------------------------------------------------------------------------


def test_an_interrupted_write_leaves_the_earlier_file_whole(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hillstrom.write_drops(published, tmp_path)
    before = contents(tmp_path)

    def stop(frame: pl.DataFrame, file: Path) -> None:
        file.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", stop)
    with pytest.raises(OSError, match="disk full"):
        hillstrom.write_drops(published, tmp_path)
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    # What is left over begins with a dot, which the loader passes over.
    assert all(Path(name).name.startswith(".") for name in after.keys() - before.keys())


def test_a_missing_file_is_named_with_the_folder_to_give(tmp_path: Path) -> None:
    for write_drops in ADAPTERS:
        with pytest.raises(
            FileNotFoundError, match=r"(gz|csv) is missing\. .*give that folder as the data argument\.$"
        ):
            write_drops(tmp_path, tmp_path / "landing")


CONTRACT = Contract(
    feed="made_up",
    version="1.0.0",
    description="",
    partners=("insurer",),
    delivery="events",
    event_time="at",
    version_by=None,
    is_optional=False,
    columns=(
        ContractColumn("id", "string", "", is_key=True, is_required=True),
        ContractColumn("at", "timestamp", "", is_required=True),
        ContractColumn("note", "string", ""),
    ),
)


def test_columns_an_adapter_lacks_are_written_empty() -> None:
    rows = as_contract(pl.DataFrame({"at": [datetime(2020, 1, 1)], "id": ["a"]}), CONTRACT)
    assert rows.columns == ["id", "at", "note"]
    assert rows.rows() == [("a", datetime(2020, 1, 1), None)]


def test_a_column_the_contract_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match=r"made_up got columns \['when'\], but its contract has .*Rename or drop them"):
        as_contract(pl.DataFrame({"id": ["a"], "when": [datetime(2020, 1, 1)]}), CONTRACT)


def test_empty_values_in_a_required_column_are_refused() -> None:
    with pytest.raises(ValueError, match=r"made_up has empty values in required columns: \{'at': 2\}"):
        as_contract(pl.DataFrame({"id": ["a", "b"]}), CONTRACT)


def test_the_command_writes_to_the_landing_folder_and_prints_every_note(
    published: Path, made_up: Drops, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--data", str(published), "--home", str(tmp_path)])
    printed = capsys.readouterr().out
    assert contents(tmp_path / "landing") == contents(made_up.landing)
    for summary in made_up.summaries.values():
        assert summary.notes
        assert all(note in printed for note in summary.notes)
    assert "link_is_synthetic: 1 of 4 people" in printed
    assert "Order dates are assigned, not observed" in printed


# --- published figures ------------------------------------------------------------------------------------------


def test_bruun_counts_are_the_published_ones(real: Drops) -> None:
    purchases, eligibility = read(real.landing, "insurer/policies"), read(real.landing, "insurer/product_eligibility")
    tested = purchases.join(eligibility.select("order_id").unique(), on="order_id", how="semi")
    assert (purchases.height, tested.height) == (55_619 + 6_121, 6_121)
    assert purchases["customer_id"].n_unique() == read(real.landing, "insurer/customers").height == 44_434
    assert purchases["order_id"].n_unique() == 53_703
    assert read(real.landing, "insurer/products").height == 16
    assert eligibility.height == 58_338
    assert (real.summaries["bruun"].first_on, real.summaries["bruun"].last_on) == (date(2018, 10, 1), date(2020, 9, 30))


def test_popularity_computed_from_the_drops_scores_the_known_answer(real: Drops) -> None:
    purchases, eligibility = read(real.landing, "insurer/policies"), read(real.landing, "insurer/product_eligibility")
    earlier = purchases.join(eligibility, on="order_id", how="anti")
    counts = dict(earlier["product_id"].value_counts().iter_rows())
    bought = purchases.join(eligibility, on="order_id", how="semi").group_by("order_id").agg("product_id")
    allowed = dict(eligibility.group_by("order_id").agg("product_id").iter_rows())
    ranked = sorted(counts, key=lambda item: (-counts[item], int(item.removeprefix("item_"))))

    def first_hits(rankings: Callable[[str], Sequence[str]]) -> list[int]:
        return [min(rankings(order).index(item) for item in items) + 1 for order, items in bought.iter_rows()]

    free = first_hits(lambda order: ranked)
    within = first_hits(lambda order: [item for item in ranked if item in allowed[order]])
    assert len(free) == 5_376
    hit_rates = [round(sum(rank <= k for rank in free) / len(free), 4) for k in (1, 3, 5)]
    assert hit_rates == [0.3715, 0.6217, 0.7147]
    assert round(sum(1 / rank for rank in free if rank <= 5) / len(free), 4) == 0.4978
    assert round(sum(rank <= 3 for rank in within) / len(within), 4) == 0.6793


def test_hahow_counts_are_the_published_ones(real: Drops) -> None:
    orders, courses = read(real.landing, "course_platform/course_orders"), read(real.landing, "course_platform/courses")
    users = read(real.landing, "course_platform/users", dataset="hahow")
    assert (orders.height, orders["course_id"].n_unique()) == (17_817 + 19_618, 678)
    assert users.height == orders["user_id"].n_unique() == orders["order_id"].n_unique() == 19_370
    assert set(orders["user_id"]) == set(users["user_id"])
    assert courses.height == 728
    assert set(orders["course_id"]) <= set(courses["course_id"])
    assert users["interests"].is_not_null().sum() == 7_748
    assert users["occupation"].str.split("|").list.contains("金融業").sum() == 225
    assert courses["topics"].str.split("|").list.contains("投資理財").sum() == 52
    assert (orders["dt"].min(), orders["dt"].max()) == (date(2018, 10, 1), date(2020, 9, 30))


def test_course_length_is_the_length_of_its_lectures_without_assignments(real: Drops) -> None:
    with gzip.open(REAL_DATA / "hahow" / "course_chapter_items.csv.gz", "rt", encoding="utf-8") as file:
        items = [
            (item["course_id"], item["chapter_item_type"], int(item["video_length_in_seconds"] or 0))
            for item in csv.DictReader(file)
        ]
    assert round(sum(seconds for _, _, seconds in items) / 3600) == 3_642  # published, assignments included
    lengths: Counter[str] = Counter()
    for course_id, kind, seconds in items:
        lengths[course_id] += seconds if kind == "LECTURE" else 0
    courses = read(real.landing, "course_platform/courses")
    found = dict(courses.select("course_id", "duration_seconds").drop_nulls().iter_rows())
    assert found == lengths


def test_interests_and_course_topics_are_one_vocabulary(real: Drops) -> None:
    words = pl.col("word").str.split("|").explode(empty_as_null=False)
    stated = read(real.landing, "course_platform/users").select(pl.col("interests").alias("word")).drop_nulls()
    offered = read(real.landing, "course_platform/courses").select(pl.col("topics").alias("word"))
    strangers = set(stated.select(words)["word"]) - set(offered.select(words)["word"])
    # Topics that people state and no course of the catalogue carries.
    assert strangers <= {"西班牙文", "篆刻", "更多投資理財", "比特幣"}


def test_hillstrom_arms_have_the_published_sizes(real: Drops) -> None:
    events = read(real.landing, "course_platform/campaign_events")
    assigned = events.filter(pl.col("event") == "assignment")
    assert dict(assigned["arm"].value_counts().iter_rows()) == {
        "womens_email": 21_387,
        "mens_email": 21_307,
        "control": 21_306,
    }
    assert assigned["subject_id"].n_unique() == 64_000
    exposed = events.filter(pl.col("event") == "exposure").join(assigned, on="subject_id", suffix="_assigned")
    assert dict(exposed["arm_assigned"].value_counts().iter_rows()) == {"womens_email": 21_387, "mens_email": 21_307}


# Percentage points, percentage points, dollars: (effect, standard error) as published in the data README.
PUBLISHED_EFFECTS = {
    "womens_email": {"visit": (4.52, 0.323), "conversion": (0.311, 0.082), "spend": (0.424, 0.130)},
    "mens_email": {"visit": (7.66, 0.339), "conversion": (0.681, 0.092), "spend": (0.770, 0.145)},
}


@pytest.mark.parametrize("arm", PUBLISHED_EFFECTS)
def test_hillstrom_effects_computed_from_the_drops_are_the_published_ones(real: Drops, arm: str) -> None:
    events = read(real.landing, "course_platform/campaign_events")
    outcomes = events.group_by("subject_id").agg(
        pl.col("arm").drop_nulls().first(),
        visit=100.0 * (pl.col("event") == "visit").sum(),
        conversion=100.0 * (pl.col("event") == "conversion").sum(),
        spend=pl.col("amount_fen").sum() / 100,
    )
    treated, control = (outcomes.filter(pl.col("arm") == name) for name in (arm, "control"))
    for outcome, (effect, error) in PUBLISHED_EFFECTS[arm].items():
        there, here = treated[outcome], control[outcome]
        assert there.mean() - here.mean() == pytest.approx(effect, abs=0.006 if outcome == "visit" else 0.0006), outcome
        found = (there.var() / there.len() + here.var() / here.len()) ** 0.5
        assert found == pytest.approx(error, abs=0.0006), outcome
