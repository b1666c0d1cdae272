"""A past campaign list is computed again from what was recorded, and is the same to the byte; or it is said why not."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from xmkt_assets import reproduction
from xmkt_assets.assets.campaigns import EXCLUSIONS, LIST
from xmkt_assets.campaigns.plan import EXAMPLES
from xmkt_assets.erasure.lake import purge
from xmkt_assets.maintenance import Policy, find_pins, maintain
from xmkt_assets.reproduction import DIFFERS, EQUAL, EQUAL_BUT_GONE, ReproductionError, canonical, reproduce
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.warehouse import Delete, Replace, Update, Whole
from xmkt_assets_tests.platform_helper import CAMPAIGN, finished_platform
from xmkt_assets_tests.test_campaigns_assets import AS_OF, run, tables
from xmkt_assets_tests.test_maintenance import LATER

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:.*is currently in beta"),
]
PEOPLE = [f"p{number:02}" for number in range(12)]


class NoModels:
    """Models whose files are gone: what they recommended is read back."""

    def load(self, model: str, version: int) -> object:
        raise FileNotFoundError(model)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a list of twelve people who may all be contacted; the plan's budget pays for some of them."""
    home = tmp_path_factory.mktemp("listed")
    (home / "campaigns").mkdir()
    example = (EXAMPLES / "autumn_joint.yaml").read_text(encoding="utf-8")
    cheap = example.replace("budget_fen: 300000", "budget_fen: 300")
    assert cheap != example
    (home / "campaigns" / "autumn_joint.yaml").write_text(cheap, encoding="utf-8")
    warehouse = Warehouse(home=str(home), threads=1)
    given = {name: everybody(rows) for name, rows in tables().items()}
    with warehouse.session() as session:
        for number, rows in enumerate(given.values()):
            session.stage_rows(f"given_{number}", rows)
        session.commit([Replace(table, f"given_{number}", Whole()) for number, table in enumerate(given)])
    assert run(warehouse).success
    return home


@pytest.fixture
def warehouse(made_once: Path, tmp_path: Path) -> Warehouse:
    """A copy of it, to be changed."""
    shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    return Warehouse(home=str(tmp_path), threads=1)


def everybody(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of ann, once for each of the twelve; nobody opted out."""
    if "person_id" not in rows.columns:
        return rows
    ann = rows.filter(pl.col("person_id") == "ann").drop("person_id")
    return pl.DataFrame({"person_id": PEOPLE}).join(ann, how="cross").select(rows.columns)


def listed(warehouse: Warehouse) -> list[str]:
    return warehouse.read(f"select person_id from {LIST} order by 1")["person_id"].to_list()


def forget(warehouse: Warehouse, *people: str) -> None:
    """What an erasure does to the lake: the people's rows go, then every older snapshot."""
    names = ", ".join(f"'{p}'" for p in people)
    with warehouse.session() as session:
        holding = [t for t in session.tables() if "person_id" in session.columns(t)]
        session.commit([Delete(table, f"person_id in ({names})") for table in holding])
    purge(warehouse.lake, people)


def test_a_list_is_computed_again_and_is_the_same_to_the_byte(warehouse: Warehouse) -> None:
    then = warehouse.read(f"select * from {LIST}")
    warehouse.replace("segments.person_profile", warehouse.read("from segments.person_profile").head(1))
    (Path(warehouse.home) / "campaigns" / "autumn_joint.yaml").unlink()
    done = reproduce(warehouse.lake, NoModels(), "autumn_joint")
    assert done.outcome == EQUAL
    assert [c.table for c in done.tables] == [LIST, EXCLUSIONS]
    assert all(c.is_equal and c.rows.is_empty() for c in done.tables)
    assert done.tables[0].sha256_again == reproduction.sha256(then.sample(fraction=1.0, shuffle=True, seed=1), LIST)
    assert 0 < len(listed(warehouse)) < len(PEOPLE), "the budget must bite"


def test_an_older_list_is_made_again_by_its_run_though_a_newer_one_has_taken_its_place(warehouse: Warehouse) -> None:
    first = warehouse.read("select run_id from campaigns.list_runs").item()
    plan = Path(warehouse.home) / "campaigns" / "autumn_joint.yaml"
    plan.write_text(plan.read_text(encoding="utf-8").replace("budget_fen: 300", "budget_fen: 100"), encoding="utf-8")
    before = len(listed(warehouse))
    assert run(warehouse).success
    assert len(listed(warehouse)) < before
    older, newer = (reproduce(warehouse.lake, NoModels(), "autumn_joint", run_id=r) for r in (first, None))
    assert (older.outcome, newer.outcome) == (EQUAL, EQUAL)
    assert older.tables[0].sha256_then != newer.tables[0].sha256_then


def test_a_row_changed_by_hand_is_named(warehouse: Warehouse) -> None:
    """The record is changed so that it names a snapshot whose list was tampered with."""
    victim = listed(warehouse)[0]
    with warehouse.session() as session:
        session.commit(
            [
                Update(LIST, {"score": "score + 0.000000001"}, f"person_id = '{victim}'"),
                Update("campaigns.list_runs", {"git_sha": "git_sha"}, "true"),
            ]
        )
    done = reproduce(warehouse.lake, NoModels(), "autumn_joint")
    assert done.outcome == DIFFERS
    assert done.tables[0].rows.rows() == [(victim, "score")]
    assert "is not what was recorded" in done.in_words()


def test_a_withdrawal_since_is_told_and_the_list_as_it_was_is_still_made(warehouse: Warehouse) -> None:
    left = listed(warehouse)[0]
    moved = warehouse.read(f"select * from {EXCLUSIONS} limit 1").with_columns(
        person_id=pl.lit(left), rule=pl.lit("consent withdrawn"), step=pl.lit(6, pl.Int64)
    )
    with warehouse.session() as session:
        session.stage_rows("moved", moved)
        session.connection.execute(f"insert into {EXCLUSIONS} by name select * from moved")
        session.commit([Delete(LIST, f"person_id = '{left}'")])
    done = reproduce(warehouse.lake, NoModels(), "autumn_joint")
    assert (done.outcome, done.withdrawn) == (EQUAL, 1)
    assert "1 people of the list have withdrawn since" in done.in_words()


def test_after_an_erasure_the_rest_of_the_list_is_made_again_and_the_missing_are_counted(warehouse: Warehouse) -> None:
    people = listed(warehouse)
    unlisted = sorted(set(PEOPLE) - set(people))[0]
    forget(warehouse, people[0], people[-1], unlisted)
    done = reproduce(warehouse.lake, NoModels(), "autumn_joint")
    assert (done.outcome, done.gone) == (EQUAL_BUT_GONE, 2)
    assert "erased since: 2 people of the list cannot be reproduced, the rest is equal" in done.in_words()


def test_after_an_erasure_a_changed_input_is_not_passed_off_as_equal(warehouse: Warehouse) -> None:
    people = listed(warehouse)
    forget(warehouse, people[0])
    with warehouse.session() as session:
        session.commit([Delete("staging.gate_joint_marketing", f"person_id = '{people[1]}'")])
    done = reproduce(warehouse.lake, NoModels(), "autumn_joint")
    assert done.outcome == DIFFERS
    assert people[1] in done.tables[0].rows["person_id"].to_list()


def test_maintenance_keeps_what_a_list_needs(warehouse: Warehouse) -> None:
    lake = warehouse.lake
    for table in ("segments.person_profile", "staging.do_not_contact"):
        warehouse.replace(table, warehouse.read(f"from {table}").head(0))
    with lake.session() as session:
        pins = find_pins(session.connection, lake.home, now=LATER)
    assert {pin.kind for pin in pins} == {"campaign list"}
    done = maintain(lake, Policy(grace_hours=0), pins=pins, now=LATER)
    assert done.expired
    assert reproduce(lake, NoModels(), "autumn_joint").outcome == EQUAL


def test_canonical_bytes_are_written_by_hand_like_this() -> None:
    rows = pl.DataFrame(
        {"person_id": ["b", "a"], "campaign_id": "c", "step": [1, 2], "rule": ["x, y", None], "detail": ['"', "'"]}
    ).with_columns(as_of_on=pl.lit(AS_OF))
    assert canonical(rows, EXCLUSIONS).decode() == (
        '"campaign_id","person_id","step","rule","detail","as_of_on"\n'
        f'"c","a",2,\\N,"\'","{AS_OF}"\n'
        f'"c","b",1,"x, y","""","{AS_OF}"\n'
    )


def test_a_list_that_was_never_recorded_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ReproductionError, match="No list of winter was recorded: autumn_joint"):
        reproduce(warehouse.lake, NoModels(), "winter")


def test_recommendations_are_computed_anew_by_the_models_they_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    platform = finished_platform(tmp_path_factory)
    tracking = platform.resources["tracking"]
    assert isinstance(tracking, Tracking)
    done = reproduce(platform.warehouse.lake, tracking, CAMPAIGN)
    assert done.outcome == EQUAL
    for target in ("course", "product"):
        assert done.models[target].startswith(("equal, computed by version", "none to compute")), done.models
    assert any(said.startswith("equal, computed by") for said in done.models.values())
