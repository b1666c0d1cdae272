"""Late rows: they are loaded where they came, and the day they belong to is built again."""

from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from xmkt_assets.automation.door import late_days, late_sensor, tell_of_failed_checks
from xmkt_assets.automation.jobs import LOAD
from xmkt_assets.contracts import contracts
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.late import LATE
from xmkt_assets.raw.load import load_feed
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.platform_helper import FIRST_DAY, Platform, new_platform

HEADER = "view_id,user_id,course_id,viewed_at,dwell_seconds,source"
DAY = FIRST_DAY + timedelta(days=1)
ONLY = ["raw.course_views", "staging.course_views"]


def view(name: str, on: date) -> str:
    return f"{name},u1,c1,{on} 10:00:00,60,search\n"


def file_of(*lines: str) -> str:
    return f"{HEADER}\n{''.join(lines)}"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return new_platform(tmp_path_factory.mktemp("late"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def load(lake: Lake, text: str, *, day: date = DAY, run_id: str = "r") -> None:
    path = lake.home / "landing" / "course_platform" / "course_views" / f"dt={day}" / "a.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    files = take_inventory(lake.home / "landing", contracts(), only_feed="course_views").of("course_views", [day])
    with lake.session() as session:
        load_feed(session, contracts()["course_views"], files, run_id=run_id, loaded_at=datetime(2026, 8, 1))


@pytest.mark.parametrize(("days_late", "is_loaded"), [(-1, False), (0, True), (1, True), (3, True), (4, False)])
def test_a_row_may_come_as_late_as_its_contract_says_and_never_early(
    lake: Lake, days_late: int, is_loaded: bool
) -> None:
    load(lake, file_of(view("v1", DAY - timedelta(days=days_late))))
    assert lake.read("select count(*) as n from raw.course_views").item() == int(is_loaded)
    assert lake.read("select count(*) as n from raw.quarantine").item() == 1 - int(is_loaded)


def test_the_days_that_late_rows_belong_to_are_kept_also_after_a_correction_took_them_away(lake: Lake) -> None:
    before = DAY - timedelta(days=1)
    load(lake, file_of(view("v1", before), view("v2", before), view("v3", DAY)))
    query = f"select dt, event_on, row_count, run_id from {LATE}"
    assert lake.read(query).rows() == [(DAY, before, 2, "r")]
    load(lake, file_of(view("v3", DAY)), run_id="r2")
    assert lake.read(query).rows() == [(DAY, before, 0, "r2")]
    load(lake, file_of(view("v3", DAY)), run_id="r3")
    assert lake.read(query).is_empty()


def test_a_late_row_has_its_day_of_staging_built_again_by_the_sensor(platform: Platform) -> None:
    platform.deliver("course_views", FIRST_DAY, file_of(view("v1", FIRST_DAY)))
    platform.run(LOAD, partition=FIRST_DAY.isoformat(), only=ONLY)
    platform.deliver("course_views", DAY, file_of(view("v2", FIRST_DAY), view("v3", DAY)))
    loaded = platform.run(LOAD, partition=DAY.isoformat(), only=ONLY)
    query = "select view_id from staging.course_views order by view_id"
    assert platform.read(query)["view_id"].to_list() == ["v1", "v3"]
    assert late_days(platform.warehouse, loaded.run_id) == {FIRST_DAY: ["course_views"]}
    sensor = late_sensor(platform.defs.resolve_job_def(LOAD))
    with dg.build_run_status_sensor_context(
        sensor_name="rebuild_late_days",
        dagster_instance=platform.instance,
        dagster_run=loaded.dagster_run,
        dagster_event=loaded.get_run_success_event(),
        resources={"warehouse": platform.warehouse},
    ) as context:
        (request,) = sensor(context)
    assert request.partition_key == FIRST_DAY.isoformat()
    assert request.asset_selection == [dg.AssetKey(["staging", "course_views"])]
    rebuilt = platform.run(LOAD, partition=request.partition_key, only=["staging.course_views"])
    assert platform.read(query)["view_id"].to_list() == ["v1", "v2", "v3"]
    assert late_days(platform.warehouse, rebuilt.run_id) == {}


def test_a_run_that_loads_both_days_needs_no_second_one(platform: Platform) -> None:
    run_id = "both"
    with platform.warehouse.session() as session:
        files = take_inventory(platform.landing, contracts(), only_feed="course_views").files
        load_feed(session, contracts()["course_views"], files, run_id=run_id, loaded_at=datetime(2026, 8, 1))
    assert late_days(platform.warehouse, run_id) == {}


def test_a_day_held_back_is_told_where_people_look(platform: Platform) -> None:
    bad = "".join(f"b{i},u1,c1,{DAY} 10:00:00,long,search\n" for i in range(6))
    platform.deliver("course_views", DAY, file_of(view("v3", DAY)) + bad)
    run = platform.run(LOAD, partition=DAY.isoformat(), only=["raw.course_views"])
    with dg.build_run_status_sensor_context(
        sensor_name="tell_of_failed_checks",
        dagster_instance=platform.instance,
        dagster_run=run.dagster_run,
        dagster_event=run.get_run_success_event(),
        resources={"warehouse": platform.warehouse},
    ) as context:
        tell_of_failed_checks(context)
    (line,) = (platform.home / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert "few_rows_refused" in line
    assert "6 of 7 rows (85.7%) were refused" in line
