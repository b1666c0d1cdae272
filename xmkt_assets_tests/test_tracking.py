"""Runs, versions and the alias, on a real MLflow store in a temporary home."""

import multiprocessing
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from xmkt_assets.tracking import Tracker, git_sha, run_tags


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    return Tracker(tmp_path_factory.mktemp("home"))


def fetched(tracker: Tracker, run_id: str):  # type: ignore[no-untyped-def]
    return tracker.client.get_run(run_id)


def test_a_run_keeps_params_metrics_tags_and_files(tracker: Tracker) -> None:
    from matplotlib.figure import Figure

    with tracker.run("first", experiment="e/one", tags={"colour": "blue"}) as run:
        run.params({"k": 3, "nothing": None})
        run.metrics({"hr@3": 0.25, "seconds": 2})
        run.json("notes/who.json", {"谁": [1, 2]})
        run.figure("empty.png", Figure())
    found = fetched(tracker, run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "first"
    assert found.data.params == {"k": "3", "nothing": "None"}
    assert found.data.metrics == {"hr_at_3": 0.25, "seconds": 2.0}
    assert found.data.tags["colour"] == "blue"
    folder = tracker.root / "artifacts" / "e_one" / run.run_id / "artifacts"
    assert "谁" in (folder / "notes" / "who.json").read_text(encoding="utf-8")
    assert (folder / "empty.png").read_bytes().startswith(b"\x89PNG")


def test_everything_lies_under_the_home_and_nothing_global_changes(tracker: Tracker, tmp_path: Path) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    with tracker.run("quiet", experiment="e/one", tags={}):
        assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before
    assert (tracker.root / "mlflow.db").exists()


def test_a_run_that_raises_is_failed_and_the_error_goes_on(tracker: Tracker) -> None:
    seen = []

    def fail() -> None:
        with tracker.run("bad", experiment="e/one", tags={}) as run:
            seen.append(run.run_id)
            raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        fail()
    assert fetched(tracker, seen[0]).info.status == "FAILED"


def test_a_child_run_points_to_its_parent(tracker: Tracker) -> None:
    with (
        tracker.run("parent", experiment="e/one", tags={}) as parent,
        tracker.run("child", experiment="e/one", tags={}, parent_run_id=parent.run_id) as child,
    ):
        pass
    assert fetched(tracker, child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id


def test_versions_count_up_the_alias_moves_and_an_old_version_still_loads(tracker: Tracker) -> None:
    assert tracker.champion("shape") is None
    versions = []
    for value in ("circle", "square"):
        with tracker.run(value, experiment="models", tags={}) as run:
            artifact = run.pickle("model.pkl", {"shape": value})
        versions.append(tracker.register("shape", run.run_id, artifact, tags={"kind": value}))
    assert versions == [1, 2]
    assert tracker.champion("shape") is None
    for version in (1, 2, 1):
        tracker.promote("shape", version)
        assert tracker.champion("shape") == version
    assert tracker.load("shape", 1) == {"shape": "circle"}
    assert tracker.load("shape", 2) == {"shape": "square"}
    assert tracker.version_tags("shape", 2)["kind"] == "square"


def test_the_newest_version_is_that_of_the_newest_day_that_is_over_and_the_last_made_of_it(tracker: Tracker) -> None:
    with tracker.run("train", experiment="e", tags={}) as run:
        file = run.pickle("model.pkl", 1)
    days = ("2026-09-01", "2026-09-10", "2026-09-10", "2026-09-01", "2026-09-20", None)
    for day in days:  # an earlier day made again later is still of the earlier day
        tracker.register("risk", run.run_id, file, tags={"dagster.partition_key": day} if day else {})
    tracker.register("other", run.run_id, file, tags={"dagster.partition_key": "2026-09-10"})
    newest = [tracker.newest("risk", until=date(2026, 9, day)) for day in (1, 9, 10, 19, 20, 30)]
    assert newest == [4, 4, 3, 3, 5, 5]
    assert tracker.newest("risk", until=date(2026, 8, 31)) is None
    assert tracker.newest("unknown", until=date(2026, 9, 30)) is None


def test_a_second_tracker_of_the_same_home_sees_the_same_store(tracker: Tracker) -> None:
    with tracker.run("seen", experiment="e/shared", tags={}) as run:
        pass
    other = Tracker(tracker.root.parent, ui="http://localhost:9")
    number = other.client.get_experiment_by_name("e/shared").experiment_id
    assert other.ui_url(run.run_id, "e/shared") == f"http://localhost:9/#/experiments/{number}/runs/{run.run_id}"


def test_an_experiment_deleted_in_the_ui_is_restored_when_used_again(tracker: Tracker) -> None:
    with tracker.run("a", experiment="e/gone", tags={}):
        pass
    number = tracker.client.get_experiment_by_name("e/gone").experiment_id
    tracker.client.delete_experiment(number)
    with tracker.run("b", experiment="e/gone", tags={}) as run:
        pass
    assert fetched(tracker, run.run_id).info.experiment_id == number


def log_some(home: str) -> None:
    tracker = Tracker(home)
    for n in range(5):
        with tracker.run(f"run {n}", experiment="e/race", tags={}) as run:
            run.metrics({"n": n})
            tracker.register("race", run.run_id, run.pickle("m.pkl", n), tags={})


def test_two_processes_at_once_make_one_experiment_and_lose_no_version(tracker: Tracker) -> None:
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=log_some, args=(str(tracker.root.parent),)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(90)
    assert [process.exitcode for process in both] == [0, 0]
    experiment = tracker.client.get_experiment_by_name("e/race")
    assert len(tracker.client.search_runs([experiment.experiment_id])) == 10
    versions = tracker.client.search_model_versions("name='race'")
    assert sorted(int(version.version) for version in versions) == list(range(1, 11))


def context(**more: object) -> SimpleNamespace:
    import dagster as dg

    return SimpleNamespace(run=SimpleNamespace(run_id="r1"), asset_key=dg.AssetKey(["recommenders", "x"]), **more)


def test_tags_lead_back_to_run_asset_partition_snapshot_and_code() -> None:
    tags = run_tags(context(has_partition_key=True, partition_key="2026-09-28"), snapshot_id=41)
    assert tags == {
        "dagster.run_id": "r1",
        "dagster.asset_key": "recommenders/x",
        "dagster.partition_key": "2026-09-28",
        "warehouse_snapshot": "41",
        "git_sha": git_sha(),
    }
    assert "dagster.partition_key" not in run_tags(context(has_partition_key=False), snapshot_id=1)
