"""The campaign asset on a lake of a few people: both tables, the promises, and what a user sees when it cannot run."""

import warnings
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from xmkt_assets.assets.campaigns import AUDITS, EXCLUSIONS, LIST, campaign
from xmkt_assets.campaigns.plan import EXAMPLES
from xmkt_assets.partitions import CAMPAIGNS
from xmkt_assets.resources import Warehouse
from xmkt_assets.warehouse import Replace, Session, Whole

AS_OF = date(2026, 9, 28)
PEOPLE = ("ann", "bo", "cy", "di")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Four people: ann may be listed, bo refused, cy opted out of the channel, di may buy nothing."""
    (tmp_path / "campaigns").mkdir()
    example = (EXAMPLES / "autumn_joint.yaml").read_text(encoding="utf-8")
    (tmp_path / "campaigns" / "autumn_joint.yaml").write_text(example, encoding="utf-8")
    made = Warehouse(home=str(tmp_path))
    with made.session() as session:
        for number, rows in enumerate(tables().values()):
            session.stage_rows(f"given_{number}", rows)
        session.commit([Replace(table, f"given_{number}", Whole()) for number, table in enumerate(tables())])
    return made


def tables() -> dict[str, pl.DataFrame]:
    recommended = pl.DataFrame({"person_id": PEOPLE, "rank": 1, "score": 0.5, "model": "als", "model_version": 2})
    allowed = [p != "bo" for p in PEOPLE]
    consents = pl.DataFrame(
        {
            "person_id": PEOPLE,
            "purpose": "joint_marketing",
            "is_allowed": allowed,
            "reason": ["granted" if a else "never asked" for a in allowed],
            "consent_id": [f"insurer:{p}" if a else None for p, a in zip(PEOPLE, allowed, strict=True)],
        }
    )
    gate = consents.filter("is_allowed").select(
        "person_id", "consent_id", partner=pl.lit("insurer"), subject_id="person_id"
    )
    profiles = pl.DataFrame(
        {
            "person_id": PEOPLE,
            "age_years": 40,
            "value_label": "steady",
            "has_course_side": True,
            "has_insurance_side": True,
            "interests": "健康",
        }
    )
    dated = {
        "staging.consent_decisions": pl.concat([consents, consents.with_columns(purpose=pl.lit("profiling"))]),
        "staging.gate_joint_marketing": gate,
        "staging.do_not_contact": pl.DataFrame({"person_id": ["cy"], "channel": ["app_push"]}),
        "segments.person_profile": profiles,
        "recommenders.course_recommendations": recommended.with_columns(item_id=pl.lit("c1")),
        "recommenders.product_recommendations": recommended.with_columns(item_id=pl.lit("q1")),
        "recommenders.product_eligibility": pl.DataFrame({"person_id": PEOPLE[:3], "item_id": "q1"}),
    }
    items = {
        f"recommenders.{side}_items": pl.DataFrame({"item_id": [item], "title": [title], "topics": ["健康"]})
        for side, item, title in (("course", "c1", "Sleep well"), ("product", "q1", "Hospital cover"))
    }
    return {name: rows.with_columns(as_of_on=pl.lit(AS_OF)) for name, rows in dated.items()} | items


def run(warehouse: Warehouse, plan_id: str = "autumn_joint") -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        instance.add_dynamic_partitions(str(CAMPAIGNS.name), [plan_id])
        return dg.materialize(
            [campaign],
            partition_key=plan_id,
            instance=instance,
            resources={"warehouse": warehouse},
            raise_on_error=False,
        )


def failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    error = result.failure_data_for_node("campaign").error  # type: ignore[union-attr]
    return str(error.cause.message if error.cause else error.message)  # type: ignore[union-attr]


def test_a_plan_becomes_a_list_and_exclusions_that_hold_everybody(warehouse: Warehouse) -> None:
    result = run(warehouse)
    assert result.success
    assert warehouse.read(f"select person_id, course_id, product_id from {LIST}").rows() == [("ann", "c1", "q1")]
    assert warehouse.read(f"select person_id, rule from {EXCLUSIONS} order by 1").rows() == [
        ("bo", "consent"),
        ("cy", "do_not_contact"),
        ("di", "suitability"),
    ]


def test_the_user_sees_the_waterfall_its_picture_the_plan_and_every_promise_kept(warehouse: Warehouse) -> None:
    result = run(warehouse)
    made = {m.asset_key.to_user_string(): m.metadata for m in result.asset_materializations_for_node("campaign")}
    assert set(made) == {"campaigns/campaign_list", "campaigns/exclusions"}
    shown = made["campaigns/campaign_list"]
    assert "| 1 | consent | Does the person consent to joint marketing? | 4 | 1 | 3 |" in str(shown["waterfall"].value)
    assert str(shown["waterfall_picture"].value).startswith("![who came, who was left out](data:image/png;base64,")
    assert shown["budget_fen"].value == 300_000
    checks = {c.check_name: c.passed for c in result.get_asset_check_evaluations()}
    zero_rows = {"nobody_is_listed_and_excluded": True}  # of dbt_like_sql/checks, asked before publishing as well
    assert checks == {audit.name: True for audit in AUDITS} | zero_rows


def test_running_again_replaces_the_list_of_that_plan_and_no_other(warehouse: Warehouse) -> None:
    other = Path(warehouse.home) / "campaigns" / "winter.yaml"
    example = (EXAMPLES / "autumn_joint.yaml").read_text(encoding="utf-8")
    other.write_text(example.replace("id: autumn_joint", "id: winter"), encoding="utf-8")
    for plan_id in ("autumn_joint", "winter", "autumn_joint"):
        assert run(warehouse, plan_id).success
    counts = warehouse.read(f"select campaign_id, count(*) from {LIST} group by 1 order by 1").rows()
    assert counts == [("autumn_joint", 1), ("winter", 1)]


@pytest.mark.parametrize(
    "table", ["staging.consent_decisions", "segments.person_profile", "recommenders.product_recommendations"]
)
def test_a_day_that_an_upstream_table_lacks_is_named_with_the_remedy(warehouse: Warehouse, table: str) -> None:
    warehouse.replace(table, tables()[table].with_columns(as_of_on=pl.lit(date(2026, 9, 27))))
    assert (
        f"Campaign autumn_joint: {table} has no rows as of 2026-09-28; the plan reads it as of 2026-09-28. Materialise "
        f"the partition 2026-09-28 of {table} (and what it reads), or set as_of in campaigns/autumn_joint.yaml"
    ) in failure(run(warehouse))


def test_a_table_that_was_never_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "campaigns").mkdir()
    example = (EXAMPLES / "autumn_joint.yaml").read_text(encoding="utf-8")
    (tmp_path / "campaigns" / "autumn_joint.yaml").write_text(example, encoding="utf-8")
    assert "staging.consent_decisions does not exist; the plan reads it as of 2026-09-28. Materialise" in failure(
        run(Warehouse(home=str(tmp_path)))
    )


def test_a_plan_that_is_not_there_fails_with_its_place(warehouse: Warehouse) -> None:
    assert "Campaign plan 'summer' not found at" in failure(run(warehouse, "summer"))


def test_a_list_resting_on_another_consent_than_the_gates_is_not_published(warehouse: Warehouse) -> None:
    assert run(warehouse).success
    gate = tables()["staging.gate_joint_marketing"].with_columns(consent_id=pl.lit("insurer:older"))
    warehouse.replace("staging.gate_joint_marketing", gate)
    before = warehouse.snapshot_id()
    result = run(warehouse)
    assert (
        "breaks 1 promise(s) and was not published; an earlier list stands. Broken: Each listed person passed the"
        in (failure(result))
    )
    assert warehouse.snapshot_id() == before
    broken = [c.check_name for c in result.get_asset_check_evaluations() if not c.passed]
    assert broken == ["nobody_is_listed_without_consent"]


@pytest.mark.parametrize(
    ("audit", "added"),
    [
        ("everyone_is_accounted_for", None),
        ("everyone_is_accounted_for", ("bo", "sms", "control", 0)),
        ("everyone_is_accounted_for", ("nobody", "sms", "control", 0)),
        ("nobody_is_listed_without_consent", ("bo", "sms", "control", 0)),
        ("nobody_is_listed_against_their_word", ("cy", "app_push", "control", 0)),
        ("products_offered_may_be_sold", ("di", "sms", "control", 0)),
        ("contacts_stay_within_budget", ("di", "sms", "treatment", 8)),
        ("contacts_stay_within_budget", ("di", "sms", "control", 1)),
    ],
)
def test_every_promise_notices_a_list_that_breaks_it(
    tmp_path: Path, audit: str, added: tuple[str, str, str, int] | None
) -> None:
    """Lists tampered with by hand: the audits do not trust the code that makes lists."""
    connection = duckdb.connect()
    for table, rows in tables().items():
        connection.register("rows", rows)
        connection.execute(f"create schema if not exists {table.split('.')[0]}")
        connection.execute(f"create table {table} as select * from rows")
    session = Session(connection, tmp_path)
    session.stage("new_exclusions", "select unnest(['bo', 'cy', 'di']) as person_id")
    query = next(a.broken for a in AUDITS if a.name == audit)
    params = {"day": AS_OF} if "$day" in query else {}

    def broken(*people: tuple[str, str, str, int]) -> int:
        schema = {"person_id": pl.String, "channel": pl.String, "arm": pl.String, "contact_cost_fen": pl.Int64}
        consent = pl.format("insurer:{}", "person_id").alias("consent_id")
        rows = pl.DataFrame(list(people), schema=schema, orient="row").with_columns(
            consent, product_id=pl.lit("q1"), incentive_fen=pl.lit(0), budget_fen=pl.lit(9)
        )
        session.stage_rows("new_list", rows)
        return int(session.read(query, **params).item())

    ann = ("ann", "app_push", "treatment", 5)
    assert broken(ann) == 0
    assert broken(ann, added) > 0 if added else broken() > 0
