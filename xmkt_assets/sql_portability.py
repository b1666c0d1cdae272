"""Which SQL does not survive the way from DuckDB to Spark. Pure: a syntax tree in, findings out.

Here: the constructs that fail, or silently give other rows, on Spark or on Sail after ``sql_spark.to_spark``, each
with its portable spelling. Every one was seen to: ``xmkt_assets_tests/spark`` runs an example of each, and fails when
one has become portable. What sqlglot gets wrong but a translation can mend belongs in ``sql_spark``.

A file with ``-- engine: duckdb - reason`` promises nothing to Spark and is not looked at. The types of columns are not
known here; where they decide, the names do: ``_on`` is a date, ``_at`` a time.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from sqlglot import exp

from xmkt_assets.sql_models import SqlModel
from xmkt_assets.sql_spark import MENDED_FUNCTIONS


class Finding(NamedTuple):
    """One construct of a file that is not portable."""

    line: int
    construct: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.construct} {self.why}; write {self.instead}"


class Rule(NamedTuple):
    """A construct, the nodes it is looked for at, and at which of these it is found."""

    construct: str
    why: str
    instead: str
    nodes: tuple[type[exp.Expr], ...]
    holds: Callable[[exp.Expr], bool] = lambda node: True


def unportable(model: SqlModel) -> tuple[Finding, ...]:
    """What of a model does not survive on Spark, by line; nothing for a file that says ``-- engine: duckdb``."""
    return () if model.engine else findings(model.ast)


def findings(ast: exp.Expr) -> tuple[Finding, ...]:
    """The same for any syntax tree."""
    found = (
        Finding(_line(node), rule.construct, rule.why, rule.instead)
        for node in ast.walk()
        for rule in _RULES_BY_NODE.get(type(node), ())
        if rule.holds(node)
    )
    return tuple(sorted(set(found)))


def _line(node: exp.Expr) -> int:
    """Where a node stands. sqlglot knows it of names and functions only: of others, such as ``group by all``, it is the
    first line within, or else the last one before."""
    within = next((int(part.meta["line"]) for part in node.walk() if "line" in part.meta), None)
    if within is not None or node.parent is None:
        return within or 1
    before = itertools.takewhile(lambda part: part is not node, node.parent.walk(bfs=False))
    return max((int(part.meta["line"]) for part in before if "line" in part.meta), default=0) or _line(node.parent)


_PARTS: Final = {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOY", "HOUR", "MINUTE"}
_WHOLE: Final = {
    exp.DataType.Type.TINYINT,
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.INT128,
}
_TYPES_ELSEWHERE_UNKNOWN: Final = {
    exp.DataType.Type.UTINYINT,
    exp.DataType.Type.USMALLINT,
    exp.DataType.Type.UINT,
    exp.DataType.Type.UBIGINT,
    exp.DataType.Type.TIME,
    exp.DataType.Type.BIT,
}


def _is_date(node: exp.Expr | None) -> bool:
    """Whether an expression is a date for all that can be seen: a cast, a literal, or a name that says so."""
    if isinstance(node, exp.Paren):
        return _is_date(node.this)
    if isinstance(node, exp.Cast):
        return bool(node.to.this == exp.DataType.Type.DATE)
    if isinstance(node, exp.Column):
        return node.name == "dt" or node.name.endswith("_on")
    if isinstance(node, exp.Add | exp.Sub):
        return _is_date(node.this)
    if isinstance(node, exp.Coalesce | exp.Least | exp.Greatest):
        return all(_is_date(part) for part in (node.this, *node.expressions))
    return isinstance(node, exp.Max | exp.Min) and _is_date(node.this)


def _is_part_of_ranking(node: exp.Expr) -> bool:
    return isinstance(node.parent, exp.ArgMax | exp.ArgMin) and node.arg_key == "expression"


def _is_unknown(node: exp.Expr) -> bool:
    return str(node.this).lower() not in {*MENDED_FUNCTIONS, "row"}


def _may_have_a_fraction(node: exp.Expr) -> bool:
    """Whether a cast to a whole number is of something that was divided or averaged, and not rounded before."""
    if node.args["to"].this not in _WHOLE:
        return False
    pending = [node.this]
    while pending:
        part = pending.pop()
        if isinstance(part, exp.Div | exp.Avg | exp.Median | exp.Stddev | exp.StddevPop | exp.Sqrt | exp.Ln | exp.Exp):
            return True
        if isinstance(part, exp.Literal) and not part.is_string and not part.is_int:
            return True
        if isinstance(part, _FRACTIONS_PASS):
            pending.extend(part.iter_expressions())
    return False


# Of a fraction these make a fraction.
_FRACTIONS_PASS: Final = (
    *(exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Paren, exp.Abs, exp.Sum, exp.Max, exp.Min),
    *(exp.Coalesce, exp.Greatest, exp.Least, exp.Case, exp.If),
)


def _has_no_step(node: exp.Expr) -> bool:
    return not node.args.get("step") or bool(node.args.get("is_end_exclusive"))


def _is_second_unnest(node: exp.Expr) -> bool:
    unnests = [e for e in node.expressions if e.find(exp.Explode)] if isinstance(node, exp.Select) else []
    return len(unnests) > 1


def _not(*, arg: str) -> Callable[[exp.Expr], bool]:
    return lambda node: not node.args.get(arg)


def _has(arg: str) -> Callable[[exp.Expr], bool]:
    return lambda node: bool(node.args.get(arg))


RULES: Final = (
    # Joins, sets and groups
    Rule(
        "asof join",
        "fails",
        "a join with row_number() over (... order by ...) = 1",
        (exp.Join,),
        lambda n: n.args.get("method") == "ASOF",
    ),
    Rule(
        "positional join",
        "fails",
        "a join on row_number()",
        (exp.Join,),
        lambda n: n.args.get("method") == "POSITIONAL",
    ),
    Rule(
        "union by name",
        "fails",
        "union all, columns in the same order",
        (exp.Union, exp.Except, exp.Intersect),
        _has("by_name"),
    ),
    Rule("with recursive", "fails on Sail", "a join for each step", (exp.With,), _has("recursive")),
    Rule("group by all", "fails on Sail", "the columns by name", (exp.Group,), _has("all")),
    Rule("order by all", "fails on Sail", "the columns by name", (exp.Ordered,), lambda n: n.name.upper() == "ALL"),
    Rule("pivot", "fails on Sail", "max(case when ... then ... end) for each column", (exp.Pivot,)),
    Rule("using sample", "gives other rows", "a condition on md5(id)", (exp.TableSample,)),
    Rule("limit in percent", "fails", "a condition on row_number()", (exp.LimitOptions,), _has("percent")),
    Rule("columns()", "fails", "the columns by name", (exp.Columns,)),
    Rule(
        "table function",
        "fails",
        "unnest(generate_series(a, b, 1)) in the SELECT of a CTE",
        (exp.Table,),
        lambda n: isinstance(n.this, exp.Func),
    ),
    Rule(
        "unnest in FROM",
        "fails on Sail where it is filtered",
        "unnest(...) in the SELECT of a CTE",
        (exp.Join, exp.From),
        lambda n: isinstance(n.this, exp.Unnest),
    ),
    Rule(
        "several unnest in one SELECT",
        "gives every pair on Sail",
        "a cross join with values and a case",
        (exp.Select,),
        _is_second_unnest,
    ),
    Rule(
        "range(), or generate_series without a step",
        "counts downwards where the end lies before the start",
        "generate_series(a, b, 1)",
        (exp.GenerateSeries,),
        _has_no_step,
    ),
    # Aggregates
    Rule(
        "quantile",
        "fails or is approximate",
        "median(), or q-th values by row_number()",
        (exp.Quantile, exp.PercentileCont, exp.PercentileDisc, exp.ApproxQuantile),
    ),
    Rule(
        "mode()", "breaks ties otherwise", "a count and row_number() over (order by count desc, value) = 1", (exp.Mode,)
    ),
    Rule(
        "first(), last(), any_value()",
        "takes any row",
        "min(), or max_by(value, time)",
        (exp.First, exp.Last, exp.AnyValue),
    ),
    Rule(
        "list(), array_agg()",
        "loses its order and empty values",
        "string_agg(x, '|' order by y), or count and max",
        (exp.ArrayAgg,),
    ),
    Rule(
        "len() of an aggregate",
        "fails",
        "count(distinct x)",
        (exp.Length,),
        lambda n: isinstance(n.this, exp.ArrayAgg | exp.Split),
    ),
    Rule(
        "min(x, n), max(x, n), max_by(x, y, n)",
        "fails or gives the first alone",
        "row_number() <= n",
        (exp.Min, exp.Max, exp.ArgMax, exp.ArgMin),
        _has("count"),
    ),
    Rule("approx_count_distinct", "estimates otherwise", "count(distinct x)", (exp.ApproxDistinct,)),
    Rule("kurtosis()", "is another statistic", "sums of powers", (exp.Kurtosis,)),
    Rule(
        "row() outside the rank of max_by",
        "names its fields otherwise",
        "the columns themselves",
        (exp.Anonymous,),
        lambda n: str(n.this).lower() == "row" and not _is_part_of_ranking(n),
    ),
    Rule(
        "window frame with exclude or groups",
        "fails or is left out",
        "rows or range between",
        (exp.WindowSpec,),
        lambda n: bool(n.args.get("exclude")) or n.args.get("kind") == "GROUPS",
    ),
    # Times
    Rule(
        "date_diff of times",
        "counts midnights in DuckDB, full days in Spark",
        "date_diff('day', cast(a as date), cast(b as date))",
        (exp.DateDiff,),
        lambda n: n.text("unit").upper() == "DAY" and not (_is_date(n.this) and _is_date(n.expression)),
    ),
    Rule(
        "date_diff in other units than days",
        "counts boundaries in DuckDB, full units in Spark",
        "date_diff('day', ...), or arithmetic on year() and month()",
        (exp.DateDiff,),
        lambda n: n.text("unit").upper() != "DAY",
    ),
    Rule(
        "time minus time",
        "is another kind of interval",
        "date_diff of days, or epoch_us(a) - epoch_us(b)",
        (exp.Sub,),
        lambda n: all(isinstance(p, exp.Column) and p.name.endswith("_at") for p in (n.this, n.expression)),
    ),
    Rule(
        "extract of dow and rarer parts",
        "counts otherwise or fails",
        "(date_diff('day', date '1970-01-01', x_on) + 3) % 7 for Monday = 0",
        (exp.Extract,),
        lambda n: n.name.upper() not in _PARTS,
    ),
    Rule(
        "dayofweek(), isodow()",
        "counts otherwise",
        "(date_diff('day', date '1970-01-01', x_on) + 3) % 7 for Monday = 0",
        (exp.DayOfWeek, exp.DayOfWeekIso),
    ),
    Rule(
        "dayname(), monthname()",
        "is abbreviated",
        "a case on month() or on the number of the day",
        (exp.Dayname, exp.Monthname),
    ),
    Rule("week()", "fails on Sail", "extract(week from x)", (exp.Week,)),
    Rule("epoch(), epoch_ms()", "is another number", "epoch_us(x)", (exp.TimeToUnix, exp.UnixToTime)),
    Rule(
        "to_days(n), interval (n) day",
        "fails",
        "n * interval 1 day",
        (exp.ToDays, exp.Interval),
        lambda n: isinstance(n, exp.ToDays) or not isinstance(n.this, exp.Literal),
    ),
    Rule("at time zone", "goes the other way", "times in UTC only", (exp.AtTimeZone,)),
    # Numbers and text
    Rule(
        "cast of a fraction to a whole number",
        "rounds in DuckDB, cuts off in Spark",
        "cast(round(x) as bigint)",
        (exp.Cast, exp.TryCast),
        _may_have_a_fraction,
    ),
    Rule(
        "type that Spark lacks",
        "fails",
        "integer or bigint, varchar for times of day",
        (exp.DataType,),
        lambda n: n.this in _TYPES_ELSEWHERE_UNKNOWN,
    ),
    Rule("log(x)", "is the natural logarithm in Spark", "log10(x) or ln(x)", (exp.Log,), _not(arg="expression")),
    Rule("random(), uuid()", "gives other rows each time", "md5(id)", (exp.Rand, exp.Uuid)),
    Rule(
        "index or slice",
        "is empty in DuckDB beyond the end, an error in Spark",
        "split_part(text, sep, n), or substr()",
        (exp.Bracket,),
    ),
    Rule(
        "x ~ 'pattern'",
        "wants the whole text to match in DuckDB",
        "regexp_matches(x, '^pattern$')",
        (exp.RegexpLike,),
        lambda n: not n.meta,  # the function regexp_matches knows its line, the operator does not
    ),
    Rule(
        "regexp_replace without 'g'",
        "replaces the first match in DuckDB, all in Spark",
        "regexp_replace(x, a, b, 'g')",
        (exp.RegexpReplace,),
        _not(arg="modifiers"),
    ),
    Rule("x -> 'path'", "gives bare text in Spark", "x ->> 'path'", (exp.JSONExtract,)),
    Rule("format()", "knows other marks", "printf('%s', x), or ||", (exp.Format,)),
    Rule(
        "substr from 0",
        "begins elsewhere",
        "substr(x, 1, n)",
        (exp.Substring,),
        lambda n: n.args.get("start") == exp.Literal.number(0),
    ),
    Rule("collate", "fails on Sail", "order by lower(x), x", (exp.Collate,)),
    Rule("typeof()", "names types otherwise", "nothing: a column has one type", (exp.Typeof,)),
    Rule(
        "function that sqlglot does not know",
        "goes to Spark under its DuckDB name",
        "a function of standard SQL",
        (exp.Anonymous,),
        _is_unknown,
    ),
)


def _by_node() -> Iterator[tuple[type[exp.Expr], tuple[Rule, ...]]]:
    for node in {node for rule in RULES for node in rule.nodes}:
        yield node, tuple(rule for rule in RULES if node in rule.nodes)


_RULES_BY_NODE: Final = dict(_by_node())
