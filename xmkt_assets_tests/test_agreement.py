"""The sharing agreement as data, the secrets of a home, and the pseudonyms made with them."""

import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import product
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from xmkt_assets.agreement import (
    FILE,
    FINGERPRINTED,
    PACKAGED,
    AgreementError,
    agreement_path,
    key_fingerprint,
    read_agreement,
)
from xmkt_assets.assets.agreement import ASSETS
from xmkt_assets.contracts import contracts
from xmkt_assets.identity_terms import KEYS_COLUMNS, RULES_COLUMNS, hash_key_rows, identifier_rule_rows
from xmkt_assets.pseudonyms import PseudonymError, campaign_pseudonyms
from xmkt_assets.resources import Warehouse
from xmkt_assets.secrets import SecretError, home_secret

SECRET = bytes(range(32))


# ── the agreement ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_home_may_have_an_agreement_of_its_own(tmp_path: Path) -> None:
    assert agreement_path(tmp_path) == PACKAGED
    text = PACKAGED.read_text(encoding="utf-8").replace("retired_on: null", "retired_on: 2026-12-31", 1)
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert [k.retired_on for k in read_agreement(tmp_path).hash_keys] == [date(2026, 12, 31), None]
    assert [k.retired_on for k in read_agreement().hash_keys] == [None, None]


def test_the_fingerprint_tells_one_key_from_another_and_is_made_of_its_hmac() -> None:
    key = b"one key"
    made = hashlib.sha256(hmac.new(key, FINGERPRINTED.encode(), hashlib.sha256).digest()).hexdigest()
    assert key_fingerprint(key) == made != key_fingerprint(b"another key")


def test_the_packaged_fingerprints_are_those_of_the_simulated_firms_keys() -> None:
    names = ("simulated sharing agreement 7", "simulated sharing agreement 7, second key")
    keys = [hashlib.sha256(name.encode()).digest() for name in names]
    assert [k.fingerprint for k in read_agreement().hash_keys] == [key_fingerprint(key) for key in keys]


def test_the_agreement_ranks_every_kind_of_identifier_that_the_contract_knows() -> None:
    kinds = next(c for c in contracts()["identifiers"].columns if c.name == "kind").valid_values
    assert tuple(rule.kind for rule in read_agreement().identifiers) == kinds


def test_the_tables_hold_the_terms_in_order_with_a_meaning_for_each_column() -> None:
    keys, rules = hash_key_rows(read_agreement()), identifier_rule_rows(read_agreement())
    assert keys.select("version", "position").rows() == [("v1", 1), ("v2", 2)]
    assert rules.filter("is_proof")["kind"].to_list() == ["id_card"]
    assert rules["precedence"].to_list() == [1, 2, 3, 4]
    assert (keys.columns, rules.columns) == (list(KEYS_COLUMNS), list(RULES_COLUMNS))


@pytest.mark.parametrize(
    ("found", "written", "complaint"),
    [
        ("version: v2", "version: v1", "names a version twice"),
        ("agreed_on: 2020-01-01", "agreed_on: 2027-01-01", "out of order"),
        ("agreed_on: 2020-01-01", "agreed_on: soon", "'soon', wanted a day"),
        ("retired_on: null", "retired_on: 2019-01-01", "before it was agreed"),
        ("fingerprint: ", "fingerprint: z", "not 64 hexadecimal digits"),
        ("hash_keys:", "hashkeys:", r"unknown terms \['hashkeys'\]"),
        ("kind: email", "kind: phone", "names a kind twice"),
        ("is_proof: true", "is_proof: maybe", "wanted true or false"),
        ("at_most_accounts: 1", "at_most_accounts: 3", "are a household"),
        ("birth_year_tolerance_years: 1 ", "birth_year_tolerance_years: 99 ", "wanted 0 to 10"),
        ("birth_year_tolerance_years: 1 ", "# ", "lacks the term 'birth_year_tolerance_years'"),
        ("hash_keys:", "hash_keys: [", "is no YAML"),
    ],
)
def test_a_mistake_in_the_agreement_is_named(tmp_path: Path, found: str, written: str, complaint: str) -> None:
    text = PACKAGED.read_text(encoding="utf-8")
    assert found in text
    (tmp_path / FILE).write_text(text.replace(found, written, 1), encoding="utf-8")
    with pytest.raises(AgreementError, match=complaint) as error:
        read_agreement(tmp_path)
    assert FILE in str(error.value)


# ── as tables of the lake ────────────────────────────────────────────────────────────────────────────────────────────


def materialise(home: Path, **config: int) -> dg.ExecuteInProcessResult:
    years, cities, genders = (2006, 1996, 1986, 1976, 1966, None), (1, 2, 4, None), ("female", "male", None)
    cells = list(product(years, cities, genders))
    people = pl.DataFrame(
        [(f"p{n}", n % 2 == 0, n % 3 != 1, *cells[n // 6 % len(cells)]) for n in range(7200)],
        schema=["person_id", "has_course_side", "has_insurance_side", "birth_year", "city_tier", "gender"],
        orient="row",
    ).filter(pl.col("has_course_side") | pl.col("has_insurance_side"))
    warehouse = Warehouse(home=str(home), threads=1)
    warehouse.replace("staging.people", people)
    ops = {"staging__overlap_report": {"config": {"year": 2026, **config}}}
    return dg.materialize(ASSETS, resources={"warehouse": warehouse}, run_config={"ops": ops}, raise_on_error=False)


def test_terms_and_overlap_become_tables_with_a_report_to_read(tmp_path: Path) -> None:
    found = materialise(tmp_path)
    assert found.success
    warehouse = Warehouse(home=str(tmp_path), threads=1)
    assert warehouse.read("select version from staging.hash_keys order by position")["version"].to_list() == [
        "v1",
        "v2",
    ]
    assert warehouse.read("select kind from staging.identifier_rules where precedence = 2").item() == "phone"
    # Of 7200 numbers 2400 are even and 0 or 2 (mod 3), 1200 are even and 1, 2400 are odd and 0 or 2.
    total = warehouse.read(
        "select course_only, insurer_only, both_firms from staging.overlap_report where breakdown = 'total'"
    )
    assert total.rows() == [(1200, 2400, 2400)]
    (event,) = (e for e in found.get_asset_materialization_events() if e.asset_key.path[-1] == "overlap_report")
    metadata = event.materialization.metadata
    assert "| total |" in str(metadata["report"].value)
    assert str(metadata["common_base"].value).startswith("![people whom one or both firms know")


def test_a_bad_agreement_and_a_low_threshold_fail_the_step_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("hash_keys: []", encoding="utf-8")
    said = [
        str(e.step_failure_data.error.cause.message)
        for e in materialise(tmp_path, threshold=3).all_events
        if e.is_step_failure
    ]
    assert len(said) == 3
    assert sum("lacks the term" in s for s in said) == 2
    assert sum("threshold of at least 10" in s for s in said) == 1


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = home_secret(tmp_path, "pseudonyms")
    finally:
        os.umask(old)
    path = tmp_path / "secrets" / "pseudonyms.key"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(made) == 32
    assert path.read_text(encoding="ascii").strip() == made.hex()
    assert home_secret(tmp_path, "pseudonyms") == made != home_secret(tmp_path, "erasure")
    assert sorted(p.name for p in path.parent.iterdir()) == ["erasure.key", "pseudonyms.key"]


def test_those_who_ask_at_the_same_time_are_given_the_same_secret(tmp_path: Path) -> None:
    for attempt in range(20):
        with ThreadPoolExecutor(8) as pool:
            name = f"s{attempt}"
            assert len(set(pool.map(lambda _, name=name: home_secret(tmp_path, name), range(8)))) == 1


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [("", 0o600, "holds 0 characters"), ("zz" * 32, 0o600, "are no secret"), ("ab" * 32, 0o644, "chmod 600")],
)
def test_a_secret_that_is_damaged_or_open_is_refused_without_showing_it(
    tmp_path: Path, content: str, mode: int, complaint: str
) -> None:
    path = tmp_path / "secrets" / "erasure.key"
    path.parent.mkdir()
    path.write_text(content, encoding="ascii")
    path.chmod(mode)
    with pytest.raises(SecretError, match=complaint) as error:
        home_secret(tmp_path, "erasure")
    assert not content or content not in str(error.value)
    assert path.read_text(encoding="ascii") == content


def test_a_secret_that_cannot_be_kept_and_a_name_that_leaves_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file where the folder should be", encoding="ascii")
    with pytest.raises(SecretError, match="cannot be read or made"):
        home_secret(tmp_path, "erasure")
    with pytest.raises(SecretError, match="cannot be called"):
        home_secret(tmp_path, "../erasure")


# ── pseudonyms ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pseudonym_is_one_persons_within_a_campaign_and_leads_to_no_other_campaign() -> None:
    people = pl.Series("person_id", ["p1", "p2", None, "p1"])
    autumn = campaign_pseudonyms(people, campaign_id="autumn", secret=SECRET)
    spring = campaign_pseudonyms(people, campaign_id="spring", secret=SECRET)
    other = campaign_pseudonyms(people, campaign_id="autumn", secret=bytes(32))
    assert autumn[0] == autumn[3] != autumn[1]
    assert autumn[2] is None
    assert autumn.name == "person_id"
    made = [set(s.drop_nulls()) for s in (autumn, spring, other)]
    assert len(set.union(*made)) == 6
    assert all(len(p) == 21 and p[0] == "x" and int(p[1:], 16) >= 0 for p in set.union(*made))
    key = hmac.new(SECRET, b"autumn", hashlib.sha256).digest()
    assert autumn[0] == "x" + hmac.new(key, b"p1", hashlib.sha256).hexdigest()[:20]


def test_campaign_and_person_cannot_be_shifted_into_each_other() -> None:
    one = campaign_pseudonyms(pl.Series(["21"]), campaign_id="c1", secret=SECRET)
    other = campaign_pseudonyms(pl.Series(["1"]), campaign_id="c12", secret=SECRET)
    assert one[0] != other[0]


def test_two_people_with_one_pseudonym_and_a_weak_secret_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PseudonymError, match="at least 16 bytes"):
        campaign_pseudonyms(pl.Series(["p1"]), campaign_id="c", secret=b"short")
    monkeypatch.setattr("xmkt_assets.pseudonyms.DIGITS", 1)
    with pytest.raises(PseudonymError, match="have one pseudonym"):
        campaign_pseudonyms(pl.Series([f"p{n}" for n in range(17)]), campaign_id="c", secret=SECRET)
    assert campaign_pseudonyms(pl.Series([], dtype=pl.String), campaign_id="c", secret=SECRET).is_empty()
