"""Consent by hand-written rows: notices, the ledger of decisions, who counts as consenting, and withdrawals applied."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.agreement import PACKAGED, AgreementError, Notice, read_agreement
from xmkt_assets.contracts import contracts
from xmkt_assets.notices import COLUMNS, SCHEMA, notice_rows
from xmkt_assets.purposes import PURPOSES, STAGE_PURPOSES, purposes_of
from xmkt_assets.simulate.permissions import SENSITIVE_NOTICE
from xmkt_assets.warehouse import Delete, Equal, Lake, Replace, Session, WarehouseError, Whole
from xmkt_assets.withdrawals import APPLIED, Run, apply_withdrawals, person_tables
from xmkt_assets_tests.test_staging import BEFORE, DAY, Row, decide, ledger, said

FIRMS = ("course_platform", "insurer")
DAY_1, DAY_2 = timedelta(days=1), timedelta(days=2)

# ── the notices of the agreement ─────────────────────────────────────────────────────────────────────────────────────


def test_the_shipped_agreement_covers_what_the_simulated_firms_and_the_adapters_say() -> None:
    rows = notice_rows(read_agreement().notices)
    covered = {version: set(part["purpose"]) for (version,), part in rows.group_by("notice_version")}
    three = {"profiling", "joint_marketing", "measurement"}
    assert covered == {
        "2026-1": three,
        "2026-2": three,
        SENSITIVE_NOTICE: {"sensitive_profiling"},
        "public-research-data": {*three, "sensitive_profiling"},
        "public-research-data;synthetic-link": {*three, "sensitive_profiling"},
    }
    assert set(rows["recipient"]) == set(FIRMS)
    assert rows.schema == SCHEMA
    assert COLUMNS.keys() == SCHEMA.keys()


def test_every_notice_that_a_contract_names_is_in_the_agreement() -> None:
    agreed = {notice.version for notice in read_agreement().notices}
    named = {version for contract in contracts().values() for version in contract.notice_versions}
    assert set(contracts()["consents"].notice_versions) == agreed >= named


def own_agreement(home: Path, *, notices: str) -> Path:
    shipped = PACKAGED.read_text(encoding="utf-8")
    (home / PACKAGED.name).write_text(shipped.partition("notices:")[0] + notices, encoding="utf-8")
    return home


def test_a_home_has_its_own_notices(tmp_path: Path) -> None:
    one = "{version: v9, purposes: [profiling], recipients: [insurer], valid_from: 2026-01-01, languages: [zh, en]}"
    (found,) = read_agreement(own_agreement(tmp_path, notices=f"notices:\n  - {one}\n")).notices
    assert found == Notice("v9", ("profiling",), ("insurer",), date(2026, 1, 1), None, ("zh", "en"))
    assert notice_rows([found])["languages"].to_list() == ["zh|en"]
    assert notice_rows([]).schema == SCHEMA


@pytest.mark.parametrize(
    ("wrong", "said_so"),
    [
        (
            "{version: v9, purposes: [selling], recipients: [insurer], valid_from: 2026-01-01}",
            r"purposes \['selling'\]",
        ),
        ("{version: v9, purposes: [profiling], recipients: [bank], valid_from: 2026-01-01}", r"recipients \['bank'\]"),
        ("{version: v9, purposes: profiling, recipients: [insurer], valid_from: 2026-01-01}", "wanted a list such as"),
        ("{version: v9, purposes: [profiling], recipients: [insurer]}", "lacks the term 'valid_from'"),
        ("{version: v9, purposes: [profiling], recipients: [], valid_from: 2026-01-01}", "wanted some of"),
        (
            "{version: v9, purposes: [profiling], recipients: [insurer], valid_from: 2026-01-02, "
            "valid_until: 2026-01-01}",
            "before it began",
        ),
    ],
)
def test_a_notice_that_cannot_be_used_is_refused_by_name(wrong: str, said_so: str, tmp_path: Path) -> None:
    with pytest.raises(AgreementError, match=said_so):
        read_agreement(own_agreement(tmp_path, notices=f"notices:\n  - {wrong}\n"))


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────────────────


def intervals(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """(consent, recipient, ended_at, ended_by, is newest, fault) of each line."""
    names = ("consent_id", "recipient", "ended_at", "ended_by", "is_newest", "fault")
    return [tuple(row[n] for n in names) for row in ledger(rows).to_dicts()]


def test_a_decision_stands_in_the_ledger_once_per_firm_it_speaks_of() -> None:
    assert intervals([said("u1", recipient="insurer")]) == [("k1", "insurer", None, None, True, None)]
    assert [line[1] for line in intervals([said("u1", recipient="both")])] == list(FIRMS)
    assert [line[1] for line in intervals([said("u1")])] == list(FIRMS)
    assert [line[1] for line in intervals([said("u1", notice="narrow")])] == ["course_platform"]
    assert [line[1] for line in intervals([said("u1", "withdrawn", notice="narrow")])] == list(FIRMS)


def test_a_grant_ends_by_its_last_day_by_a_withdrawal_or_by_a_new_grant_whichever_comes_first() -> None:
    first = said("u1", recipient="insurer", until=BEFORE.date() + DAY_2, name="a")
    expiry = BEFORE + timedelta(days=3)
    assert intervals([first])[0][2:4] == (expiry, "expiry")
    for decision, ended_by in (("withdrawn", "withdrawal"), ("granted", "new grant")):
        for after, wanted in ((DAY_1, (BEFORE + DAY_1, ended_by)), (timedelta(days=9), (expiry, "expiry"))):
            found = intervals([first, said("u1", decision, at=BEFORE + after, recipient="insurer", name="b")])
            assert found[0][2:5] == (*wanted, False)
            assert found[1][2:5] == (None, None, True)


def test_a_decision_for_one_firm_or_purpose_or_account_does_not_end_one_for_another() -> None:
    first = said("u1", recipient="insurer", name="a")
    for other in (
        said("u1", "withdrawn", at=BEFORE + DAY_1, recipient="course_platform", name="b"),
        said("u1", "withdrawn", at=BEFORE + DAY_1, recipient="insurer", purpose="measurement", name="b"),
        said("u2", "withdrawn", at=BEFORE + DAY_1, recipient="insurer", name="b"),
        said("u1", "withdrawn", at=BEFORE + DAY_1, recipient="insurer", name="b", partner="insurer"),
    ):
        assert intervals([first, other])[0] == ("a", "insurer", None, None, True, None)


@pytest.mark.parametrize(
    ("grant", "fault"),
    [
        (said("u1", notice="nobody's"), "unknown notice"),
        (said("u1", notice="narrow", purpose="measurement", recipient="both"), "notice without this purpose"),
        (said("u1", notice="narrow", recipient="insurer"), "notice without this firm"),
        (said("u1", notice="spring", at=datetime(2026, 2, 28, 23, 59)), "notice not in use"),
        (said("u1", notice="spring", at=datetime(2026, 3, 1)), None),
        (said("u1", notice="spring", at=datetime(2026, 5, 31, 23, 59)), None),
        (said("u1", notice="spring", at=datetime(2026, 6, 1)), "notice not in use"),
        (said("u1", "withdrawn", notice="nobody's"), None),
    ],
)
def test_a_grant_under_a_notice_that_does_not_carry_it_counts_for_nothing_and_says_why(grant: Row, fault: str) -> None:
    assert {line[5] for line in intervals([grant])} == {fault}
    if grant["decision"] == "granted":
        found = decide([grant]).filter(person_id="ann", purpose=str(grant["purpose"])).row(0, named=True)
        assert (found["reason"], found["is_allowed"]) == (fault or "granted", fault is None)


DECISIONS = st.lists(
    st.tuples(
        st.sampled_from(["u1", "c1"]),
        st.sampled_from(["granted", "withdrawn"]),
        st.integers(0, 4),
        st.sampled_from([None, "both", *FIRMS]),
        st.sampled_from([None, 1, 3]),
        st.sampled_from(["wide", "narrow", "nobody's"]),
    ),
    max_size=5,
)


def by_hand(rows: Sequence[Row], *, day: date) -> str:
    """Second method, over single decisions: what each account last said towards each firm, then the person."""
    covers = {"wide": FIRMS, "narrow": ("course_platform",)}
    last: dict[tuple[object, str], Row] = {}
    ever: dict[tuple[object, str], Row] = {}
    order = sorted(rows, key=lambda r: (r["decided_at"], r["decision"] == "withdrawn", r["consent_id"]))
    for row in order:
        named = row["recipient"]
        spoken = covers.get(str(row["notice_version"]), FIRMS) if row["decision"] == "granted" else FIRMS
        for firm in FIRMS if named == "both" else (named,) if named else spoken:
            ever[row["partner"], firm] = row
            if row["decided_at"].date() <= day:  # type: ignore[attr-defined]
                last[row["partner"], firm] = row
    if any(row["decision"] == "withdrawn" for row in last.values()):
        return "withdrawn"
    if any(row["decision"] == "withdrawn" for row in ever.values()):
        return "withdrawn since"
    if not last:
        return "never asked"
    faults, expired = set(), False
    for (partner, firm), row in last.items():
        if firm == partner:
            continue
        version = str(row["notice_version"])
        if version not in covers:
            faults.add("unknown notice")
        elif firm not in covers[version]:
            faults.add("notice without this firm")
        elif row["expires_on"] is None or row["expires_on"] >= day:  # type: ignore[operator]
            return "granted"
        expired |= row["expires_on"] is not None and row["expires_on"] < day  # type: ignore[operator]
    return min(faults) if faults else "expired" if expired else "not for the other firm"


@settings(max_examples=15, deadline=None)
@given(DECISIONS)
def test_any_history_of_decisions_is_judged_as_by_hand(drawn: list[tuple[str, str, int, str, int, str]]) -> None:
    rows = [
        said(
            account,
            decision,
            at=datetime(2026, 7, 8) + timedelta(days=after),
            recipient=recipient,
            until=None if lasts is None else date(2026, 7, 8) + timedelta(days=after + lasts),
            notice=notice,
            name=f"k{n}",
        )
        for n, (account, decision, after, recipient, lasts, notice) in enumerate(drawn)
    ]
    found = decide(rows, day=DAY).filter(person_id="ann", purpose="profiling")["reason"].item()
    assert found == by_hand(rows, day=DAY)


def test_a_grant_at_one_firm_for_that_firm_alone_does_not_let_the_other_in() -> None:
    (own,) = decide([said("u1", recipient="course_platform")]).filter(person_id="ann", purpose="profiling").to_dicts()
    assert (own["reason"], own["is_allowed"], own["consent_id"]) == ("not for the other firm", False, None)


def test_who_withdrew_after_the_day_and_granted_again_is_allowed_on_it() -> None:
    later, latest = datetime(2026, 7, 12), datetime(2026, 7, 13)
    back = [said("u1", name="a"), said("u1", "withdrawn", at=later, name="b"), said("u1", at=latest, name="c")]
    found = {n: decide(back[:n]).filter(person_id="ann", purpose="profiling")["reason"].item() for n in (1, 2, 3)}
    assert found == {1: "granted", 2: "withdrawn since", 3: "granted"}


# ── withdrawals applied ──────────────────────────────────────────────────────────────────────────────────────────────

RUN = Run("run-1", datetime(2026, 7, 20, 2, 30))
EARLIER = date(2026, 7, 1)
ALL_PEOPLE = ("ann", "bo", "cy")


def rows_of(*people: str, **more: object) -> pl.DataFrame:
    """Each person on two days."""
    return pl.DataFrame([{"as_of_on": day, "person_id": p, **more} for p in people for day in (EARLIER, DAY)])


def allowed(*pairs: tuple[str, str]) -> pl.DataFrame:
    return pl.concat(
        rows_of(person, purpose=purpose, is_allowed=True, reason="granted", consent_id=f"insurer:{person}")
        for person, purpose in pairs
    )


def listed(campaign: str, launched_on: date, *people: str) -> pl.DataFrame:
    return rows_of(*people).filter(as_of_on=DAY).with_columns(campaign_id=pl.lit(campaign), launched_on=launched_on)


EXCLUDED = pl.DataFrame(
    [("spring", "dee", 1, "consent", "never asked", DAY), ("later", "ann", 5, "budget", "score", DAY)],
    schema={
        **dict.fromkeys(("campaign_id", "person_id"), pl.String),
        "step": pl.Int64,
        **dict.fromkeys(("rule", "detail"), pl.String),
        "as_of_on": pl.Date,
    },
    orient="row",
)


def tables() -> dict[str, pl.DataFrame]:
    """Everything made of ann, bo and cy on two days, and lists: two to be launched, one launched on the newest day."""
    every = [(p, purpose) for p in ALL_PEOPLE for purpose in PURPOSES]
    return {
        "staging.consent_decisions": allowed(*every),
        "staging.gate_profiling": rows_of(*ALL_PEOPLE),
        "staging.gate_joint_marketing": rows_of(*ALL_PEOPLE),
        "staging.gate_sensitive_profiling": rows_of(*ALL_PEOPLE),
        "staging.people": pl.DataFrame({"person_id": ALL_PEOPLE}),
        "segments.person_profile": rows_of(*ALL_PEOPLE),
        "segments.sensitive_profile": rows_of(*ALL_PEOPLE),
        "segments.segment_summary": pl.DataFrame({"as_of_on": [DAY], "people": [3]}),
        "recommenders.course_recommendations": pl.concat([rows_of(*ALL_PEOPLE), rows_of(*ALL_PEOPLE)]),
        "evaluation.experiment_assignments": rows_of(*ALL_PEOPLE),
        "campaigns.campaign_list": pl.concat(
            [
                listed("spring", DAY + timedelta(days=1), *ALL_PEOPLE),
                listed("later", DAY + timedelta(days=2), "bo", "cy"),
                listed("launched", DAY, *ALL_PEOPLE),
            ]
        ),
        "campaigns.exclusions": EXCLUDED,
        "raw.file_ledger": pl.DataFrame({"dt": [DAY, DAY + timedelta(days=9)], "rows_loaded": [5, 0]}),
    }


def refuse(*rows: tuple[str, str, datetime]) -> pl.DataFrame:
    names = {"person_id": pl.String, "purpose": pl.String, "refused_at": pl.Datetime("us")}
    return pl.DataFrame(rows, schema=names, orient="row")


def fill(session: Session, given: dict[str, pl.DataFrame]) -> None:
    for n, rows in enumerate(given.values()):
        session.stage_rows(f"given_{n}", rows)
    session.commit([Replace(table, f"given_{n}", Whole()) for n, table in enumerate(given)])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(tmp_path, threads=1)
    with found.session() as session:
        fill(session, tables())
        session.create_view("segments.seen", "select person_id from segments.person_profile")
    return found


@pytest.fixture
def withdraw(lake: Lake) -> Callable[..., dict[str, tuple[str, int, int]]]:
    """Apply refusals; table → (action, people, rows)."""

    def apply(*rows: tuple[str, str, datetime], run: Run = RUN) -> dict[str, tuple[str, int, int]]:
        with lake.session() as session:
            fill(session, {"staging.consent_refusals": refuse(*rows)})
            found = apply_withdrawals(session, run)
        return {one.table: (one.action, one.people, one.rows) for one in found}

    return apply


def people_in(lake: Lake, table: str, where: str = "true") -> list[str]:
    return lake.read(f"select distinct person_id from {table} where {where} order by 1")["person_id"].to_list()


def test_who_refuses_profiling_leaves_profiles_scores_recommendations_and_their_gate_of_all_days(
    lake: Lake, withdraw: Callable[..., object]
) -> None:
    done = withdraw(("ann", "profiling", datetime(2026, 7, 15)))
    assert done == {
        "recommenders.course_recommendations": ("removed", 1, 4),
        "segments.person_profile": ("removed", 1, 2),
        "segments.sensitive_profile": ("removed", 1, 2),
        "staging.gate_profiling": ("removed", 1, 2),
        "staging.gate_sensitive_profiling": ("removed", 1, 2),
        "staging.consent_decisions": ("turned", 1, 2),
        "campaigns.campaign_list": ("moved", 1, 1),
    }
    for table in ("recommenders.course_recommendations", "segments.sensitive_profile", "staging.gate_profiling"):
        assert people_in(lake, table) == ["bo", "cy"]
    for table in ("staging.gate_joint_marketing", "staging.people", "evaluation.experiment_assignments"):
        assert people_in(lake, table) == list(ALL_PEOPLE)


def test_who_refuses_the_use_of_sensitive_data_stays_in_the_rest_of_the_profile(
    lake: Lake, withdraw: Callable[..., object]
) -> None:
    done = withdraw(("ann", "sensitive_profiling", datetime(2026, 7, 15)))
    assert done == {
        "segments.sensitive_profile": ("removed", 1, 2),
        "staging.gate_sensitive_profiling": ("removed", 1, 2),
        "staging.consent_decisions": ("turned", 1, 2),
    }
    assert people_in(lake, "segments.person_profile") == list(ALL_PEOPLE)


def test_old_decisions_say_what_building_their_day_again_would_say(lake: Lake, withdraw: Callable[..., object]) -> None:
    """Spoken between the two days: the later day had heard of it, had its file come in time."""
    withdraw(("ann", "measurement", datetime(2026, 7, 5)), ("bo", "profiling", datetime(2026, 7, 15)))
    turned = lake.read(
        "select person_id, purpose, as_of_on, reason, consent_id from staging.consent_decisions "
        "where not is_allowed order by all"
    )
    assert turned.rows() == [
        ("ann", "measurement", EARLIER, "withdrawn since", None),
        ("ann", "measurement", DAY, "withdrawn", None),
        ("bo", "profiling", EARLIER, "withdrawn since", None),
        ("bo", "profiling", DAY, "withdrawn since", None),
    ]
    untouched = lake.read("select count(*) from staging.consent_decisions where reason = 'granted' and is_allowed")
    assert untouched.item() == 3 * 4 * 2 - 4


def test_only_lists_not_yet_launched_lose_people_and_everybody_is_still_accounted_for_once(
    lake: Lake, withdraw: Callable[..., object]
) -> None:
    together = (
        "select campaign_id, person_id from campaigns.campaign_list union all "
        "select campaign_id, person_id from campaigns.exclusions order by all"
    )
    before = lake.read(together).rows()
    spoken = datetime(2026, 7, 15, 9)
    done = withdraw(*((p, "joint_marketing", spoken) for p in ("ann", "bo")), ("ann", "profiling", spoken))
    assert done["campaigns.campaign_list"] == ("moved", 2, 3)  # type: ignore[index]
    left = {c: people_in(lake, "campaigns.campaign_list", f"campaign_id = '{c}'") for c in ("spring", "later")}
    assert left == {"spring": ["cy"], "later": ["cy"]}
    assert people_in(lake, "campaigns.campaign_list", "campaign_id = 'launched'") == list(ALL_PEOPLE)
    assert lake.read(together).rows() == before
    moved = lake.read("select * from campaigns.exclusions where rule = 'consent withdrawn' order by all")
    words = "withdrew {} on 2026-07-15, after the list was made"
    assert moved.rows() == [
        ("later", "bo", 6, "consent withdrawn", words.format("joint_marketing"), DAY),
        ("spring", "ann", 6, "consent withdrawn", words.format("joint_marketing, profiling"), DAY),
        ("spring", "bo", 6, "consent withdrawn", words.format("joint_marketing"), DAY),
    ]


def test_applying_the_same_withdrawals_again_changes_nothing_and_writes_nothing(
    lake: Lake, withdraw: Callable[..., object]
) -> None:
    refused = ("ann", "profiling", datetime(2026, 7, 15))
    withdraw(refused)
    book = lake.read(f"select * from {APPLIED} order by table_name")
    snapshot = lake.snapshot_id()
    assert withdraw(refused, run=Run("run-2", RUN.at)) == {}
    assert lake.snapshot_id() == snapshot + 1  # the refusals that the test itself wrote
    assert lake.read(f"select * from {APPLIED} order by table_name").equals(book)


def test_the_book_names_tables_purposes_and_counts_and_nobody(lake: Lake, withdraw: Callable[..., object]) -> None:
    withdraw(("ann", "profiling", datetime(2026, 7, 15)), ("bo", "measurement", datetime(2026, 7, 15)))
    book = lake.read(f"select * exclude (applied_at) from {APPLIED} order by table_name")
    assert book.height == 8
    assert book.filter(table_name="evaluation.experiment_assignments").rows() == [
        ("run-1", "evaluation.experiment_assignments", "measurement", "removed", 1, 2)
    ]
    (turned,) = book.filter(table_name="staging.consent_decisions").to_dicts()
    assert (turned["purposes"], turned["people"], turned["rows_removed"]) == ("measurement|profiling", 2, 4)
    assert not any(person in str(book.rows()) for person in ALL_PEOPLE)


def test_nothing_was_made_yet_and_nobody_refuses(tmp_path: Path) -> None:
    lake = Lake(tmp_path, threads=1)
    with lake.session() as session:
        fill(session, {"staging.consent_refusals": refuse(("ann", "profiling", datetime(2026, 7, 15)))})
        assert apply_withdrawals(session, RUN) == []
    assert lake.read(f"select * from {APPLIED}").is_empty()


def test_tables_with_people_are_found_in_the_lake_and_views_and_lists_are_not_among_them(lake: Lake) -> None:
    with lake.session() as session:
        fill(session, {"recommenders.of_tomorrow": rows_of("ann"), "segments.without": pl.DataFrame({"x": [1]})})
        found = person_tables(session)
    assert found["recommenders.of_tomorrow"] == ("profiling",)
    assert found["segments.sensitive_profile"] == ("profiling", "sensitive_profiling")
    assert found["staging.gate_joint_marketing"] == ("joint_marketing",)
    assert not {"segments.seen", "segments.without", "staging.people", "campaigns.campaign_list"} & found.keys()


def test_every_stage_serves_a_purpose_that_people_are_asked_about() -> None:
    assert set(STAGE_PURPOSES.values()) < set(PURPOSES)
    assert purposes_of("staging.users") == purposes_of("raw.users") == ()
    assert purposes_of("staging.gate_sensitive_profiling") == ("profiling", "sensitive_profiling")


def test_rows_are_deleted_and_replaced_in_one_transaction_or_not_at_all(lake: Lake) -> None:
    gone = Delete("segments.person_profile", "person_id = $who and as_of_on < $day", {"who": "ann", "day": DAY})
    with lake.session() as session:
        (written,) = session.commit([gone])
        assert (written.table, written.row_count) == ("segments.person_profile", 1)
        session.stage_rows("wrong", pl.DataFrame({"as_of_on": ["today"], "person_id": ["bo"]}))
        everybody = Delete("segments.person_profile", "true")
        with pytest.raises(WarehouseError, match=r"staging.gate_profiling.as_of_on holds DATE"):
            session.commit([everybody, Replace("staging.gate_profiling", "wrong", Equal((("person_id", "bo"),)))])
    assert lake.read("select count(*) from segments.person_profile").item() == 5
