"""A model's SQL for Spark: the way past one machine. Pure: a syntax tree in, text out.

Here: what sqlglot's translation from DuckDB to Spark gets wrong or leaves out, mended on the syntax tree. What cannot
be mended is refused by ``sql_portability`` before; that the rest gives the same rows is shown by ``make test-spark``.

The text wants Spark 4 or Sail with the session's time zone UTC (``spark.sql.session.timeZone``) and ANSI mode, Spark's
default. Tables are read as they are: their Parquet files through the lake's catalog, never by listing the folder, where
older versions of the rows lie too.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from xmkt_assets.sql_models import SqlModel

Schema = Mapping[str, Mapping[str, str]]  # schema.table -> column -> DuckDB type
MENDED_FUNCTIONS: Final = frozenset({"epoch_us"})  # that sqlglot does not know and would hand on under their names
_DAY: Final = (exp.DataType.Type.DATE,)


def to_spark(model: SqlModel, schema: Schema, start: datetime, end: datetime) -> str:
    """The model's query for Spark, its day from `start` to before `end`; `schema` has the tables it reads."""
    if lacking := sorted(model.reads - schema.keys()):
        raise ValueError(
            f"{model.path} reads {lacking}, whose columns are not in the schema given. Names of columns are resolved "
            f"before translating: give every table of model.reads."
        )
    return translate(bound(model.ast, start=start, end=end), {table: schema[table] for table in model.reads})


def bound(ast: exp.Expr, *, start: datetime, end: datetime) -> exp.Expr:
    """A copy of a query with the values of ``$start`` and ``$end`` in their places."""
    values = {"start": start, "end": end}

    def literal(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Placeholder):
            moment = exp.Literal.string(values[node.name].isoformat(sep=" "))
            return exp.Cast(this=moment, to=exp.DataType.build("timestamp", dialect="duckdb"))
        return node

    return ast.copy().transform(literal)


def translate(query: exp.Expr, schema: Schema) -> str:
    """Any DuckDB query for Spark: names resolved first, because afterwards nobody can tell a column from a table."""
    by_schema: dict[str, dict[str, object]] = {}
    for table, columns in schema.items():
        db, name = table.split(".")
        by_schema.setdefault(db, {})[name] = dict(columns)
    known: dict[str, object] = {**by_schema}
    qualified = qualify(query.copy(), schema=known, dialect="duckdb", quote_identifiers=False)
    typed = annotate_types(qualified, schema=known, dialect="duckdb")
    for node in reversed(list(typed.walk())):  # what lies within before what it lies in
        if (mended := _mended(node)) is not node:
            node.replace(mended)
    return typed.sql(dialect="spark", pretty=True, comments=False)


def _mended(node: exp.Expr) -> exp.Expr:
    """One node as Spark means it. Each case is a difference that sqlglot does not know."""
    match node:
        case exp.CTE():  # a hint for DuckDB's planner; Spark refuses the word
            node.set("materialized", None)
        case exp.DataType() if node.this in (exp.DataType.Type.INT128, exp.DataType.Type.UINT128):
            return exp.DataType.build("decimal(38, 0)")
        case exp.Div():  # 1.0 / 3 is a double in DuckDB, and the decimal 0.33333 in Spark
            node.set("this", exp.cast(node.this, "double"))
        case exp.ArgMax() | exp.ArgMin():
            node.set("expression", _rank(node))
        case exp.Split() if isinstance(node.expression, exp.Literal):  # a regular expression in Spark
            return exp.Anonymous(
                this="SPLIT", expressions=[node.this, exp.Literal.string(re.escape(node.expression.name))]
            )
        case exp.Sub() if node.this.is_type(*_DAY) and node.expression.is_type(*_DAY):  # an interval in Spark
            return exp.Anonymous(this="DATEDIFF", expressions=[node.this, node.expression])
        case exp.Anonymous(this=str(name)) if name.lower() == "epoch_us":  # UTC is the session's time zone
            return exp.Anonymous(this="UNIX_MICROS", expressions=[exp.cast(node.expressions[0], "timestamp")])
    return node


def _rank(node: exp.Expr) -> exp.Expr:
    """By what max_by ranks. DuckDB passes over rows without a value, Spark only over those without a rank; and in a
    row() an empty field is the greatest in DuckDB and the smallest in Spark."""
    rank = node.expression
    if isinstance(rank, exp.Anonymous) and rank.name.lower() == "row":
        fields = [
            part for field in rank.expressions for part in (exp.Is(this=field.copy(), expression=exp.Null()), field)
        ]
        rank = exp.Anonymous(this="STRUCT", expressions=fields)
    present = exp.Not(this=exp.Is(this=node.this.copy(), expression=exp.Null()))
    return exp.Case().when(present, rank)
