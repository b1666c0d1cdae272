"""An example of every construct that ``sql_portability`` finds, beside its portable spelling.

That the second says the same as the first is shown in DuckDB; that the first does not survive and the second does, on
Sail. `differs_on` says where one of Sail and Spark does as DuckDB does (seen on Spark 4.2), or where it is chance.
"""

from typing import Final, Literal, NamedTuple


class Example(NamedTuple):
    """A construct, a query that uses it, and one that does without; None = nothing says the same."""

    construct: str
    banned: str
    portable: str | None
    differs_on: Literal["both", "sail", "spark", "chance"] = "both"


TABLE: Final = """
    select * from (values
        (1, 'a', timestamp '2026-01-01 23:00:00', timestamp '2026-01-02 01:00:00', 2.5::double, true),
        (2, null, timestamp '2026-01-04 10:00:00', timestamp '2026-03-01 00:00:00', 0.3, false),
        (3, 'b|c', timestamp '2026-01-05 00:00:01', null, null, null),
        (4, 'a', timestamp '2026-01-31 12:00:00', timestamp '2026-02-28 11:00:00', 2.5, true)
    ) as r(n, s, a_at, b_at, x, f)
"""  # the rows of s.t: a Sunday, a Monday, midnights between, missing values

EXAMPLES: Final = (
    Example(
        "asof join",
        "select t.n, u.n as m from s.t asof join (select n, b_at from s.t) as u on t.a_at >= u.b_at",
        "select t.n, u.n as m from s.t inner join s.t as u on t.a_at >= u.b_at "
        "qualify row_number() over (partition by t.n order by u.b_at desc) = 1",
    ),
    Example(
        "positional join",
        "select t.n, u.m from s.t positional join (values (5), (6), (7), (8)) as u(m)",
        "select t.n, u.m from s.t inner join (values (5, 1), (6, 2), (7, 3), (8, 4)) as u(m, k) on t.n = u.k",
    ),
    Example(
        "union by name",
        "select n, s from s.t union all by name select s, n from s.t",
        "select n, s from s.t union all select n, s from s.t",
    ),
    Example(
        "with recursive",
        "with recursive r as (select 1 as n union all select n + 1 from r where n < 3) select n from r",
        "select 1 as n union all select 1 + 1 union all select 1 + 1 + 1",
        differs_on="sail",
    ),
    Example(
        "group by all",
        "select s, count(*) as c from s.t group by all",
        "select s, count(*) as c from s.t group by s",
        differs_on="sail",
    ),
    Example("order by all", "select n from s.t order by all", "select n from s.t order by n", differs_on="sail"),
    Example(
        "pivot",
        "select a from (select n, s from s.t) as r pivot (sum(n) for s in ('a'))",
        "select sum(case when s = 'a' then n end) as a from s.t",
        differs_on="sail",
    ),
    Example("using sample", "select n from s.t using sample 2 rows", None),
    Example("limit in percent", "select n from s.t order by n limit 50%", "select n from s.t order by n limit 2"),
    Example("columns()", "select columns('n|s') from s.t", "select n, s from s.t"),
    Example(
        "table function",
        "select r from generate_series(1, 3) as g(r)",
        "select unnest(generate_series(1, 3, 1)) as r",
    ),
    Example(
        "unnest in FROM",
        "select n, w from s.t cross join unnest(string_split(s, '|')) as u(w) where w <> 'a'",
        "with words as (select n, unnest(string_split(s, '|')) as w from s.t) select n, w from words where w <> 'a'",
        differs_on="sail",
    ),
    Example(
        "several unnest in one SELECT",
        "select unnest(['x', 'y']) as v, unnest([n, n + 1]) as w from s.t",
        "select k.v, case k.v when 'x' then n else n + 1 end as w from s.t cross join (values ('x'), ('y')) as k(v)",
    ),
    Example(
        "range(), or generate_series without a step",
        "select unnest(generate_series(1, n - 1)) as d from s.t",
        "with wide as (select n, unnest(generate_series(1, 3, 1)) as d from s.t) select d from wide where d < n",
    ),
    Example(
        "quantile",
        "select quantile_cont(n, 0.5) as q from s.t",
        "select median(n) as q from s.t",
    ),
    Example(
        "mode()",
        "select mode(x) as m from s.t where x is not null",
        "select x as m from s.t where x is not null group by x "
        "qualify row_number() over (order by count(*) desc, x) = 1",
        differs_on="chance",
    ),
    Example(
        "first(), last(), any_value()",
        "select first(s order by n) as d from s.t where s is not null",
        "select min_by(s, n) as d from s.t",
    ),
    Example(
        "list(), array_agg()",
        "select array_to_string(list(cast(n as varchar) order by n desc), '-') as d from s.t",
        "select string_agg(cast(n as varchar), '-' order by n desc) as d from s.t",
    ),
    Example(
        "len() of an aggregate",
        "select len(list(distinct s)) as d from s.t where s is not null",
        "select count(distinct s) as d from s.t",
    ),
    Example(
        "min(x, n), max(x, n), max_by(x, y, n)",
        "select unnest(max_by(n, n, 2)) as d from s.t",
        "select n as d from s.t qualify row_number() over (order by n desc) <= 2",
    ),
    Example(
        "approx_count_distinct",
        "with numbers as (select unnest(generate_series(1, 9999, 1)) as i) "
        "select approx_count_distinct(i) as d from numbers",
        None,
    ),
    Example("kurtosis()", "select kurtosis(n * n) as d from s.t", None),
    Example(
        "row() outside the rank of max_by",
        "select max(row(x, n)) as d from s.t where n < 3",
        None,
    ),
    Example(
        "window frame with exclude or groups",
        "select n, sum(n) over (order by n rows between 1 preceding and 1 following exclude current row) as c from s.t",
        "select n, coalesce(lag(n) over (order by n), 0) + coalesce(lead(n) over (order by n), 0) as c from s.t",
    ),
    Example(
        "date_diff of times",
        "select date_diff('day', a_at, b_at) as d from s.t",
        "select date_diff('day', cast(a_at as date), cast(b_at as date)) as d from s.t",
        differs_on="spark",
    ),
    Example(
        "date_diff in other units than days",
        "select date_diff('month', cast(a_at as date), cast(b_at as date)) as d from s.t",
        "select cast(12 * (year(b_at) - year(a_at)) + month(b_at) - month(a_at) as bigint) as d from s.t",
    ),
    Example(
        "time minus time",
        "select b_at - a_at as d from s.t",
        None,
    ),
    Example(
        "extract of dow and rarer parts",
        "select extract(dow from a_at) as d from s.t",
        "select (date_diff('day', date '1970-01-01', cast(a_at as date)) + 4) % 7 as d from s.t",
        differs_on="spark",
    ),
    Example(
        "dayofweek(), isodow()",
        "select isodow(a_at) - 1 as d from s.t",
        "select (date_diff('day', date '1970-01-01', cast(a_at as date)) + 3) % 7 as d from s.t",
    ),
    Example(
        "dayname(), monthname()",
        "select monthname(a_at) as d from s.t",
        "select case month(a_at) when 1 then 'January' else 'another' end as d from s.t",
    ),
    Example("week()", "select week(a_at) as d from s.t", "select extract(week from a_at) as d from s.t"),
    Example(
        "epoch(), epoch_ms()",
        "select epoch_ms(a_at) as d from s.t",
        "select epoch_us(a_at) // 1000 as d from s.t",
    ),
    Example(
        "to_days(n), interval (n) day",
        "select a_at + to_days(n) as d, a_at + interval (n) day as e from s.t",
        "select a_at + n * interval 1 day as d, a_at + n * interval 1 day as e from s.t",
    ),
    Example("at time zone", "select a_at at time zone 'Asia/Shanghai' as d from s.t", None),
    Example(
        "cast of a fraction to a whole number",
        "select cast(n / 3 as bigint) as d from s.t",
        "select cast(round(n / 3) as bigint) as d from s.t",
    ),
    Example(
        "type that Spark lacks",
        "select cast(n as uinteger) as d from s.t",
        "select cast(n as bigint) as d from s.t",
    ),
    Example("log(x)", "select log(n) as d from s.t", "select log10(n) as d from s.t"),
    Example("random(), uuid()", "select random() as d from s.t", None),
    Example(
        "index or slice",
        "select (string_split(s, '|'))[2] as d from s.t",
        "select nullif(split_part(s, '|', 2), '') as d from s.t",
    ),
    Example("x ~ 'pattern'", "select s ~ 'b' as d from s.t", "select regexp_matches(s, '^b$') as d from s.t"),
    Example(
        "regexp_replace without 'g'",
        "select regexp_replace('aXaX', 'X', '-') as d",
        "select regexp_replace('aXaX', '^([^X]*)X', 'a-', 'g') as d",
    ),
    Example(
        "x -> 'path'",
        """select cast(cast('{"a": "x"}' as json) -> '$.a' as varchar) as d""",
        """select '"' || ('{"a": "x"}' ->> '$.a') || '"' as d""",
    ),
    Example("format()", "select format('{}-{}', n, s) as d from s.t", "select n || '-' || s as d from s.t"),
    Example("substr from 0", "select substr('abc', 0, 2) as d", "select substr('abc', 1, 1) as d"),
    Example("collate", "select s from s.t order by s collate nocase", "select s from s.t order by lower(s)"),
    Example("typeof()", "select typeof(n) as d from s.t", None),
    Example(
        "function that sqlglot does not know",
        "select prefix(s, 'b') as d from s.t",
        "select starts_with(s, 'b') as d from s.t",
    ),
)
