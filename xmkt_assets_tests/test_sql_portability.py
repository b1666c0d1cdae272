"""What the lint finds, and what the translation to Spark says. That both are right on an engine, ``spark/`` shows."""

from dataclasses import replace
from datetime import datetime

import pytest
import sqlglot

from xmkt_assets.sql_models import SqlModel, load_models
from xmkt_assets.sql_portability import RULES, findings, unportable
from xmkt_assets.sql_spark import to_spark, translate
from xmkt_assets_tests.spark.constructs import EXAMPLES, Example
from xmkt_assets_tests.sql_helper import FOLDER, read_model

SCHEMA = {"s.t": {"n": "INTEGER", "s": "VARCHAR", "a_on": "DATE", "b_on": "DATE", "a_at": "TIMESTAMP", "x": "DOUBLE"}}
START, END = datetime(2026, 7, 1), datetime(2026, 7, 2)


def constructs(query: str) -> set[str]:
    return {found.construct for found in findings(sqlglot.parse_one(query, read="duckdb"))}


def spark(query: str) -> str:
    """The translation on one line."""
    return " ".join(translate(sqlglot.parse_one(query, read="duckdb"), SCHEMA).split())


def test_every_rule_has_an_example() -> None:
    assert [rule.construct for rule in RULES] == [example.construct for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.construct)
def test_a_construct_is_found_and_its_portable_spelling_is_not(example: Example) -> None:
    assert example.construct in constructs(example.banned)
    assert example.portable is None or constructs(example.portable) == set()


@pytest.mark.parametrize(
    "query",
    [
        "select date_diff('day', a_on, cast(b_at as date)) from s.t",
        "select date_diff('day', least(a_on, max(b_on)), date '2026-01-01') from s.t",
        "select date_diff('day', coalesce(dt, a_on) - 1, (b_on)) from s.t",
        "select cast(round(n / 3) as bigint), cast(count(*) as integer), cast(n / 3 as double) from s.t",
        "select max_by(s, row(a_at, n)), regexp_matches(s, 'b'), extract(year from a_at), b_on - a_on from s.t",
        "select unnest(string_split(s, '|')) as w from s.t qualify row_number() over (order by n) = 1",
    ],
)
def test_what_only_looks_like_a_construct_is_not_found(query: str) -> None:
    assert constructs(query) == set()


@pytest.mark.parametrize(
    ("query", "construct"),
    [
        ("select date_diff('day', a_on, b_at) from s.t", "date_diff of times"),
        ("select date_diff('day', coalesce(a_on, b_at), b_on) from s.t", "date_diff of times"),
        ("select cast(sum(n) / 2 + 1 as bigint) from s.t", "cast of a fraction to a whole number"),
        ("select cast(coalesce(avg(n), 0) as integer) from s.t", "cast of a fraction to a whole number"),
        ("select try_cast(case when n > 1 then n / 2 end as bigint) from s.t", "cast of a fraction to a whole number"),
        ("select b_at - a_at from s.t", "time minus time"),
        ("select x ~ 'a' from s.t", "x ~ 'pattern'"),
        ("select max_by(row(n, s), n) from s.t", "row() outside the rank of max_by"),
        ("with a as (select n from s.t, unnest([1]) as u(v)) select n from a", "unnest in FROM"),
        ("select n from s.t where exists (select md5_number(s) from s.t)", "function that sqlglot does not know"),
    ],
)
def test_a_construct_is_found_wherever_it_stands(query: str, construct: str) -> None:
    assert constructs(query) == {construct}


def test_a_finding_names_its_line_and_what_to_write() -> None:
    query = "select\n    n,\n    mode(s) as s\nfrom s.t group by all"
    said = [str(found) for found in findings(sqlglot.parse_one(query, read="duckdb"))]
    assert said == [
        "line 3: mode() breaks ties otherwise; write a count and row_number() over (order by count desc, value) = 1",
        "line 4: group by all fails on Sail; write the columns by name",
    ]


def test_a_file_that_runs_on_duckdb_only_is_not_looked_at_and_has_a_reason_to_say_so() -> None:
    exempt = [model for model in load_models(FOLDER).values() if model.engine]
    for model in exempt:
        assert unportable(model) == ()
        assert findings(model.ast), f"{model.path} is portable: take its '-- engine:' line out"


def test_no_other_model_holds_anything_unportable() -> None:
    assert [(model.path, found) for model in load_models(FOLDER).values() for found in unportable(model)] == []


def test_the_bounds_of_the_day_are_written_out() -> None:
    model = read_model("staging.consents")
    columns = {column.name for column in model.ast.find_all(sqlglot.exp.Column)}
    text = to_spark(model, {"raw.consents": dict.fromkeys(columns, "VARCHAR")}, START, END)
    assert "CAST('2026-07-01 00:00:00' AS TIMESTAMP_NTZ)" in text
    assert "CAST('2026-07-02 00:00:00' AS TIMESTAMP_NTZ)" in text
    assert "$" not in text


def test_a_table_that_is_not_in_the_schema_is_named() -> None:
    with pytest.raises(ValueError, match=r"consents\.sql reads \['raw\.consents'\]"):
        to_spark(read_model("staging.consents"), {}, START, END)


def test_the_model_itself_is_left_as_it_was() -> None:
    model = SqlModel("s", "v", "v.sql", "-- grain: n\nselect n / 2 as n, -- A number\nfrom s.t where a_at < $end")
    before = model.ast.sql("duckdb")
    to_spark(model, SCHEMA, START, END)
    assert model.ast.sql("duckdb") == before
    assert replace(model, name="w").ast.sql("duckdb") == before


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("select 1.0 / n as x from s.t", "CAST(1.0 AS DOUBLE) / t.n AS x"),
        ("select max_by(s, n) as x from s.t", "MAX_BY(t.s, CASE WHEN NOT t.s IS NULL THEN t.n END) AS x"),
        (
            "select min_by(s, row(a_at, n)) as x from s.t",
            "MIN_BY( t.s, CASE WHEN NOT t.s IS NULL THEN STRUCT(t.a_at IS NULL, t.a_at, t.n IS NULL, t.n) END ) AS x",
        ),
        ("select unnest(string_split(s, '|')) as x from s.t", r"EXPLODE(SPLIT(t.s, '\\|')) AS x"),
        (
            "select string_split(max_by(s, n), '^') as x from s.t",
            r"SPLIT(MAX_BY(t.s, CASE WHEN NOT t.s IS NULL THEN t.n END), '\\^') AS x",
        ),
        ("select b_on - a_on as x, b_on - 1 as y from s.t", "DATEDIFF(t.b_on, t.a_on) AS x, t.b_on - 1 AS y"),
        (
            "select cast(epoch_us(a_at) as hugeint) as x from s.t",
            "CAST(UNIX_MICROS(CAST(t.a_at AS TIMESTAMP)) AS DECIMAL(38, 0)) AS x",
        ),
        ("with a as materialized (select n from s.t) select n from a", "WITH a AS ( SELECT"),
    ],
)
def test_what_sqlglot_gets_wrong_is_mended(query: str, wanted: str) -> None:
    assert wanted in spark(query)
