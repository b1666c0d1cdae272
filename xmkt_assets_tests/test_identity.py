"""Who is whom by several identifiers: precedence, contradictions, households, two accounts of a firm, rotation."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import duckdb
import polars as pl
import pytest

from xmkt_assets.agreement import Agreement
from xmkt_assets.contracts import contracts
from xmkt_assets.simulate.world import World, build_world
from xmkt_assets_tests.identity_helper import Row, identity_tables, retiring
from xmkt_assets_tests.sql_helper import FOLDER, read_model

DAY = date(2026, 7, 10)
BEFORE = datetime(2026, 6, 1)
RETIRED = date(2026, 9, 1)


def user(name: str, **more: object) -> Row:
    return {"user_id": name, "registered_at": BEFORE, "updated_at": BEFORE, **more}


def customer(name: str, **more: object) -> Row:
    return {"customer_id": name, "became_customer_at": BEFORE, "updated_at": BEFORE, **more}


def told(account: str, kind: str, value: str, *, key: str = "v1", on: date = DAY, status: str = "valid") -> Row:
    """A row of the feed identifiers; accounts that begin with u are the course platform's. Keys hash differently."""
    partner = "course_platform" if account.startswith("u") else "insurer"
    at = datetime(on.year, on.month, on.day)
    own = {"partner": partner, "subject_id": account, "dt": on, "updated_at": at}
    return {**own, "kind": kind, "key_version": key, "identifier_hash": f"{value} under {key}", "status": status}


def tables(
    users: Sequence[Row], customers: Sequence[Row], identifiers: Sequence[Row] = (), *, terms: Agreement | None = None
) -> dict[str, pl.DataFrame]:
    return identity_tables(users, customers, identifiers, day=DAY, agreement=terms, until="identity_conflicts")


def persons(found: dict[str, pl.DataFrame]) -> dict[str, str]:
    return dict(found["identities"].select("subject_id", "person_id").iter_rows())


def groups(found: dict[str, pl.DataFrame]) -> set[str]:
    """Accounts of one person, joined by +."""
    together = found["identities"].group_by("person_id").agg(pl.col("subject_id").sort().str.join("+"))
    return set(together["subject_id"])


def conflicts(found: dict[str, pl.DataFrame]) -> dict[str, tuple[str, str, str]]:
    """Accounts of one conflict → (kind, what speaks against it, decision)."""
    rows = found["identity_conflicts"].group_by("conflict_id", "kind", "conflict", "decision")
    together = rows.agg(pl.col("subject_id").sort().str.join("+"))
    return {r["subject_id"]: (r["kind"], r["conflict"], r["decision"]) for r in together.to_dicts()}


# ── several identifiers, precedence ──────────────────────────────────────────────────────────────────────────────────


def test_any_of_several_phones_joins_and_a_revoked_one_does_not() -> None:
    rows = [told("u1", "phone", "a"), told("u1", "phone", "b"), told("k1", "phone", "b")]
    assert groups(tables([user("u1")], [customer("k1")], rows)) == {"k1+u1"}
    later = DAY + timedelta(days=3)
    gone = [*rows, told("u1", "phone", "b", on=later, status="revoked")]
    assert groups(tables([user("u1")], [customer("k1")], gone)) == {"u1", "k1"}
    back = [*gone, told("u1", "phone", "b", on=later + timedelta(days=1))]
    assert groups(tables([user("u1")], [customer("k1")], back)) == {"k1+u1"}


def test_the_feed_and_the_columns_of_an_account_speak_of_one_identifier() -> None:
    found = tables([user("u1", phone_hash="a under v1")], [customer("k1")], [told("k1", "phone", "a")])
    assert groups(found) == {"k1+u1"}
    revoked = [told("u1", "phone", "a", status="revoked"), told("k1", "phone", "a")]
    found = tables([user("u1", phone_hash="a under v1")], [customer("k1")], revoked)
    assert groups(found) == {"u1", "k1"}
    assert found["identifiers"].height == 2


def test_an_identity_card_goes_before_a_phone_and_a_phone_before_an_email() -> None:
    rows = [
        *(told("u1", "id_card", "1"), told("u1", "phone", "p"), told("u1", "email", "e")),
        *(told("k1", "id_card", "1"), told("k2", "phone", "p"), told("k3", "email", "e")),
        *(told("u2", "phone", "q"), told("u2", "email", "f"), told("k4", "phone", "q"), told("k5", "email", "f")),
    ]
    found = tables([user("u1"), user("u2")], [customer(f"k{n}") for n in range(1, 6)], rows)
    assert groups(found) == {"k1+u1", "k2", "k3", "k4+u2", "k5"}
    linked_by = dict(found["identities"].select("subject_id", "linked_by").iter_rows())
    assert (linked_by["u1"], linked_by["u2"], linked_by["k5"]) == ("id_card", "phone", "none")
    one_firm = "it would join two accounts of one firm"
    assert conflicts(found) == {
        "k2+u1": ("phone", one_firm, "not joined"),
        "k3+u1": ("email", one_firm, "not joined"),
        "k5+u2": ("email", "another identifier speaks for another account", "not joined"),
    }


def test_different_identity_cards_outweigh_one_phone() -> None:
    rows = [told("u1", "id_card", "1"), told("k1", "id_card", "2"), told("u1", "phone", "p"), told("k1", "phone", "p")]
    found = tables([user("u1")], [customer("k1")], rows)
    assert groups(found) == {"u1", "k1"}
    assert conflicts(found) == {"k1+u1": ("phone", "their proofs differ", "not joined")}


@pytest.mark.parametrize(
    ("mine", "theirs", "joined"),
    [
        ({"birth_year": 1980}, {"birth_year": 1981}, True),  # the agreement's tolerance is one year
        ({"birth_year": 1980}, {"birth_year": 1982}, False),
        ({"gender": "female"}, {"gender": "male"}, False),
        ({"gender": "female"}, {"gender": "other"}, True),
        ({"gender": "female"}, {"birth_year": 1980}, True),
    ],
)
def test_a_phone_does_not_join_people_who_differ_but_with_an_email_or_a_card_it_does(
    mine: Row, theirs: Row, joined: bool
) -> None:
    users, customers = [user("u1", **mine)], [customer("k1", **theirs)]
    phone = [told("u1", "phone", "p"), told("k1", "phone", "p")]
    differs = "birth year or gender differs"
    found = tables(users, customers, phone)
    assert (groups(found) == {"k1+u1"}) == joined
    assert conflicts(found) == ({} if joined else {"k1+u1": ("phone", differs, "not joined")})
    for kind, named in (("email", "phone"), ("id_card", "id_card")):
        found = tables(users, customers, [*phone, told("u1", kind, "x"), told("k1", kind, "x")])
        assert groups(found) == {"k1+u1"}
        assert conflicts(found) == ({} if joined else {"k1+u1": (named, differs, "joined")})


# ── households, and two accounts of one person ───────────────────────────────────────────────────────────────────────


def test_a_household_phone_joins_nobody_but_breaks_no_link_that_stands() -> None:
    phone = [told(account, "phone", "p") for account in ("u1", "k1")]
    spouse = told("u2", "phone", "p", on=DAY + timedelta(days=5))
    users, customers = [user("u1"), user("u2")], [customer("k1"), customer("k2")]
    alone = tables([user("u1")], [customer("k1")], phone)
    found = tables(users, customers, [*phone, spouse])
    assert groups(found) == {"k1+u1", "u2", "k2"}
    assert persons(alone).items() <= persons(found).items()
    second = told("k2", "phone", "p", on=DAY + timedelta(days=9))
    assert groups(tables(users, customers, [*phone, spouse, second])) == {"k1+u1", "u2", "k2"}
    # The same deliveries the other way round: when the insurer's account came, the phone was a household's.
    late = told("k1", "phone", "p", on=DAY + timedelta(days=9))
    found = tables(users, customers, [phone[0], spouse, late])
    assert groups(found) == {"u1", "u2", "k1", "k2"}
    assert conflicts(found) == {"k1+u1": ("phone", "several accounts of a firm carry it", "not joined")}


def test_two_accounts_of_one_firm_with_one_identity_card_are_one_person_and_with_one_phone_are_not() -> None:
    rows = [told("u1", "id_card", "1"), told("u2", "id_card", "1"), told("k1", "phone", "p")]
    own_phone = [told("u1", "phone", "p"), told("u2", "phone", "p")]
    users = [user("u1"), user("u2", registered_at=BEFORE - timedelta(days=9))]
    found = tables(users, [customer("k1")], [*rows, *own_phone])
    assert groups(found) == {"k1+u1+u2"}  # both accounts are one person's: the phone is no household's
    main = found["identities"].filter("is_main_account")["subject_id"].to_list()
    assert sorted(main) == ["k1", "u2"]  # at each firm the account known first
    assert groups(tables(users, [customer("k1")], own_phone)) == {"u1", "u2", "k1"}


def test_an_account_with_two_identity_cards_and_a_card_of_too_many_accounts_prove_nothing() -> None:
    rows = [told("u1", "id_card", "1"), told("u1", "id_card", "2"), told("k1", "id_card", "1")]
    found = tables([user("u1")], [customer("k1")], rows)
    assert groups(found) == {"u1", "k1"}
    assert conflicts(found) == {"u1": ("id_card", "the account has two", "not joined")}
    for number, count in ((5, 1), (6, 7)):
        names = [f"u{n}" for n in range(number)]
        cards = [told(name, "id_card", "test") for name in (*names, "k1")]
        found = tables([user(name) for name in names], [customer("k1")], cards)
        assert found["identities"]["person_id"].n_unique() == count


def test_a_merged_person_has_the_founders_name_and_each_account_keeps_the_one_it_had() -> None:
    users = [user("u1"), user("u2", registered_at=BEFORE + timedelta(days=1))]
    before = persons(tables(users, []))
    assert before["u1"] != before["u2"]
    found = tables(users, [], [told("u1", "id_card", "1"), told("u2", "id_card", "1", on=DAY + timedelta(days=9))])
    assert persons(found) == dict.fromkeys(("u1", "u2"), before["u1"])
    own = dict(found["identities"].select("subject_id", "own_person_id").iter_rows())
    assert own == before
    assert found["identities"]["linked_on"].to_list() == [DAY + timedelta(days=9)] * 2


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [told(a, k, v) for a in ("u1", "u2", "k1", "k2") for k, v in (("phone", a[1]), ("email", "same"))]
    users, customers = [user("u1"), user("u2")], [customer("k1"), customer("k2")]
    one, other = tables(users, customers, rows), tables(users[::-1], customers[::-1], rows[::-1])
    for name in ("identities", "identity_links", "identity_conflicts"):
        assert one[name].equals(other[name])


def test_people_of_several_accounts_have_the_newest_word_and_the_latest_birth_year() -> None:
    cards = [told("u1", "id_card", "1"), told("u2", "id_card", "1")]
    old = user("u1", occupation="cook", birth_year=2009, city_tier=1)
    new = user("u2", occupation="nurse", birth_year=1990, updated_at=BEFORE + timedelta(days=1))
    (one,) = identity_tables([old, new], [], cards, day=DAY)["people"].to_dicts()
    assert (one["occupation"], one["birth_year"], one["city_tier"]) == ("nurse", 2009, 1)


# ── key rotation ─────────────────────────────────────────────────────────────────────────────────────────────────────

PAIRS = [("u1", "k1", "a"), ("u2", "k2", "b"), ("u3", "k3", "c")]
USERS = [user(u, phone_hash=f"{value} under v1", dt=date(2026, 7, 1)) for u, _, value in PAIRS]
CUSTOMERS = [customer(k, phone_hash=f"{value} under v1", dt=date(2026, 7, 1)) for _, k, value in PAIRS]
TOGETHER = {"k1+u1", "k2+u2", "k3+u3"}


def rehashed(accounts: Sequence[int], *, on: date) -> list[Row]:
    """Accounts at a place of PAIRS' rows, 0 the course platform's, under the second key."""
    return [told(pair[place], "phone", pair[2], key="v2", on=on) for place in accounts for pair in PAIRS]


def emptied(rows: Sequence[Row], *, on: date) -> list[Row]:
    """A later delivery of the same accounts without phones."""
    at = datetime(on.year, on.month, on.day)
    return [{**row, "phone_hash": None, "dt": on, "updated_at": at} for row in rows]


def test_one_firm_rotating_before_the_other_neither_loses_nor_invents_links() -> None:
    first, second, after = date(2026, 8, 1), date(2026, 8, 20), date(2026, 9, 5)
    start = tables(USERS, CUSTOMERS)
    assert groups(start) == TOGETHER
    one = rehashed([0], on=first)
    stages = [
        tables(USERS, CUSTOMERS, one),
        # The early firm stops sending the old key at once; the other one has nothing under the new key yet.
        tables([*USERS, *emptied(USERS, on=first + timedelta(days=1))], CUSTOMERS, one),
        tables(USERS, CUSTOMERS, [*one, *rehashed([1], on=second)]),
        tables(USERS, CUSTOMERS, [*one, *rehashed([1], on=second)], terms=retiring(v1=RETIRED)),
        tables(
            [*USERS, *emptied(USERS, on=after)],
            [*CUSTOMERS, *emptied(CUSTOMERS, on=after)],
            [*one, *rehashed([1], on=second)],
            terms=retiring(v1=RETIRED),
        ),
    ]
    assert [persons(stage) for stage in stages] == [persons(start)] * len(stages)
    assert all(stage["identity_conflicts"].is_empty() for stage in stages)


def test_hashes_under_different_keys_never_join() -> None:
    rows = [told("u1", "phone", "a", key="v1"), {**told("k1", "phone", "a", key="v2"), "identifier_hash": "a under v1"}]
    assert groups(tables([user("u1")], [customer("k1")], rows)) == {"u1", "k1"}
    unknown = [told("u1", "phone", "a", key="v9"), told("k1", "phone", "a", key="v9")]
    assert groups(tables([user("u1")], [customer("k1")], unknown)) == {"u1", "k1"}


@pytest.mark.parametrize(("on", "joined"), [(RETIRED, True), (RETIRED + timedelta(days=1), False)])
def test_a_retired_key_makes_no_new_link_from_the_day_after_but_those_it_made_stay(on: date, joined: bool) -> None:
    rows = [told("u1", "phone", "a"), told("k1", "phone", "a", on=on)]
    found = tables([user("u1")], [customer("k1")], rows, terms=retiring(v1=RETIRED))
    assert (groups(found) == {"k1+u1"}) == joined
    cards = [told("u1", "id_card", "a"), told("u2", "id_card", "a", on=on)]
    found = tables([user("u1"), user("u2")], [], cards, terms=retiring(v1=RETIRED))
    assert (groups(found) == {"u1+u2"}) == joined


def test_once_both_firms_speak_under_the_new_key_it_decides() -> None:
    """The person changed the phone after the old key was retired: the old link must not live on by the dead key."""
    later = RETIRED + timedelta(days=10)
    old = [told("u1", "phone", "a"), told("k1", "phone", "a")]
    one = [*old, told("u1", "phone", "new", key="v2", on=later)]
    assert groups(tables([user("u1")], [customer("k1")], one, terms=retiring(v1=RETIRED))) == {"k1+u1"}
    both = [*one, told("k1", "phone", "a", key="v2", on=later)]
    assert groups(tables([user("u1")], [customer("k1")], both, terms=retiring(v1=RETIRED))) == {"u1", "k1"}
    assert groups(tables([user("u1")], [customer("k1")], both)) == {"k1+u1"}  # while the old key lives, either may join


def test_an_emptied_phone_is_revoked_and_a_changed_one_replaces_the_old() -> None:
    later = DAY + timedelta(days=4)
    users, customers = [user("u1", phone_hash="p")], [customer("k1", phone_hash="p")]
    assert groups(tables([*users, *emptied(users, on=later)], customers)) == {"u1", "k1"}
    changed = user("u1", phone_hash="q", dt=later, updated_at=datetime(2026, 7, 14))
    assert groups(tables([*users, changed], customers)) == {"u1", "k1"}
    found = tables([*users, changed], [customer("k1", phone_hash="q")])
    assert found["identity_links"]["linked_on"].to_list() == [later]


# ── against the simulator's truth ────────────────────────────────────────────────────────────────────────────────────


def simulated(world: World, *, until_day: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(accounts with person_id and `truth`, the simulated person; links) from everything delivered by a day."""

    def rows(partner: str, feed: str) -> pl.DataFrame:
        frame = world.organic[partner, feed].filter(pl.col("day") <= until_day)
        return frame.with_columns(
            pl.lit(partner).alias("partner"), world.calendar.dates(frame["day"].to_numpy()).alias("dt")
        )

    users, customers = rows("course_platform", "users"), rows("insurer", "customers")
    identifiers = pl.concat([rows(partner, "identifiers") for partner in ("course_platform", "insurer")])
    found = identity_tables(
        *(frame.drop("day", "person").to_dicts() for frame in (users, customers, identifiers)),
        day=DAY,
        until="identities",
    )
    truth = pl.concat(
        [
            users.select("partner", pl.col("user_id").alias("subject_id"), "person"),
            customers.select("partner", pl.col("customer_id").alias("subject_id"), "person"),
        ]
    ).unique()
    return found["identities"].join(truth, on=["partner", "subject_id"], validate="1:1"), found["identity_links"]


def account_pairs(rows: pl.DataFrame, by: str) -> set[tuple[str, str]]:
    """Accounts that share a value of `by`, two by two."""
    own = rows.select(by, account=pl.concat_str("partner", "subject_id", separator=":"))
    met = own.join(own, on=by, suffix="_other").filter(pl.col("account") < pl.col("account_other"))
    return set(met.select("account", "account_other").iter_rows())


def test_of_simulated_people_nearly_all_are_found_and_hardly_two_are_one() -> None:
    """Some cannot be found: a phone to one firm and an e-mail to the other, a changed phone, a household's phone."""
    world = build_world(people=1500, days=60, seed=11)
    before, _ = simulated(world, until_day=39)
    after, links = simulated(world, until_day=59)
    for found in (before, after):
        truth, made = account_pairs(found, "person"), account_pairs(found, "person_id")
        assert len(made & truth) / len(made) > 0.99
        assert len(made & truth) / len(truth) > 0.85
    # The key changed between the two: whoever was together stays together.
    assert account_pairs(before, "person_id") <= account_pairs(after, "person_id")
    same_firm = {pair for pair in account_pairs(after, "person_id") if pair[0].split(":")[0] == pair[1].split(":")[0]}
    assert same_firm == {p for p in account_pairs(after, "person") if p[0].split(":")[0] == p[1].split(":")[0]} != set()
    assert {"id_card", "phone", "email"} <= set(links.filter("is_joined")["kind"])


# ── walls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hashes_end_in_identifiers_and_no_table_of_links_or_conflicts_holds_one() -> None:
    rows = [told("u1", "phone", "p"), told("k1", "phone", "p"), told("k2", "phone", "p"), told("u1", "id_card", "7")]
    found = tables([user("u1")], [customer("k1"), customer("k2")], rows)
    for name in ("identity_links", "identities", "identity_conflicts"):
        assert "under v1" not in found[name].write_csv()


def test_every_kind_of_the_contract_can_be_the_one_that_linked() -> None:
    kinds = next(c for c in contracts()["identifiers"].columns if c.name == "kind").valid_values
    checks = read_model("staging.identities").checks
    accepted = next(c.values for c in checks if c.name == "linked_by_accepted")
    assert accepted == ("none", *kinds)


def test_identifiers_outside_the_agreement_are_reported() -> None:
    rows = [told("u1", "phone", "a", key="v9"), told("u1", "phone", "a")]
    found = tables([user("u1")], [], rows)
    given = {f"staging.{n}": found[n] for n in ("identifiers", "hash_keys", "identifier_rules")}
    offending = run_check("identifiers_are_of_the_agreement", given)
    assert offending.rows() == [("course_platform", "phone", "v9", 1)]


def run_check(name: str, given: dict[str, pl.DataFrame]) -> pl.DataFrame:
    with duckdb.connect() as con:
        con.execute("create schema staging")
        for table, rows in given.items():
            con.register("given", rows)
            con.execute(f"create table {table} as select * from given")
        return con.sql((FOLDER / "checks" / f"{name}.sql").read_text(encoding="utf-8")).pl()
