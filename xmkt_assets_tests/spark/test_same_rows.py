"""Every model that does not say ``-- engine: duckdb`` gives the same rows in DuckDB and, translated, on Sail."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from xmkt_assets.sql_models import SqlModel
from xmkt_assets.sql_spark import Schema, to_spark, translate
from xmkt_assets_tests.spark.constructs import EXAMPLES, TABLE, Example
from xmkt_assets_tests.spark.engine import copy_tables, differences, sail
from xmkt_assets_tests.spark.small_lake import Bounds, read_models, small_lake, spans, tables

MODELS = read_models()
PORTABLE = sorted(name for name, model in MODELS.items() if model.engine is None)
ENGINE = "spark" if os.environ.get("SPARK_REMOTE") else "sail"
# Rows are fetched as Arrow; pandas, which it speaks of, has no part in it.
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")


class Engines(NamedTuple):
    """The same tables in both."""

    duckdb: duckdb.DuckDBPyConnection
    spark: Any
    schema: Schema

    def rows(self, model: SqlModel, days: Bounds) -> pa.Table:
        """The model's rows in DuckDB."""
        given = days.parameters_of(model)
        return (self.duckdb.sql(model.sql, params=given) if given else self.duckdb.sql(model.sql)).to_arrow_table()

    def text(self, model: SqlModel, days: Bounds) -> str:
        return to_spark(model, self.schema, *days)

    def differences_of(self, query: str) -> list[str]:
        """The same for a query of the table s.t; a failure is a difference."""
        try:
            got = self.spark.sql(translate(sqlglot.parse_one(query, read="duckdb"), self.schema)).toArrow()
        except Exception as error:  # noqa: BLE001 - each engine has errors of its own for what it does not know
            return [f"{type(error).__name__}: {error}"]
        return differences(self.duckdb.sql(query).to_arrow_table(), got)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    con = small_lake()
    con.execute("create schema s")
    con.execute(f"create table s.t as {TABLE}")
    with sail() as spark:
        copy_tables(con, spark, tmp_path_factory.mktemp("tables"))
        yield Engines(con, spark, tables(con))


@pytest.mark.parametrize("name", PORTABLE)
def test_a_model_gives_the_same_rows_on_spark(name: str, engines: Engines) -> None:
    model = MODELS[name]
    row_counts = []
    for days in spans(model):
        wanted = engines.rows(model, days)
        assert differences(wanted, engines.spark.sql(engines.text(model, days)).toArrow())[:5] == []
        row_counts.append(wanted.num_rows)
    assert any(row_counts), f"{name} has no rows here: nothing is compared"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.construct)
def test_what_the_lint_forbids_does_not_survive(example: Example, engines: Engines) -> None:
    """A rule whose example has become portable is to be taken out of the lint."""
    if example.differs_on in (ENGINE, "both"):
        assert engines.differences_of(example.banned) != []


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.portable], ids=lambda e: e.construct)
def test_the_spelling_that_the_lint_asks_for_does(example: Example, engines: Engines) -> None:
    assert example.portable
    said, asked = (engines.duckdb.sql(query).to_arrow_table() for query in (example.banned, example.portable))
    assert differences(said, asked) == []
    assert engines.differences_of(example.portable) == []


# A translation that is wrong by one word, as sqlglot's own would be or a slip of the hand.
SLIPS = {
    "the end of the day counts": ("staging.course_views", "r.viewed_at < CAST(", "r.viewed_at <= CAST("),
    "decimals are divided": ("segments.person_interests", "CAST(1.0 AS DOUBLE)", "1.0"),
    "an empty value is the newest": ("staging.identifiers", "NOT states.phone_hash IS NULL", "TRUE"),
    "parts of seconds are cut off": ("segments.person_interests", "ROUND(strengths.dwell", "(strengths.dwell"),
    "a repeat is kept": ("staging.claims", "NOT EXISTS", "EXISTS"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_wrong_translation_is_noticed(slip: str, engines: Engines) -> None:
    name, right, wrong = SLIPS[slip]
    days = spans(MODELS[name])[-1]
    text = engines.text(MODELS[name], days)
    assert right in text
    got = engines.spark.sql(text.replace(right, wrong)).toArrow()
    assert differences(engines.rows(MODELS[name], days), got) != []


def test_a_repeated_row_and_a_number_slightly_off_are_noticed(engines: Engines) -> None:
    two, one = (engines.duckdb.sql(f"select 1 as n, 0.1::double as x from range({n})").to_arrow_table() for n in (2, 1))
    off = engines.duckdb.sql("select 1 as n, 0.1::double + 1e-9 as x").to_arrow_table()
    assert differences(two, two) == []
    assert differences(two, one) != []
    assert differences(one, off) != []
