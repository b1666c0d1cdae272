"""The benchmarks run, check their own results, and are measured as they say; how fast anything is, is not tested."""

import json
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from xmkt_assets_tests.benchmarks import day_replacement, qini, raw_loading
from xmkt_assets_tests.benchmarks.__main__ import BENCHMARKS, BY_NAME, main
from xmkt_assets_tests.benchmarks.measure import Comparison, table, take_turns
from xmkt_assets_tests.benchmarks.refresh_ours import RAW_COLUMNS, models
from xmkt_assets_tests.benchmarks.refresh_project import dbt_sql, write_dbt_project


@pytest.mark.parametrize(
    ("benchmark", "sizes"),
    [
        (raw_loading, {"rows": 3000}),
        (day_replacement, {"days": 3, "rows_per_day": 40, "small_rows_per_day": 1}),
        (qini, {"people": 400, "resamples": 5}),
    ],
)
def test_both_sides_of_a_small_benchmark_come_to_the_same_result(benchmark: ModuleType, sizes: dict[str, int]) -> None:
    assert sizes.keys() == benchmark.SIZES.keys()
    for one in benchmark.run(sizes, 1):
        assert min(*one.our_seconds, *one.peer_seconds) > 0


def test_the_sides_take_turns_at_going_first_and_the_warm_up_is_not_counted() -> None:
    clock, order = count(), []

    def side(name: str) -> float:
        order.append(name)
        return next(clock)

    ours, peer = take_turns(lambda: side("ours"), lambda: side("peer"), repeats=3)
    assert order[2:] == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert (ours, peer) == ([2, 5, 6], [3, 4, 7])


def test_the_table_shows_medians_their_ratio_and_whether_the_bar_is_met() -> None:
    slow = Comparison("load", "plain", [3.0, 9.0, 4.0], [2.0, 2.0, 1.0], bar=1.5)
    fast = Comparison("read", "plain", [0.001], [0.002], bar=1.5)
    header, _, first, second = table([("raw", slow), ("sql", fast)]).splitlines()
    assert header.split()[:5] == ["benchmark", "what", "ours", "peer", "ratio"]
    assert first.split() == [
        "raw",
        "load",
        "4.00",
        "s",
        "2.00",
        "s",
        "2.00",
        "1.50–4.50",
        "≤",
        "1.5",
        "MISSED",
        "plain",
    ]
    assert second.split() == ["sql", "read", "1.0", "ms", "2.0", "ms", "0.50", "0.50–0.50", "≤", "1.5", "met", "plain"]


def test_every_benchmark_has_a_name_and_an_unknown_name_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(BY_NAME) == len(BENCHMARKS)
    with pytest.raises(SystemExit):
        main(["raw_loadnig"])
    said = capsys.readouterr().err
    assert "no benchmark is called raw_loadnig; there are " in said
    assert all(name in said for name in BY_NAME)


def test_a_comparison_without_a_peer_shows_our_seconds_and_says_why() -> None:
    alone = Comparison("refresh", "dbt build", [2.0], [float("nan")], note="not applicable: no package index")
    line = table([("refresh_dbt", alone)]).splitlines()[2]
    assert "2.00 s" in line
    assert "none" in line
    assert line.endswith("not applicable: no package index")


def test_the_dbt_project_has_our_models_with_the_same_text_and_every_promise_but_that_of_the_day(
    tmp_path: Path,
) -> None:
    write_dbt_project(models().values(), tmp_path)
    said = json.loads((tmp_path / "models" / "properties.yml").read_text(encoding="utf-8"))
    assert {t["name"] for s in said["sources"] for t in s["tables"]} == {t.split(".")[1] for t in RAW_COLUMNS}
    for made, model in zip(said["models"], models().values(), strict=True):
        tests = [*made["data_tests"], *(test for column in made["columns"] for test in column["data_tests"])]
        assert len(tests) == sum(check.rule != "day" for check in model.checks) > 0, model.table
        assert (tmp_path / "models" / f"{model.name}.sql").exists()
    sql = dbt_sql(models()["segments.course_days"], made=models())
    assert sql.splitlines()[0] == "{{ config(schema='segments', unique_key='seen_on') }}"
    assert "from {{ ref('course_views') }}" in sql
    assert "inner join {{ source('raw', 'courses') }} as c" in sql
    assert """viewed_at >= cast('{{ var("start") }}' as timestamp)""" in sql
    assert "$" not in sql
