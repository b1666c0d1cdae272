"""What starts by itself: new files, new plans, finished loads, failures, the clock. Sensors are asked as the daemon
asks them, and what they request is run.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from xmkt_assets.automation.jobs import ERASE, EVALUATE, LOAD, PLAN, RETRAIN, SCORE
from xmkt_assets.automation.retraining import RETRAIN_TAGS, is_due, training_day
from xmkt_assets.automation.sensors import UNFINISHED, newest_day
from xmkt_assets.partitions import CAMPAIGNS_NAME, DAYS, range_tags
from xmkt_assets.raw.arrivals import NOTHING_SEEN, remembered
from xmkt_assets.raw.books import LEDGER
from xmkt_assets.resources import PartnerDrops, retrain_after_days
from xmkt_assets.segments.drift_table import TABLE as DRIFT
from xmkt_assets.warehouse import Session
from xmkt_assets_tests.platform_helper import FIRST_DAY, Platform, new_platform, write_plan

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:.*is currently in beta"),
]
DAY = FIRST_DAY
NEXT, THIRD, FIFTH = (DAY + timedelta(days=n) for n in (1, 2, 4))
HEADER = "user_id,registered_at,updated_at,occupation\n"
USERS = ["raw.users", "staging.users"]
NOTHING_NEW = "No new or corrected partner files for a day that is over."


def users(*names: str, day: date = DAY, occupation: str = "cook") -> str:
    """A file of the users feed: one line per name."""
    return HEADER + "".join(f"{n},{day} 08:00:00,{day} 09:00:00,{occupation}\n" for n in names)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return new_platform(tmp_path_factory.mktemp("automation"))


@pytest.fixture
def platform(shared: Platform) -> Iterator[Platform]:
    """An empty landing folder and an empty lake; its own Dagster instance. The definitions are built once."""
    with shared.warehouse.session() as session:
        for table in session.tables():
            session.connection.execute(f"drop table {table}")
    for path in sorted(shared.home.glob("landing/**/*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for path in [*shared.home.glob("campaigns/*"), *shared.home.glob("alerts.jsonl")]:
        path.unlink()
    with dg.DagsterInstance.ephemeral() as instance:
        fresh = Platform(shared.home, instance)
        fresh.__dict__["defs"] = shared.defs
        yield fresh


def tick(platform: Platform, name: str = "new_partner_drops", *, cursor: str | None = None) -> SensorExecutionData:
    """One evaluation of a sensor, as the daemon does it."""
    sensor = platform.defs.resolve_sensor_def(name)
    context = dg.build_sensor_context(
        instance=platform.instance, cursor=cursor, definitions=platform.defs, resources=platform.resources
    )
    return sensor.evaluate_tick(context)


def only_request(data: SensorExecutionData) -> dg.RunRequest:
    assert data.skip_message is None, data.skip_message
    (request,) = data.run_requests or []
    return request


def occupations(platform: Platform) -> dict[str, str]:
    return dict(platform.read("select user_id, occupation from staging.users").iter_rows())


# ── new partner drops ────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_files_nothing_happens(platform: Platform) -> None:
    found = tick(platform)
    assert (found.run_requests, found.skip_message) == ([], NOTHING_NEW)
    assert remembered(found.cursor) == NOTHING_SEEN


def test_a_new_file_asks_for_one_run_of_its_day_and_the_next_tick_skips(platform: Platform) -> None:
    platform.deliver("users", NEXT, users("u1"))
    first = tick(platform)
    request = only_request(first)
    assert request.partition_key == NEXT.isoformat()
    second = tick(platform, cursor=first.cursor)
    assert (second.run_requests, second.skip_message) == ([], NOTHING_NEW)


def test_adjacent_days_are_one_run_and_a_gap_makes_two(platform: Platform) -> None:
    for day in (DAY, NEXT, THIRD, FIFTH):
        platform.deliver("users", day, users("u1", day=day))
    stretch, single = tick(platform).run_requests or []
    assert stretch.partition_key is None
    assert range_tags(DAY, THIRD).items() <= stretch.tags.items()
    assert single.partition_key == FIFTH.isoformat()


def test_files_of_several_feeds_and_firms_of_a_day_are_one_run(platform: Platform) -> None:
    platform.deliver("users", DAY, users("u1"))
    platform.deliver("courses", DAY, "course_id\nc1\n")
    platform.deliver("customers", DAY, "customer_id\nc1\n")
    assert only_request(tick(platform)).partition_key == DAY.isoformat()


def test_what_is_requested_loads_the_file_and_then_even_a_lost_cursor_asks_for_nothing(platform: Platform) -> None:
    platform.deliver("users", DAY, users("u1", "u2"))
    request = only_request(tick(platform))
    platform.run_request(request, job=LOAD, only=USERS)
    assert occupations(platform) == {"u1": "cook", "u2": "cook"}
    ledger = platform.read(f"select source_file, status, rows_loaded from {LEDGER}").rows()
    assert ledger == [(f"course_platform/users/dt={DAY}/rows.csv", "loaded", 2)]
    assert tick(platform).skip_message == NOTHING_NEW


def test_a_range_request_has_no_partition_key_and_loads_every_day_of_it_in_one_run(platform: Platform) -> None:
    for day in (DAY, NEXT, THIRD):
        platform.deliver("users", day, users(f"u{day.day}", day=day))
    request = only_request(tick(platform))
    assert request.partition_key is None
    run = platform.run_request(request, job=LOAD, only=USERS)
    assert run.tags["dagster/asset_partition_range_end"] == THIRD.isoformat()
    loaded = platform.read("select dt, count(*) as n from raw.users group by dt order by dt").rows()
    assert loaded == [(DAY, 1), (NEXT, 1), (THIRD, 1)]
    known = platform.instance.get_materialized_partitions(dg.AssetKey(["raw", "users"]))
    assert known == {DAY.isoformat(), NEXT.isoformat(), THIRD.isoformat()}
    assert tick(platform).skip_message == NOTHING_NEW


def test_a_corrected_file_runs_again_under_another_key_and_replaces_its_rows(platform: Platform) -> None:
    platform.deliver("users", DAY, users("u1", "u2"))
    first = tick(platform)
    platform.run_request(only_request(first), job=LOAD, only=USERS)
    platform.deliver("users", DAY, users("u1", occupation="nurse"))
    second = only_request(tick(platform, cursor=first.cursor))
    assert second.partition_key == DAY.isoformat()
    assert second.run_key != only_request(first).run_key
    platform.run_request(second, job=LOAD, only=USERS)
    assert occupations(platform) == {"u1": "nurse"}


def test_a_file_that_goes_back_to_an_earlier_content_runs_again_although_that_content_ran_before(
    platform: Platform,
) -> None:
    """Dagster drops a run whose key it has ever seen."""
    keys, cursor = [], None
    for occupation in ("cook", "nurse", "cook"):
        platform.deliver("users", DAY, users("u1", occupation=occupation))
        found = tick(platform, cursor=cursor)
        request, cursor = only_request(found), found.cursor
        keys.append(request.run_key)
        platform.run_request(request, job=LOAD, only=["raw.users"])
        assert platform.read("select occupation from raw.users")["occupation"].to_list() == [occupation]
    assert len(set(keys)) == 3


def test_a_request_that_was_not_run_yet_is_made_again_under_the_same_key(platform: Platform) -> None:
    """So that a lost cursor cannot start a second run beside one that waits."""
    platform.deliver("users", DAY, users("u1"))
    assert only_request(tick(platform)).run_key == only_request(tick(platform)).run_key


def test_a_second_file_of_a_loaded_day_and_a_file_of_another_name_run_the_day_again(platform: Platform) -> None:
    platform.deliver("users", DAY, users("u1"))
    first = tick(platform)
    platform.run_request(only_request(first), job=LOAD, only=USERS)
    platform.deliver("users", DAY, users("u2"), name="late.csv")
    platform.run_request(only_request(tick(platform, cursor=first.cursor)), job=LOAD, only=USERS)
    assert occupations(platform).keys() == {"u1", "u2"}


def test_a_touched_file_of_the_same_content_starts_nothing(platform: Platform) -> None:
    path = platform.deliver("users", DAY, users("u1"))
    first = tick(platform)
    platform.run_request(only_request(first), job=LOAD, only=["raw.users"])
    os.utime(path, (1, 1))
    assert tick(platform, cursor=first.cursor).skip_message == NOTHING_NEW


@pytest.mark.parametrize("name", [".rows.csv", "_rows.csv", "rows.csv.tmp", "rows.csv.part"])
def test_an_unfinished_file_is_ignored_until_it_has_its_name(name: str, platform: Platform) -> None:
    path = platform.deliver("users", DAY, HEADER, name=name)
    first = tick(platform)
    assert first.skip_message == NOTHING_NEW
    path.write_text(users("u1"), encoding="utf-8")
    path.rename(path.with_name("rows.csv"))
    assert only_request(tick(platform, cursor=first.cursor)).partition_key == DAY.isoformat()


def test_a_file_that_may_still_be_growing_waits_for_a_later_tick(platform: Platform) -> None:
    path = platform.deliver("users", DAY, users("u1"))
    patient = {**platform.resources, "drops": PartnerDrops(landing=str(platform.landing), settle_seconds=3600)}
    sensor = platform.defs.resolve_sensor_def("new_partner_drops")
    context = dg.build_sensor_context(instance=platform.instance, definitions=platform.defs, resources=patient)
    first = sensor.evaluate_tick(context)
    assert first.skip_message == NOTHING_NEW
    os.utime(path, (1, 1))
    assert only_request(tick(platform, cursor=first.cursor)).partition_key == DAY.isoformat()


def test_a_day_whose_manifest_does_not_hold_yet_waits_and_the_tick_says_for_what(platform: Platform) -> None:
    text = users("u1")
    line = {"name": "rows.csv", "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    platform.deliver("users", DAY, json.dumps({"files": [line]}), name="_MANIFEST.json")
    first = tick(platform)
    folder = f"course_platform/users/dt={DAY}"
    assert first.skip_message == f"{NOTHING_NEW} Not whole yet: 1. The first, {folder}: rows.csv is not there."
    platform.deliver("users", DAY, text)
    assert only_request(tick(platform, cursor=first.cursor)).partition_key == DAY.isoformat()


def test_a_day_that_is_not_over_waits(platform: Platform) -> None:
    last = date.fromisoformat(str(DAYS.get_last_partition_key()))
    platform.deliver("users", last + timedelta(days=1), users("u1"))
    assert tick(platform).skip_message == NOTHING_NEW


def test_a_day_before_the_first_partition_does_not_stop_the_days_that_can_be_loaded(platform: Platform) -> None:
    early = FIRST_DAY - timedelta(days=1)
    platform.deliver("users", early, users("u0"))
    platform.deliver("users", DAY, users("u1"))
    request = only_request(tick(platform))
    assert (request.partition_key, request.tags.get("dagster/asset_partition_range_start")) == (DAY.isoformat(), None)


def test_a_first_load_without_a_file_does_not_empty_the_table_that_another_load_fills_meanwhile(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two loads of a new home at once: one day has no users, the other commits while the first makes its tables."""
    platform.deliver("users", NEXT, users("u1"))
    stage_rows = Session.stage_rows
    others = [lambda: platform.run(LOAD, partition=NEXT.isoformat(), only=["raw.users"])]

    def late(session: Session, name: str, rows: pl.DataFrame) -> None:
        stage_rows(session, name, rows)
        if name == "no_ledger" and others:
            others.pop()()

    monkeypatch.setattr(Session, "stage_rows", late)
    platform.run(LOAD, partition=DAY.isoformat(), only=["raw.users"])
    assert not others
    assert platform.read("select user_id from raw.users")["user_id"].to_list() == ["u1"]
    assert platform.read(f"select count(*) as n from {LEDGER}")["n"].to_list() == [1]


# ── retraining and evaluation after success ──────────────────────────────────────────────────────────────────────────


def after(platform: Platform, sensor: str, run: dg.DagsterRun) -> dg.RunRequest | dg.SkipReason:
    """What a run status sensor answers to the success of `run`."""
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
    context = dg.build_run_status_sensor_context(sensor, event, platform.instance, run, resources=platform.resources)
    return platform.defs.resolve_sensor_def(sensor)(context)  # type: ignore[return-value, operator]


def a_run(
    platform: Platform, job: str, status: dg.DagsterRunStatus, tags: Mapping[str, str] | None = None
) -> dg.DagsterRun:
    """A run on the books, without anything having been executed."""
    return platform.instance.add_run(dg.DagsterRun(job, str(uuid.uuid4()), status=status, tags=tags))


def ledger(platform: Platform, **rows_of_day: int) -> None:
    lines = [(date.fromisoformat(d.replace("_", "-")[1:]), n) for d, n in rows_of_day.items()]
    rows = pl.DataFrame(lines, schema={"dt": pl.Date, "rows_loaded": pl.Int64}, orient="row")
    platform.warehouse.replace(LEDGER, rows)


def test_a_finished_load_asks_for_models_as_of_the_newest_day_that_has_rows(platform: Platform) -> None:
    ledger(platform, d2026_07_03=5, d2026_07_05=2, d2026_07_09=0)
    assert newest_day(platform.warehouse) == date(2026, 7, 5)
    done = a_run(platform, LOAD, dg.DagsterRunStatus.SUCCESS)
    request = after(platform, "retrain_after_load", done)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-07-05"
    assert done.run_id in str(request.run_key)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_while_another_load_starts_or_runs_retraining_waits_for_it(
    status: dg.DagsterRunStatus, platform: Platform
) -> None:
    ledger(platform, d2026_07_03=5)
    a_run(platform, LOAD, status)
    answer = after(platform, "retrain_after_load", a_run(platform, LOAD, dg.DagsterRunStatus.SUCCESS))
    assert answer == dg.SkipReason("Another load is under way; its success will start the retraining.")
    assert dg.DagsterRunStatus.QUEUED in UNFINISHED  # Dagster makes no queued run outside a workspace


def test_a_run_of_another_job_under_way_does_not_hold_retraining_up(platform: Platform) -> None:
    ledger(platform, d2026_07_03=5)
    a_run(platform, PLAN, dg.DagsterRunStatus.STARTED)
    a_run(platform, LOAD, dg.DagsterRunStatus.FAILURE)
    answer = after(platform, "retrain_after_load", a_run(platform, LOAD, dg.DagsterRunStatus.SUCCESS))
    assert isinstance(answer, dg.RunRequest)


def test_before_anything_was_loaded_there_is_nothing_to_train_on(platform: Platform) -> None:
    done = a_run(platform, LOAD, dg.DagsterRunStatus.SUCCESS)
    assert after(platform, "retrain_after_load", done) == dg.SkipReason("Nothing has been loaded yet.")
    ledger(platform, d2026_07_03=0)
    assert after(platform, "retrain_after_load", done) == dg.SkipReason("Nothing has been loaded yet.")


# ── scoring with the models there are, and when they are trained again ───────────────────────────────────────────────


def drift(platform: Platform, *rows: tuple[str, str, int | None, str | None, str]) -> None:
    """What is known of models: day, model, version, day of its training, level."""
    names = ("as_of_on", "model", "model_version", "trained_as_of_on", "level")
    known = pl.DataFrame(
        list(rows), schema={**dict.fromkeys(names, pl.String), "model_version": pl.Int64}, orient="row"
    )
    platform.warehouse.replace(DRIFT, known.with_columns(pl.col("as_of_on", "trained_as_of_on").str.to_date()))


def after_load(platform: Platform, tags: Mapping[str, str] | None = None) -> str:
    """The job a finished load is followed by."""
    request = after(platform, "retrain_after_load", a_run(platform, LOAD, dg.DagsterRunStatus.SUCCESS, tags))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == str(newest_day(platform.warehouse))
    assert str(request.run_key).startswith(f"{request.job_name}:{request.partition_key}:")
    return str(request.job_name)


def test_unless_told_otherwise_every_new_day_and_every_day_made_again_trains(platform: Platform) -> None:
    ledger(platform, d2026_07_05=5)
    drift(platform, ("2026-07-04", "claim_risk", 1, "2026-07-04", "none"))
    assert after_load(platform) == RETRAIN
    drift(platform, ("2026-07-05", "claim_risk", 2, "2026-07-05", "none"))
    assert after_load(platform) == RETRAIN


@pytest.mark.parametrize("said_by", ["file", "environment"])
def test_models_younger_than_the_setting_score_the_new_day(
    said_by: str, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained as of the 4th with 3 days to go: the 5th and 6th are scored, the 7th trains."""
    if said_by == "environment":
        monkeypatch.setenv("XMKT_RETRAIN_AFTER_DAYS", "3")
        (platform.home / "settings.yaml").write_text("retrain_after_days: 99\n", encoding="utf-8")
    else:
        monkeypatch.delenv("XMKT_RETRAIN_AFTER_DAYS", raising=False)
        (platform.home / "settings.yaml").write_text("retrain_after_days: 3\n", encoding="utf-8")
    try:
        drift(platform, ("2026-07-04", "claim_risk", 1, "2026-07-04", "none"))
        found = {}
        for day in (5, 6, 7):
            ledger(platform, **{f"d2026_07_0{day}": 5})
            found[day] = after_load(platform)
        assert found == {5: SCORE, 6: SCORE, 7: RETRAIN}
    finally:
        (platform.home / "settings.yaml").unlink()


@pytest.mark.parametrize("said", ["soon", "0", "-1"])
def test_a_setting_that_is_no_number_of_days_is_refused_where_it_is_made(
    said: str, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMKT_RETRAIN_AFTER_DAYS", said)
    with pytest.raises(ValueError, match=r"XMKT_RETRAIN_AFTER_DAYS is .*; wanted a whole number of at least 1"):
        retrain_after_days(platform.home)
    monkeypatch.delenv("XMKT_RETRAIN_AFTER_DAYS")
    (platform.home / "settings.yaml").write_text(f"retrain_after_days: {said}\n", encoding="utf-8")
    try:
        with pytest.raises(ValueError, match=r"retrain_after_days in .*settings.yaml is .*; wanted a whole number"):
            retrain_after_days(platform.home)
    finally:
        (platform.home / "settings.yaml").unlink()


def test_a_model_counts_from_the_oldest_one_in_use_on_the_newest_day(platform: Platform) -> None:
    """One was fitted anew since, one could not be trained: neither makes the others young."""
    assert training_day(platform.warehouse) is None
    drift(
        platform,
        ("2026-07-04", "claim_risk", 1, "2026-06-01", "none"),
        ("2026-07-05", "claim_risk", 2, "2026-07-05", "none"),
        ("2026-07-05", "value_clusters", 1, "2026-07-02", "moderate"),
        ("2026-07-05", "lapse_risk", None, None, "not applicable"),
    )
    assert training_day(platform.warehouse) == date(2026, 7, 2)


def test_a_load_that_an_erasure_asked_for_trains_however_young_the_models_are(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMKT_RETRAIN_AFTER_DAYS", "30")
    ledger(platform, d2026_07_05=5)
    drift(platform, ("2026-07-04", "claim_risk", 1, "2026-07-04", "none"))
    assert after_load(platform) == SCORE
    assert after_load(platform, RETRAIN_TAGS) == RETRAIN


def test_training_is_due_after_so_many_days_or_when_what_was_learnt_from_is_replaced() -> None:
    trained = date(2026, 7, 10)
    due = {n: is_due(trained + timedelta(days=n), trained, after_days=7) for n in (-1, 0, 1, 6, 7, 8)}
    assert due == {-1: True, 0: True, 1: False, 6: False, 7: True, 8: True}
    assert is_due(trained, None, after_days=7)


def scored(platform: Platform, day: str = "2026-07-05") -> dg.RunRequest | dg.SkipReason:
    """What follows the scoring of a day."""
    run = a_run(platform, SCORE, dg.DagsterRunStatus.SUCCESS, {"dagster/partition": day})
    return after(platform, "retrain_after_drift", run)


def test_major_drift_of_the_newest_day_trains_once_for_the_versions_that_drifted(platform: Platform) -> None:
    ledger(platform, d2026_07_05=5)
    rows = [
        ("2026-07-05", "lapse_risk", 4, "2026-07-01", "major"),
        ("2026-07-05", "lapse_risk", 4, "2026-07-01", "major"),
        ("2026-07-05", "claim_risk", 3, "2026-07-01", "major"),
        ("2026-07-05", "value_clusters", 2, "2026-07-01", "moderate"),
        ("2026-07-04", "value_clusters", 2, "2026-07-01", "major"),
    ]
    drift(platform, *rows)
    first, second = scored(platform), scored(platform)
    assert isinstance(first, dg.RunRequest)
    assert isinstance(second, dg.RunRequest)
    assert (first.partition_key, first.run_key) == ("2026-07-05", "drift:2026-07-05:claim_risk 3,lapse_risk 4")
    assert second.run_key == first.run_key  # Dagster drops a run key it has ever seen
    drift(platform, ("2026-07-05", "claim_risk", 5, "2026-07-05", "major"))
    third = scored(platform)
    assert isinstance(third, dg.RunRequest)
    assert third.run_key != first.run_key


def test_drift_that_is_not_major_or_of_another_day_or_while_models_are_made_trains_nothing(
    platform: Platform,
) -> None:
    assert isinstance(scored(platform), dg.SkipReason)
    ledger(platform, d2026_07_05=5)
    no_model = dg.SkipReason("No model has drifted far by 2026-07-05.")
    assert scored(platform) == no_model
    drift(platform, ("2026-07-05", "claim_risk", 3, "2026-07-01", "moderate"))
    assert scored(platform) == no_model
    drift(platform, ("2026-07-04", "claim_risk", 3, "2026-07-01", "major"))
    assert scored(platform) == no_model
    assert "An earlier day was scored" in str(scored(platform, "2026-07-04"))
    drift(platform, ("2026-07-05", "claim_risk", 3, "2026-07-01", "major"))
    a_run(platform, RETRAIN, dg.DagsterRunStatus.STARTED)
    assert scored(platform) == dg.SkipReason(f"{RETRAIN} is under way; what follows it looks again.")


@pytest.mark.parametrize("job", [RETRAIN, SCORE, PLAN])
def test_new_models_and_new_lists_ask_for_the_effects_and_the_published_file(job: str, platform: Platform) -> None:
    done = a_run(platform, job, dg.DagsterRunStatus.SUCCESS)
    request = after(platform, "evaluate_after_change", done)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == f"{EVALUATE}:{done.run_id}"
    a_run(platform, RETRAIN, dg.DagsterRunStatus.STARTED)
    assert isinstance(after(platform, "evaluate_after_change", done), dg.SkipReason)


def test_the_sensors_watch_and_start_the_jobs_they_are_named_after(platform: Platform) -> None:
    sensors = platform.defs.get_repository_def().sensor_defs
    started = {s.name: {job.name for job in s.jobs} if s.has_jobs else set() for s in sensors}
    assert started == {
        "new_partner_drops": {LOAD},
        "new_campaign_plans": {PLAN},
        "retrain_after_load": {RETRAIN, SCORE},
        "retrain_after_drift": {RETRAIN},
        "evaluate_after_change": {EVALUATE},
        "tell_of_failures": set(),
        "rebuild_late_days": {LOAD},
        "tell_of_failed_checks": set(),
        "new_erasure_requests": {ERASE},
        "retrain_after_erasure": {LOAD, RETRAIN},
    }


# ── campaign plans ───────────────────────────────────────────────────────────────────────────────────────────────────


NO_NEW_PLAN = "No new or changed campaign plan."


class Planned(NamedTuple):
    """What one evaluation of the plan sensor answers."""

    requests: list[dg.RunRequest]
    added: list[str]
    skipped: str | None
    cursor: str | None


def plans(platform: Platform, *, cursor: str | None = None) -> Planned:
    context = dg.build_sensor_context(instance=platform.instance, cursor=cursor, resources=platform.resources)
    answer = platform.defs.resolve_sensor_def("new_campaign_plans")(context)  # type: ignore[operator]
    if isinstance(answer, dg.SkipReason):
        return Planned([], [], answer.skip_message, context.cursor)
    added = [key for request in answer.dynamic_partitions_requests for key in request.partition_keys]
    return Planned(list(answer.run_requests), added, None, answer.cursor)


def made(platform: Platform, request: dg.RunRequest) -> None:
    """A run that did what was asked, with the tags the daemon would have given it."""
    tags = {**request.tags, "dagster/partition": str(request.partition_key)}
    a_run(platform, PLAN, dg.DagsterRunStatus.SUCCESS, tags)


def test_a_new_plan_becomes_a_partition_and_a_run_and_the_next_tick_skips(platform: Platform, tmp_path: Path) -> None:
    """On an instance with files, as the daemon has it: Dagster checks that the partition asked for will be there."""
    write_plan(platform.home, name="spring")
    sensor, repository = platform.defs.resolve_sensor_def("new_campaign_plans"), platform.defs.get_repository_def()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        dg.SensorEvaluationContext(
            instance.get_ref(), None, None, None, None, repository_def=repository, resources=platform.resources
        ) as context,
    ):
        found = sensor.evaluate_tick(context)
    assert only_request(found).partition_key == "spring"
    (added,) = found.dynamic_partitions_requests or []
    assert (added.partitions_def_name, added.partition_keys) == (CAMPAIGNS_NAME, ["spring"])
    assert plans(platform, cursor=found.cursor).skipped == NO_NEW_PLAN


def test_a_plan_made_into_a_list_already_is_not_asked_for_again_after_a_lost_cursor(platform: Platform) -> None:
    write_plan(platform.home, name="spring")
    (request,) = plans(platform).requests
    made(platform, request)
    assert plans(platform).skipped == "Every plan has been made into a list as it stands."


def test_a_changed_plan_runs_again_under_another_key_and_its_neighbour_does_not(platform: Platform) -> None:
    for name in ("spring", "summer"):
        write_plan(platform.home, name=name)
    first = plans(platform)
    spring, summer = first.requests
    assert first.added == ["spring", "summer"]
    for request in (spring, summer):
        made(platform, request)
    write_plan(platform.home, name="spring", budget_fen=100)
    (again,) = plans(platform, cursor=first.cursor).requests
    assert again.partition_key == "spring"
    assert again.run_key != spring.run_key


def test_a_plan_that_goes_back_to_an_earlier_content_runs_again(platform: Platform) -> None:
    """The list on file is that of the plan in between."""
    keys, cursor = [], None
    for budget_fen in (100, 200, 100, 200):
        write_plan(platform.home, name="spring", budget_fen=budget_fen)
        found = plans(platform, cursor=cursor)
        (request,), cursor = found.requests, found.cursor
        keys.append(request.run_key)
        made(platform, request)
    assert len(set(keys)) == 4


def test_without_plans_nothing_happens(platform: Platform) -> None:
    assert plans(platform).skipped == NO_NEW_PLAN


# ── failures and the clock ───────────────────────────────────────────────────────────────────────────────────────────


def alerts_of(
    platform: Platform, *, only: Sequence[str] = ("staging.users", "staging.claims"), **run: object
) -> list[dict[str, object]]:
    """Run something that fails, tell the failure sensor, and read what it wrote."""
    result = platform.run(LOAD, only=only, must_succeed=False, **run)  # type: ignore[arg-type]
    assert not result.success
    (event,) = [e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE]
    context = dg.build_run_status_sensor_context(
        "tell_of_failures",
        event,
        platform.instance,
        result.dagster_run,
        resources=platform.resources,
    ).for_run_failure()
    platform.defs.resolve_sensor_def("tell_of_failures")(context)  # type: ignore[operator]
    text = (platform.home / "alerts.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_failure_is_written_down_with_job_partition_and_what_each_step_said(platform: Platform) -> None:
    """Two staging tables before anything was loaded: their raw tables do not exist."""
    (alert,) = alerts_of(platform, partition=DAY.isoformat())
    assert (alert["job"], alert["partition"]) == (LOAD, DAY.isoformat())
    told = sorted(alert["step_errors"])  # type: ignore[call-overload]
    assert [step.split(":")[0] for step in told] == ["staging__claims", "staging__users"]
    assert "dbt_like_sql/staging/claims.sql cannot run" in told[0]
    assert "Materialise the tables it reads first (raw.claims)" in told[0]
    assert datetime.fromisoformat(str(alert["at"])).tzinfo is not None
    assert alert["run_id"]


def test_an_error_nobody_wrote_a_message_for_is_told_without_dagsters_wrapping(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("xmkt_assets.assets.raw.load_feed", full)
    (alert,) = alerts_of(platform, only=["raw.users"], partition=DAY.isoformat())
    assert alert["step_errors"] == ["raw__users: OSError: no space left on device"]


def test_a_failed_range_is_told_by_its_first_and_last_day_and_every_failure_adds_a_line(platform: Platform) -> None:
    alerts_of(platform, partition=DAY.isoformat())
    first, second = alerts_of(platform, tags=range_tags(DAY, THIRD))
    assert second["partition"] == f"{DAY}..{THIRD}"
    assert first["run_id"] != second["run_id"]


def test_the_schedule_asks_each_morning_for_the_day_that_has_just_ended(platform: Platform) -> None:
    schedule = platform.defs.resolve_schedule_def("load_yesterday")
    assert schedule.cron_schedule == "30 2 * * *"
    morning = datetime(NEXT.year, NEXT.month, NEXT.day, 2, 30)
    context = dg.build_schedule_context(
        instance=platform.instance,
        scheduled_execution_time=morning,
        repository_def=platform.defs.get_repository_def(),
    )
    (request,) = schedule.evaluate_tick(context).run_requests or []
    assert (request.partition_key, request.job_name) == (DAY.isoformat(), LOAD)


def test_sensors_and_tidying_up_run_by_themselves_and_the_daily_load_only_when_somebody_turns_it_on(
    platform: Platform,
) -> None:
    repository = platform.defs.get_repository_def()
    assert {s.default_status for s in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}
    assert {s.name: s.default_status for s in repository.schedule_defs} == {
        "load_yesterday": dg.DefaultScheduleStatus.STOPPED,
        "tidy_up_every_night": dg.DefaultScheduleStatus.RUNNING,
    }
