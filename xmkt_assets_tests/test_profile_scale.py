"""The benchmark of profiles: its sizes grow tenfold over the same days, and every model belongs to one part."""

import pytest

from xmkt_assets_tests.benchmarks import profile_scale
from xmkt_assets_tests.benchmarks.scale_graph import FROM_THE_START, STAND_INS, in_order, stand_ins


@pytest.mark.parametrize(
    ("people", "expected"),
    [(1_000_000, [10_000, 100_000, 1_000_000]), (100_000, [10_000, 100_000]), (10_000, [10_000])],
)
def test_people_grow_tenfold_up_to_the_whole_over_a_year(people: int, expected: list[int]) -> None:
    worlds = profile_scale.worlds_of({**profile_scale.SIZES, "people": people})
    assert [world.people for world in worlds] == expected
    assert [world.events for world in worlds] == [100 * n for n in expected]
    assert {world.days for world in worlds} == {364}


def test_what_is_made_daily_is_no_part_of_a_profile() -> None:
    parts = {model.table: profile_scale.part_of(model) for model in in_order()}
    assert set(parts.values()) <= set(profile_scale.PARTS)
    wanted = {
        "staging.visits": "staging",
        "staging.gate_profiling": "gates",
        "segments.person_features": "features",
        "segments.person_trends": "features",
        "segments.person_profile": "profile",
    }
    assert {table: parts[table] for table in wanted} == wanted


def test_every_table_that_python_makes_for_the_graph_is_stood_in_for() -> None:
    models = in_order()
    made = {model.table for model in models}
    after = {FROM_THE_START, *(one.after for one in STAND_INS.values())}
    stood_in = {table for name in after for table, _, _ in stand_ins(name, profile_scale.World(1, 1, 1).last_on)}
    read = {table for model in models for table in model.reads if table.startswith("segments.")}
    assert read - made <= stood_in
    assert not stood_in & made
