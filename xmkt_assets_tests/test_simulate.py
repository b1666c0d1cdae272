"""The simulator: same input same bytes, contracts kept, nothing private written, a truth that the files bear out."""

import gzip
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmkt_assets.contracts import contracts
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import load_feed
from xmkt_assets.simulate import (
    World,
    build_world,
    chance,
    load_world,
    permissions,
    save_truth,
    true_effects,
    write_days,
)
from xmkt_assets.simulate.__main__ import main
from xmkt_assets.simulate.calendar import NEVER, Calendar
from xmkt_assets.simulate.catalogue import TOPICS
from xmkt_assets.simulate.drops import DropSummary
from xmkt_assets.simulate.offers import read_offers
from xmkt_assets.simulate.people import contacts
from xmkt_assets.simulate.truth import potential_outcomes
from xmkt_assets.warehouse import Lake

START = date(2026, 7, 1)
LAUNCH = date(2026, 7, 25)
UNTIL = date(2026, 8, 13)
LAST = date(2026, 8, 19)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(people=1500, days=50, start_on=START, seed=11)


@pytest.fixture(scope="module")
def big_world() -> World:
    return build_world(people=8000, days=62, start_on=START, seed=5)


@pytest.fixture(scope="module")
def drops(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DropSummary]:
    landing = tmp_path_factory.mktemp("organic")
    return landing, write_days(world, landing, from_on=START, until_on=LAST)


@pytest.fixture(scope="module")
def treated_drops(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    landing = tmp_path_factory.mktemp("treated")
    write_days(world, landing, from_on=START, until_on=LAST, campaign=campaign_list(world, treated_share=1.0))
    return landing


def campaign_list(world: World, *, treated_share: float = 0.5, offer: str = "taste") -> pl.DataFrame:
    """Everybody a firm knows at launch, with an offer to their taste or at random."""
    people, launch = world.people, world.calendar.day_of(LAUNCH)
    at = np.flatnonzero((people.user_day < launch) | (people.customer_day < launch))
    draws = np.random.default_rng(3)
    course = world.tastes.course_match.argmax(axis=1) if offer == "taste" else draws.integers(0, 120, people.count)
    product = (world.tastes.product_match * world.tastes.may_buy).argmax(axis=1)
    return pl.DataFrame(
        {
            "campaign_id": ["autumn"] * len(at),
            "person_id": [f"person {i}" for i in at],
            "arm": np.where(draws.random(len(at)) < treated_share, "treatment", "control"),
            "course_id": [world.courses.course_id[course[i]] for i in at],
            "product_id": [world.products.product_id[product[i]] for i in at],
            "channel": ["sms"] * len(at),
            "user_id": [world.people.user_id[i] if people.user_day[i] < launch else None for i in at],
            "customer_id": [world.people.customer_id[i] if people.customer_day[i] < launch else None for i in at],
            "launched_on": [LAUNCH] * len(at),
            "outcome_until_on": [UNTIL] * len(at),
        }
    )


@pytest.fixture(scope="module")
def tangled_drops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DropSummary]:
    """Two dirty weeks of a strong campaign whose list took some people for two and some pairs of people for one."""
    world = build_world(people=1500, days=50, start_on=START, seed=11, campaign_effect=5.0)
    landing = tmp_path_factory.mktemp("tangled")
    days = {"from_on": LAUNCH, "until_on": LAUNCH + timedelta(days=13)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xmkt_assets.simulate.drops.DIRTY_SHARE", 0.03)
        return landing, write_days(world, landing, campaign=tangled_list(world), **days)


def tangled_list(world: World) -> pl.DataFrame:
    """`campaign_list`, all treated, in which a third of the people of both firms are listed once per account, and a
    third in pairs: the user account of one with the customer account of the other, their other accounts alone.
    """
    listed = campaign_list(world, treated_share=1.0)
    both = listed.drop_nulls(["user_id", "customer_id"])
    split, paired, alone = (both.gather_every(3, offset) for offset in range(3))
    first, second = paired.gather_every(2), paired.gather_every(2, 1).head(paired.height // 2)
    nobody = pl.lit(None, dtype=pl.String)
    other_product = pl.col("product_id").shift(1, fill_value=world.products.product_id[0])
    return pl.concat(
        [
            listed.filter(pl.col("user_id").is_null() | pl.col("customer_id").is_null()),
            split.with_columns(customer_id=nobody),
            split.with_columns(user_id=nobody, product_id=other_product),
            first.head(second.height).with_columns(second["customer_id"]),
            first.with_columns(user_id=nobody),
            second.with_columns(customer_id=nobody),
            alone,
        ]
    )


def fingerprints(landing: Path) -> dict[str, str]:
    return {str(p.relative_to(landing)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files_of(landing)}


def files_of(landing: Path, feed: str = "*") -> Iterator[Path]:
    return (p for p in sorted(landing.glob(f"*/{feed}/dt=*/*")) if p.is_file())


def day_of(path: Path) -> date:
    return date.fromisoformat(path.parent.name.removeprefix("dt="))


def rows_of(path: Path) -> pl.DataFrame:
    """The file as text columns, read without the writer's help."""
    if path.name.endswith(".parquet"):
        return pl.read_parquet(path).select(pl.all().cast(pl.String))
    content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    if path.name.endswith(".jsonl"):
        lines = [json.loads(line) for line in content.decode().splitlines()]
        return pl.DataFrame(
            [{k: None if v is None else str(v) for k, v in line.items()} for line in lines],
            schema=dict.fromkeys(lines[0], pl.String),
        )
    return pl.read_csv(content, infer_schema=False)


def feed_rows(landing: Path, feed: str) -> pl.DataFrame:
    return pl.concat([rows_of(p).with_columns(pl.lit(day_of(p)).alias("dt")) for p in files_of(landing, feed)])


# Determinism


def test_the_same_call_twice_writes_the_same_bytes(
    world: World, drops: tuple[Path, DropSummary], tmp_path: Path
) -> None:
    again = build_world(people=1500, days=50, start_on=START, seed=11)
    summary = write_days(again, tmp_path, from_on=START, until_on=LAST)
    assert fingerprints(tmp_path) == fingerprints(drops[0])
    assert summary == drops[1]


def test_a_day_written_alone_equals_the_same_day_written_in_a_range(
    world: World, drops: tuple[Path, DropSummary], tmp_path: Path
) -> None:
    write_days(world, tmp_path, from_on=LAUNCH, until_on=LAUNCH)
    in_range = {k: v for k, v in fingerprints(drops[0]).items() if f"dt={LAUNCH}" in k}
    assert fingerprints(tmp_path) == in_range
    assert len(in_range) > 5


def test_another_seed_gives_other_people() -> None:
    ids = [build_world(people=200, days=10, seed=seed).people.user_phone_hash for seed in (1, 2)]
    assert not (set(ids[0]) & set(ids[1])) - {None}


def test_days_before_the_launch_do_not_change_when_a_campaign_is_given(
    drops: tuple[Path, DropSummary], treated_drops: Path
) -> None:
    def before(landing: Path) -> dict[str, str]:
        return {k: v for k, v in fingerprints(landing).items() if k.split("dt=")[1][:10] < str(LAUNCH)}

    assert before(drops[0]) == before(treated_drops)
    assert fingerprints(drops[0]) != fingerprints(treated_drops)


def test_a_campaign_that_contacts_nobody_changes_no_file(
    world: World, drops: tuple[Path, DropSummary], tmp_path: Path
) -> None:
    write_days(world, tmp_path, from_on=START, until_on=LAST, campaign=campaign_list(world, treated_share=0.0))
    assert fingerprints(tmp_path) == fingerprints(drops[0])


def test_a_file_of_an_earlier_call_does_not_outlive_its_rows(world: World, tmp_path: Path) -> None:
    stale = tmp_path / "course_platform" / "courses" / f"dt={START + timedelta(days=1)}" / "courses.csv"
    stale.parent.mkdir(parents=True)
    stale.write_text("course_id\nc9999\n")
    write_days(world, tmp_path, from_on=START, until_on=START + timedelta(days=1))
    assert rows_of(stale).is_empty()
    assert tuple(rows_of(stale).columns) == contracts()["courses"].column_names


# Contracts and dirt


def test_every_feed_arrives_with_exactly_the_columns_of_its_contract(treated_drops: Path) -> None:
    seen = set()
    for path in files_of(treated_drops):
        partner, feed = path.relative_to(treated_drops).parts[:2]
        seen.add((partner, feed))
        assert tuple(rows_of(path).columns) == contracts()[feed].column_names, path
    promised = {(partner, c.feed) for c in contracts().values() for partner in c.partners if not c.is_optional}
    also = {(partner, "identifiers") for partner in ("course_platform", "insurer")}
    assert seen == promised | also


def test_every_kind_of_file_is_used_and_no_unfinished_file_is_left(treated_drops: Path) -> None:
    assert {p.name.split(".", 1)[1] for p in files_of(treated_drops)} == {"csv", "csv.gz", "parquet", "jsonl"}
    assert not list(treated_drops.rglob(".*"))


def test_the_only_faults_in_the_files_are_the_planted_ones(big_world: World, tmp_path: Path) -> None:
    days = (START + timedelta(days=5), START + timedelta(days=25))
    summary = write_days(big_world, tmp_path, from_on=days[0], until_on=days[1])
    found = dict.fromkeys(summary.planted_by_kind, 0)
    for feed in sorted({p.parent.parent.name for p in files_of(tmp_path)}):
        for kind, count in faults(feed_rows(tmp_path, feed), feed).items():
            found[kind] += count
    assert found == summary.planted_by_kind
    assert min(found.values()) > 0
    assert summary.planted == sum(found.values()) == pytest.approx(0.001 * summary.rows, rel=0.5)


def faults(rows: pl.DataFrame, feed: str) -> dict[str, int]:
    """Rows that break the contract, by the first fault found."""
    contract = contracts()[feed]
    found: dict[str, int] = {"duplicate": rows.height - rows.unique().height}
    missing = pl.any_horizontal(pl.col(c.name).is_null() for c in contract.columns if c.is_required)
    number = [c for c in contract.columns if c.logical_type in {"integer", "number"}]
    cast = {c.name: pl.col(c.name).cast(pl.Float64, strict=False) for c in number}
    no_number = pl.any_horizontal(pl.lit(False), *(pl.col(n).is_not_null() & e.is_null() for n, e in cast.items()))
    low = [cast[c.name] < c.minimum for c in number if c.minimum is not None]
    high = [cast[c.name] > c.maximum for c in number if c.maximum is not None]
    choices = [
        ~pl.col(c.name).is_in(c.valid_values) for c in contract.columns if c.valid_values and c.logical_type == "string"
    ]
    found["missing_value"] = rows.filter(missing).height
    found["wrong_type"] = rows.filter(no_number).height
    found["out_of_range"] = rows.filter(pl.any_horizontal(pl.lit(False), *low, *high, *choices)).height
    if contract.event_time:
        found["wrong_day"] = rows.filter(
            pl.col(contract.event_time).str.slice(0, 10) != pl.col("dt").cast(pl.String)
        ).height
    return found


def test_keys_are_unique_but_for_planted_duplicates(drops: tuple[Path, DropSummary]) -> None:
    for feed, contract in contracts().items():
        if contract.delivery == "events" and not contract.is_optional and feed != "campaign_events":
            rows = feed_rows(drops[0], feed).unique()
            assert rows.height == rows.unique(list(contract.key)).height, feed


@pytest.mark.parametrize("campaign", ["no campaign", "tangled campaign"])
def test_ids_of_events_repeat_in_planted_duplicates_only(
    campaign: str, drops: tuple[Path, DropSummary], tangled_drops: tuple[Path, DropSummary]
) -> None:
    landing, summary = drops if campaign == "no campaign" else tangled_drops
    repeated = {}
    for feed, contract in contracts().items():
        if contract.delivery == "events" and any(files_of(landing, feed)):
            ids = feed_rows(landing, feed).select("dt", *contract.key)
            repeated[feed] = ids.height - ids.n_unique()
            assert ids.drop("dt").n_unique() == ids.n_unique(), f"{feed}: one id on two days"
    assert sum(repeated.values()) == summary.planted_by_kind["duplicate"], repeated
    assert len(repeated) == (8 if campaign == "no campaign" else 9)


def test_a_person_listed_under_two_accounts_leaves_separate_traces(tangled_drops: tuple[Path, DropSummary]) -> None:
    events = feed_rows(tangled_drops[0], "campaign_events")
    credited = events.filter(pl.col("event") == "conversion")
    assert credited.height > 100
    assert credited.select("subject_id", "item_id", "occurred_at").is_unique().all()
    policies = feed_rows(tangled_drops[0], "policies").drop_nulls("customer_id")
    policies = policies.filter(~pl.col("policy_event_id").str.ends_with("x")).unique()
    assert policies.group_by("policy_id").agg(pl.col("customer_id", "product_id").n_unique()).select(
        pl.col("customer_id", "product_id").max()
    ).row(0) == (1, 1)
    issued = policies.filter(pl.col("event") == "issued").group_by("order_id", "dt")
    assert issued.len().height == policies.filter(pl.col("event") == "issued")["order_id"].n_unique()
    assert issued.len()["len"].max() == 2, "somebody must buy twice, else this shows nothing"


def test_loading_refuses_or_drops_exactly_the_planted_rows(
    tangled_drops: tuple[Path, DropSummary], tmp_path: Path
) -> None:
    landing, summary = tangled_drops
    events = {feed: contract for feed, contract in contracts().items() if contract.delivery == "events"}
    files = take_inventory(landing, contracts()).files
    ledgers = []
    with Lake(tmp_path).session() as session:
        for feed, contract in events.items():
            of_feed = [f for f in files if f.feed == feed]
            ledgers.append(load_feed(session, contract, of_feed, run_id="test", loaded_at=datetime(2026, 9, 1)).ledger)
    counted = pl.concat(ledgers).select("rows_quarantined", "rows_duplicate").sum().row(0)
    planted = summary.planted_by_kind
    assert counted == (summary.planted - planted["duplicate"], planted["duplicate"])
    assert min(planted.values()) > 5


def test_snapshots_are_full_on_the_first_day_and_only_changes_later(
    world: World, drops: tuple[Path, DropSummary]
) -> None:
    users = feed_rows(drops[0], "users").filter(~pl.col("user_id").str.starts_with("u9"))  # second accounts
    first = users.filter(pl.col("dt") == START)
    assert first.height == int((world.people.user_day < 0).sum())
    later = users.filter(pl.col("dt") > START)
    assert 0 < later.height < 0.4 * first.height
    known = later.join(first, on="user_id", suffix="_before")
    assert known.height > 0
    assert (known["updated_at"] > known["updated_at_before"]).all()


def test_nobody_acts_before_the_firm_knows_them(treated_drops: Path) -> None:
    users = feed_rows(treated_drops, "users").group_by("user_id").agg(pl.col("registered_at").min())
    customers = feed_rows(treated_drops, "customers").group_by("customer_id").agg(pl.col("became_customer_at").min())
    acts = (
        ("course_orders", "user_id", "ordered_at", users, "registered_at"),
        ("policies", "customer_id", "occurred_at", customers, "became_customer_at"),
    )
    for feed, who, when, register, since in acts:
        rows = feed_rows(treated_drops, feed).drop_nulls(who)
        rows = rows.filter(pl.col(when).str.slice(0, 10) == pl.col("dt").cast(pl.String))
        joined = rows.join(register, on=who, how="left")
        assert joined[since].null_count() == 0, feed
        assert (joined[since] < joined[when]).all(), feed


# Privacy


def test_no_phone_number_and_no_address_is_written_anywhere(world: World, treated_drops: Path) -> None:
    phones, emails = contacts(world.people.count, seed=world.seed)
    numbers = {p[-11:] for p in phones}
    for path in files_of(treated_drops):
        text = rows_of(path).write_csv()
        assert "@" not in text, path
        words = set(re.findall(r"(?<![0-9a-f])\d{11}(?![0-9a-f])", text))
        assert not words & numbers, path
    assert len(numbers) > 1000
    assert all("@" in e for e in emails)


def test_hashes_are_64_hexadecimal_digits_and_the_keyed_hash_of_the_contact(
    world: World, drops: tuple[Path, DropSummary]
) -> None:
    users = feed_rows(drops[0], "users")
    for column in ("phone_hash", "email_hash"):
        assert users[column].drop_nulls().str.contains("^[0-9a-f]{64}$").all()
    assert (users["phone_hash"].is_not_null() | users["email_hash"].is_not_null()).all()
    phones, _ = contacts(world.people.count, seed=world.seed)
    key = hashlib.sha256(b"simulated sharing agreement 11").digest()
    person = next(i for i, h in enumerate(world.people.user_phone_hash) if h)
    assert world.people.user_phone_hash[person] == hmac.new(key, phones[person].encode(), hashlib.sha256).hexdigest()


def test_most_but_not_all_people_of_both_firms_can_be_linked(big_world: World) -> None:
    people = big_world.people
    both = np.flatnonzero((people.user_day < 0) & (people.customer_day < 0))
    same_phone = [
        people.user_phone_hash[i] is not None and people.user_phone_hash[i] == people.customer_phone_hash[i]
        for i in both
    ]
    same_email = [
        people.user_email_hash[i] is not None and people.user_email_hash[i] == people.customer_email_hash[i]
        for i in both
    ]
    linkable = np.mean(np.array(same_phone) | np.array(same_email))
    assert 0.9 < linkable < 0.99
    assert len(set(people.user_phone_hash)) < 0.99 * people.count


# The world


def test_shares_lie_in_the_intended_bands(big_world: World) -> None:
    people = big_world.people
    is_user, is_customer = people.user_day < 0, people.customer_day < 0
    assert (is_user & is_customer).mean() == pytest.approx(0.26, abs=0.04)
    effects = true_effects(big_world, campaign_list(big_world))
    base = dict(zip(effects["metric"], effects["base"], strict=True))
    days = (UNTIL - LAUNCH).days + 1
    assert 0.09 < base["course_conversion_share"] * 30 / days < 0.15
    assert 0.02 < base["product_conversion_share"] * 30 / days < 0.04
    effect = dict(zip(effects["metric"], effects["true_effect"], strict=True))
    assert 0.02 < effect["course_conversion_share"] < 0.07
    assert 0.01 < effect["product_conversion_share"] < 0.035


def test_most_people_consent_and_some_withdraw_later(world: World, drops: tuple[Path, DropSummary]) -> None:
    consents = feed_rows(drops[0], "consents").filter(pl.col("subject_id").str.starts_with("u"))
    users = feed_rows(drops[0], "users")["user_id"].n_unique()
    for purpose in ("profiling", "joint_marketing", "measurement"):
        granted = consents.filter((pl.col("purpose") == purpose) & (pl.col("decision") == "granted"))
        assert 0.68 < granted["subject_id"].n_unique() / users < 0.88
    first = consents.filter(pl.col("decision") == "granted").select("subject_id", "purpose", "decided_at")
    left = consents.filter(pl.col("decision") == "withdrawn").join(
        first, on=["subject_id", "purpose"], suffix="_granted"
    )
    assert left.filter(pl.col("decided_at") > pl.col("decided_at_granted")).height > 5
    assert consents["expires_on"].drop_nulls().len() > 20


def test_claims_and_income_are_asked_about_apart_with_a_notice_of_their_own(world: World) -> None:
    for partner in ("course_platform", "insurer"):
        consents = world.organic[partner, "consents"]
        apart = consents.filter(purpose="sensitive_profiling")
        assert set(apart["notice_version"]) == {"2026-1-sensitive"}
        others = consents.filter(pl.col("purpose") != "sensitive_profiling")
        assert "2026-1-sensitive" not in set(others["notice_version"])
        granted = apart.filter(decision="granted")["subject_id"].n_unique()
        assert granted / consents["subject_id"].n_unique() > 0.8


def test_the_forms_of_the_first_sixty_days_name_no_recipient_and_the_later_ones_both_firms() -> None:
    members = np.arange(200)
    names = tuple(f"u{n}" for n in members)
    calendar = Calendar(START, 90)
    asked = permissions.consents_drop(members, members % 90, names, partner="insurer", seed=7, calendar=calendar)
    later = (asked["day"] >= 60).to_list()
    assert 50 < sum(later) < asked.height - 50
    assert asked["recipient"].to_list() == ["both" if is_later else None for is_later in later]


def topic_link(world: World) -> float:
    """Mean over topics: correlation, over people of both firms, of course views and product views of that topic."""
    topic_of_course = {c: t[0] for c, t in zip(world.courses.course_id, world.courses.topics, strict=True)}
    main = world.products.topic_shares.argmax(axis=0)
    topic_of_product = {p: TOPICS[t] for p, t in zip(world.products.product_id, main, strict=True)}
    counts = []
    for feed, item, topics in (
        ("course_views", "course_id", topic_of_course),
        ("product_views", "product_id", topic_of_product),
    ):
        partner = "course_platform" if feed == "course_views" else "insurer"
        views = world.organic[partner, feed].with_columns(pl.col(item).replace_strict(topics).alias("topic"))
        table = np.zeros((world.people.count, len(TOPICS)))
        np.add.at(table, (views["person"].to_numpy(), np.array([TOPICS.index(t) for t in views["topic"]])), 1.0)
        counts.append(table)
    seen = (counts[0].sum(axis=1) >= 5) & (counts[1].sum(axis=1) >= 3)
    shares = [c[seen] / c[seen].sum(axis=1, keepdims=True) for c in counts]
    offered = sorted(set(main))
    return float(np.mean([np.corrcoef(shares[0][:, t], shares[1][:, t])[0, 1] for t in offered]))


def test_interests_link_the_two_firms_in_a_linked_world_and_not_in_the_null_world() -> None:
    linked = build_world(people=3000, days=40, seed=4, course_to_insurance_link=1.0)
    null = build_world(people=3000, days=40, seed=4, course_to_insurance_link=0.0)
    assert topic_link(linked) > 0.25
    # Some 300 people and 8 topics: the mean of 8 correlations of unrelated shares stays within 4 / sqrt(300 * 8).
    assert abs(topic_link(null)) < 0.082


def test_nobody_buys_a_course_twice_or_a_product_beyond_its_limits(big_world: World) -> None:
    orders, sales = big_world.orders, big_world.sales
    assert orders.height == orders.unique(["person", "course"]).height
    person, product = sales["person"].to_numpy(), sales["product"].to_numpy()
    age, income = 2026 - big_world.people.birth_year[person], big_world.people.income_fen[person]
    assert (age >= big_world.products.min_age[product]).all()
    assert (age <= big_world.products.max_age[product]).all()
    assert (income >= big_world.products.min_income_fen[product]).all()


def test_renewals_follow_the_term_and_nothing_follows_a_cancellation(big_world: World) -> None:
    policies = big_world.organic["insurer", "policies"]
    renewed = policies.filter(pl.col("event") == "renewed")
    assert (renewed["term_start_on"].dt.offset_by("-1d") == renewed["occurred_at"].dt.date()).all()
    issued = policies.filter(pl.col("event") == "issued")
    monthly = renewed.join(issued, on="policy_id", suffix="_first")
    assert monthly.height > 8
    ends = policies.filter(pl.col("event") == "cancelled").select("policy_id", pl.col("occurred_at").alias("ended_at"))
    claims = big_world.organic["insurer", "claims"].join(ends, on="policy_id")
    assert ends.height > 20
    assert (claims["claimed_at"].dt.date() <= claims["ended_at"].dt.date()).all()


def test_people_at_high_latent_risk_claim_more_often_per_policy(big_world: World) -> None:
    policies = big_world.organic["insurer", "policies"].unique("policy_id")
    claims = big_world.organic["insurer", "claims"]
    risk = big_world.people.risk
    is_high = pl.Series(risk > np.median(risk[policies["person"].to_numpy()]))

    def rate(high: bool) -> float:
        held = policies.filter(is_high.gather(policies["person"]) == high).height
        return claims.filter(is_high.gather(claims["person"]) == high).height / held

    # exp(latent risk) differs by a factor of about 2.6 between the halves; classes differ too, hence the slack.
    assert rate(True) > 1.5 * rate(False)


def test_a_stranger_who_buys_a_policy_becomes_a_customer_that_day_under_the_same_hashes(
    world: World, drops: tuple[Path, DropSummary]
) -> None:
    people = world.people
    strangers = [
        int(p) for p in world.sales["person"].unique() if people.user_day[p] < 0 <= people.customer_day[p] < NEVER
    ]
    customers = feed_rows(drops[0], "customers")
    first_sale = dict(world.sales.group_by("person").agg(pl.col("day").min()).iter_rows())
    bought = [p for p in strangers if people.customer_day[p] == first_sale[p] and people.user_day[p] < 0]
    bought = [p for p in bought if (START + timedelta(days=int(first_sale[p]))).weekday() not in (0, 3)]
    assert len(bought) > 2
    for person in bought:
        row = customers.filter(pl.col("customer_id") == people.customer_id[person]).sort("dt").row(0, named=True)
        assert row["dt"] == START + timedelta(days=int(first_sale[person]))
        assert (row["phone_hash"], row["email_hash"]) == (
            people.user_phone_hash[person],
            people.user_email_hash[person],
        )


def test_reviews_speak_as_they_rate(big_world: World) -> None:
    reviews = big_world.organic["course_platform", "course_reviews"].filter(pl.col("review_text") != "")
    praise = reviews["review_text"].str.contains("推荐|喜欢|好评|物超所值|收获")
    assert praise.filter(reviews["rating"] == 5).mean() > 0.9  # type: ignore[operator]
    assert praise.filter(reviews["rating"] <= 2).sum() == 0


# Truth


def outcomes(landing: Path, world: World, campaign: pl.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
    """Per listed person, counted from the files alone, good rows only."""
    offers = read_offers(world, campaign)
    users = [world.people.user_id[p] for p in offers.course_person]
    customers = [world.people.customer_id[p] for p in offers.product_person]

    def good(feed: str, when: str, who: str) -> pl.DataFrame:
        rows = feed_rows(landing, feed).filter(pl.col("dt").is_between(LAUNCH, UNTIL)).drop_nulls(who).unique()
        fen = "paid_fen" if feed == "course_orders" else "premium_fen" if feed == "policies" else "dwell_seconds"
        rows = rows.filter(pl.col(when).str.slice(0, 10) == pl.col("dt").cast(pl.String))
        return rows.with_columns(pl.col(fen).cast(pl.Int64, strict=False).alias("fen")).filter(
            pl.col("fen").is_between(0, 10**8)
        )

    orders = good("course_orders", "ordered_at", "user_id").filter(pl.col("status") == "paid")
    policies = good("policies", "occurred_at", "customer_id").filter(pl.col("event") == "issued")
    views = good("course_views", "viewed_at", "user_id").filter(pl.col("fen") <= 86_400)
    paid = dict(orders.group_by("user_id").agg(pl.col("fen").sum()).iter_rows())
    premium = dict(policies.group_by("customer_id").agg(pl.col("fen").sum()).iter_rows())
    viewers = set(views["user_id"])
    return {
        "course_conversion_share": np.array([u in paid for u in users], dtype=float),
        "product_conversion_share": np.array([c in premium for c in customers], dtype=float),
        "participation_share": np.array([u in viewers for u in users], dtype=float),
        "spend_fen": np.array(
            [paid.get(u, 0) + premium.get(c, 0) for u, c in zip(users, customers, strict=True)], dtype=float
        ),
    }


def test_the_truth_is_the_difference_between_the_files_with_and_without_the_campaign(
    world: World, drops: tuple[Path, DropSummary], treated_drops: Path
) -> None:
    campaign = campaign_list(world, treated_share=1.0)
    contacted, alone = outcomes(treated_drops, world, campaign), outcomes(drops[0], world, campaign)
    for metric, truth in true_effects(world, campaign).select("metric", "true_effect").iter_rows():
        assert (contacted[metric] - alone[metric]).mean() == pytest.approx(truth, abs=1e-9), metric
        assert truth > 0, metric


def test_the_difference_between_arms_recovers_the_truth_within_4_standard_errors(
    big_world: World, tmp_path: Path
) -> None:
    campaign = campaign_list(big_world)
    write_days(big_world, tmp_path, from_on=LAUNCH, until_on=UNTIL, campaign=campaign)
    seen = outcomes(tmp_path, big_world, campaign)
    is_treated = (campaign["arm"] == "treatment").to_numpy()
    for row in true_effects(big_world, campaign).iter_rows(named=True):
        treated, control = seen[row["metric"]][is_treated], seen[row["metric"]][~is_treated]
        error = np.sqrt(treated.var() / len(treated) + control.var() / len(control))
        difference = treated.mean() - control.mean()
        assert abs(difference - row["true_effect"]) < 4 * error, row["metric"]
        assert difference == pytest.approx(row["realised"], abs=1e-9), row["metric"]
        if row["metric"] == "course_conversion_share":
            assert difference > 4 * error, "the effect must be measurable on a big list"


def test_without_an_effect_nobody_buys_differently() -> None:
    still = build_world(people=500, days=46, start_on=START, seed=11, campaign_effect=0.0)
    effects = true_effects(still, campaign_list(still))
    bought = effects.filter(pl.col("metric") != "participation_share")
    assert bought["true_effect"].to_list() == [0.0, 0.0, 0.0]


def test_contact_never_helps_with_do_not_disturb_people_and_never_harms_with_others(big_world: World) -> None:
    offers = read_offers(big_world, campaign_list(big_world))
    alone, contacted = potential_outcomes(big_world, offers)
    disturbed = big_world.people.is_do_not_disturb[offers.course_person]
    change = contacted["spend_fen"] - alone["spend_fen"]
    assert change[disturbed].max() == 0
    assert change[disturbed].min() < 0
    assert change[~disturbed].min() == 0
    assert change[~disturbed].max() > 0


def test_offers_that_match_interests_work_better(big_world: World) -> None:
    by_offer = [
        true_effects(big_world, campaign_list(big_world, offer=o))["true_effect"][0] for o in ("taste", "random")
    ]
    assert by_offer[0] > 1.5 * by_offer[1]


def test_only_treated_people_are_contacted_and_only_from_the_launch_to_the_end_of_the_window(
    world: World, tmp_path: Path
) -> None:
    campaign = campaign_list(world)
    write_days(world, tmp_path, from_on=START, until_on=LAST, campaign=campaign)
    events = feed_rows(tmp_path, "campaign_events")
    control = campaign.filter(pl.col("arm") == "control")
    held_out = {*control["user_id"].drop_nulls(), *control["customer_id"].drop_nulls()}
    assert not held_out & set(events["subject_id"])
    assert events["dt"].min() == LAUNCH
    assert events["dt"].max() <= UNTIL  # type: ignore[operator]
    assert set(events["event"]) == {"exposure", "click", "conversion"}
    first = events.filter(pl.col("event") == "exposure").group_by("subject_id").agg(pl.col("occurred_at").min())
    treated = campaign.filter(pl.col("arm") == "treatment")
    assert first.height >= treated.height
    clicks = events.filter(pl.col("event") == "click").join(first, on="subject_id", suffix="_first")
    assert (clicks["occurred_at"] > clicks["occurred_at_first"]).all()


def test_conversions_a_seller_credits_are_purchases_in_the_files(treated_drops: Path) -> None:
    credited = feed_rows(treated_drops, "campaign_events").filter(pl.col("event") == "conversion")
    assert credited.height > 20
    orders = feed_rows(treated_drops, "course_orders").select(
        pl.col("user_id").alias("subject_id"),
        pl.col("course_id").alias("item_id"),
        pl.col("ordered_at").alias("occurred_at"),
        pl.col("paid_fen").alias("amount_fen"),
    )
    policies = feed_rows(treated_drops, "policies").select(
        pl.col("customer_id").alias("subject_id"),
        pl.col("product_id").alias("item_id"),
        "occurred_at",
        pl.col("premium_fen").alias("amount_fen"),
    )
    purchases = pl.concat([orders, policies])
    unmatched = credited.join(purchases, on=["subject_id", "item_id", "occurred_at", "amount_fen"], how="anti")
    assert unmatched.is_empty()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"outcome_until_on": date(2027, 1, 1)},
            r"^The window 2026-07-25 to 2027-01-01 leaves the world, 2026-07-01 to 2026-08-19\.",
        ),
        (
            {"campaign_id": "autumn", "customer_id": "k100000"},
            r"^Column customer_id holds \['k100000'\] twice within a campaign; wanted each account once\.",
        ),
        ({"user_id": "u1"}, r"^Column user_id holds \['u1'\], which the world does not know\."),
        ({"arm": "holdout"}, r"^Column arm holds \['holdout'\]; wanted \['treatment', 'control'\]\.$"),
        ({"channel": "fax"}, r"^Column channel holds \['fax'\]; wanted one of "),
        ({"outcome_until_on": date(2026, 7, 2)}, r"^outcome_until_on lies before launched_on"),
    ],
)
def test_a_list_that_does_not_fit_the_world_is_refused_with_the_reason(
    world: World, change: dict[str, object], message: str
) -> None:
    wrong = campaign_list(world).with_columns(pl.lit(value).alias(name) for name, value in change.items())
    with pytest.raises(ValueError, match=message):
        true_effects(world, wrong)


def test_days_outside_the_world_and_impossible_parameters_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Days 2026-08-01 to 2026-09-30 leave the world, 2026-07-01 to 2026-08-19\."):
        write_days(world, tmp_path, from_on=date(2026, 8, 1), until_on=date(2026, 9, 30))
    with pytest.raises(ValueError, match=r"^course_to_insurance_link is 2; wanted a number from 0 to 1\.$"):
        build_world(people=200, days=10, course_to_insurance_link=2)
    assert not list(tmp_path.iterdir())


# Store and command line


def test_the_command_line_says_simulated_and_its_world_can_be_built_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["--home", str(tmp_path), "--people", "300", "--days", "12", "--seed", "3", "--until", "2026-07-05"]) == 0
    )
    assert "SIMULATED" in capsys.readouterr().out
    stored = json.loads((tmp_path / "simulator" / "world.json").read_text())
    days = sorted({day_of(p) for p in files_of(tmp_path / "landing")})
    assert (days[0], days[-1]) == (START, date(2026, 7, 5))
    assert stored["drops"][0]["files"] == len(list(files_of(tmp_path / "landing")))
    again = load_world(tmp_path)
    assert again.parameters.people == 300
    same = build_world(people=300, days=12, seed=3)
    assert again.orders.equals(same.orders)
    assert again.people.user_phone_hash == same.people.user_phone_hash


def test_the_command_line_refuses_what_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tmp_path), "--people", "5"]) == 2
    assert "at least 100 people" in capsys.readouterr().err


def test_truth_is_stored_beside_the_landing_folder_and_never_in_it(world: World, tmp_path: Path) -> None:
    path = save_truth(true_effects(world, campaign_list(world)), tmp_path, campaign_id="autumn")
    assert path == tmp_path / "simulator" / "truth" / "autumn.json"
    assert json.loads(path.read_text())["effects"][0]["metric"] == "course_conversion_share"


# Chance and calendar


def test_split_mix_gives_the_published_sequence() -> None:
    # First five outputs of SplitMix64 for seed 1234567, as published with the reference implementation.
    states = np.uint64(1234567) + np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert chance._split_mix(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.integers(0, 2**40), st.integers(-1000, 1000), st.text(max_size=8))
def test_a_number_depends_on_its_own_keys_only(key: int, day: int, stream: str) -> None:
    alone = chance.uniform(7, stream, np.array([key]), day)
    among_others = chance.uniform(7, stream, np.array([key + 1, key, key + 2]), day)
    assert alone[0] == among_others[1]
    assert 0.0 < alone[0] < 1.0


@pytest.mark.parametrize("rate", [0.05, 0.8, 3.0])
def test_poisson_counts_have_the_mean_and_variance_of_their_rate(rate: float) -> None:
    size = 40_000
    counts = chance.poisson(np.full(size, rate), 1, "test", np.arange(size))
    assert counts.mean() == pytest.approx(rate, abs=5 * np.sqrt(rate / size))
    assert counts.var() == pytest.approx(rate, rel=0.05)


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(-5, 400))
def test_batch_days_are_the_next_monday_or_thursday(start_on: date, day: int) -> None:
    calendar = Calendar(start_on, 30)
    batch = int(calendar.batch_day(np.array([day]))[0])
    assert calendar.on(batch).weekday() in (0, 3)
    assert 0 <= batch - day <= 3
