"""What is told of mistakes in SQL files: columns, tables, names, headers; all of them at once, each with its line.

Where DuckDB can judge as well, it is asked: what is told to be wrong it must refuse, what passes it must accept.
"""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from xmkt_assets.known_tables import known_tables
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Warehouse
from xmkt_assets.sql_assets import Catalogue, sql_asset
from xmkt_assets.sql_binding import bind
from xmkt_assets.sql_columns import column_mistakes
from xmkt_assets.sql_models import SQL_FOLDER, SqlFolder, SqlModel, SqlModelError, examine, load_models, read_folder
from xmkt_assets_tests.platform_helper import FIRST_DAY, QUIET

TYPES = {
    "raw.orders": {"order_id": "VARCHAR", "user_id": "VARCHAR", "paid_fen": "BIGINT", "ordered_at": "TIMESTAMP"},
    "raw.users": {"user_id": "VARCHAR", "birth_year": "BIGINT", "tags": "VARCHAR[]", "home": "STRUCT(city VARCHAR)"},
}
ORDERS = """\
-- grain: order_id
-- One row per order.
select
    o.order_id, -- Id of the order @not_null
    o.user_id, -- Who bought @references(raw.users.user_id)
    o.paid_fen -- Price
from raw.orders as o
"""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, sql in files.items():
        path = folder / "dbt_like_sql" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sql, encoding="utf-8")
    return folder / "dbt_like_sql"


def told(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    return examine(write(folder, files), known=TYPES).mistakes


def told_of(query: str) -> list[str]:
    """Mistakes about the columns of a bare query."""
    model = SqlModel("staging", "q", "q.sql", query)
    return list(column_mistakes(model.ast, text=model.text, known=TYPES))


def refusal_of_duckdb(query: str) -> str | None:
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("create schema raw")
        for table, columns in TYPES.items():
            con.execute(f"create table {table} ({', '.join(f'{n} {t}' for n, t in columns.items())})")
        try:
            con.execute(f"describe {query}")
        except duckdb.Error as error:
            return str(error)
    return None


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_column_of_a_table_is_told_with_its_line_and_the_near_name(tmp_path: Path) -> None:
    assert told(tmp_path, {"staging/orders.sql": ORDERS.replace("o.paid_fen", "o.payd_fen as paid_fen")}) == (
        "dbt_like_sql/staging/orders.sql, line 6: raw.orders (as o) has no column 'payd_fen'. Did you mean paid_fen?",
    )


def test_a_missing_column_of_a_table_made_by_another_file_is_told(tmp_path: Path) -> None:
    files = {"staging/orders.sql": ORDERS, "segments/o.sql": ORDERS.replace("raw.orders", "staging.orders")}
    assert told(tmp_path, {**files, "staging/orders.sql": ORDERS.replace("o.paid_fen", "o.paid_fen as fen")}) == (
        "dbt_like_sql/segments/o.sql, line 6: staging.orders (as o) has no column 'paid_fen'. There are order_id, "
        "user_id, fen.",
    )


WRONG = {
    "select o.who from raw.orders as o": "raw.orders (as o) has no column 'who'. There are order_id",
    "with paid as (select user_id as who from raw.orders)\nselect whom from paid": (
        "the CTE paid has no column 'whom'. Did you mean who?"
    ),
    "with paid as (select user_id as who from raw.orders)\nselect p.user_id from paid as p": (
        "the CTE paid (as p) has no column 'user_id'"
    ),
    "select v.m from (values (1), (2)) as v(n)": "has no column 'm'. There are n.",
    "select o.order_id, x.* from raw.orders as o": "x.* names no table or alias of this SELECT",
    "select q.b from (select a as b from raw.orders union all select user_id from raw.users) as q": "no column 'a'",
    "select q.x from (select user_id as y from raw.orders) as q": "the subquery (as q) has no column 'x'. There are y.",
    "select x.order_id from raw.orders as o": "x.order_id names no table or alias of this SELECT",
    "select orders.order_id from raw.orders as o": "names no table or alias of this SELECT",
    "select user_id from raw.orders as o inner join raw.users as u on u.user_id = o.user_id": (
        "the column 'user_id' is in raw.orders (as o) and raw.users (as u). Say which: o.user_id or u.user_id."
    ),
    "select birth_yeer from raw.orders as o, raw.users as u": (
        "none of raw.orders (as o), raw.users (as u) has a column 'birth_yeer'. Did you mean birth_year?"
    ),
    "select order_id from raw.orders where exists (select 1 from raw.users as u where u.usr_id = '1')": (
        "no column 'usr_id'"
    ),
    "with r(a, b) as (select order_id, user_id from raw.orders) select order_id from r": "There are a, b.",
    "with a as (select * exclude (paid_fen) from raw.orders) select paid_fen from a": "no column 'paid_fen'",
    "select a from raw.orders union all select user_id from raw.users": "raw.orders has no column 'a'",
    "select order_id from raw.orders group by ordr_id": "Did you mean order_id?",
    "select 1 as one where two = 1": "there is no column 'two', as this SELECT reads no table",
    "select count(*) over (partition by usr order by order_id) as n from raw.orders": "no column 'usr'",
}


@pytest.mark.parametrize("query", WRONG)
def test_what_is_told_to_be_missing_or_ambiguous_duckdb_refuses_too(query: str) -> None:
    (mistake,) = told_of(query)
    assert WRONG[query] in mistake
    assert mistake.startswith(f"q.sql, line {len(query.splitlines())}: ")
    assert refusal_of_duckdb(query) is not None


@pytest.mark.parametrize(
    "query",
    [
        "select order_id as o, o || 'x' as p from raw.orders where p <> 'y' order by p",
        "select paid_fen * 2 as double_fen from raw.orders group by all having double_fen > 1",
        "select user_id, birth_year from raw.orders inner join raw.users using (user_id)",
        "select order_id from raw.orders as o where exists (select 1 from raw.users as u where u.user_id = o.user_id)",
        "select order_id from raw.orders where user_id in (select user_id from raw.users where birth_year < paid_fen)",
        "select u.home.city, home.city as c from raw.users as u",
        "select list_transform(tags, t -> t || user_id) as x from raw.users",
        "select [t || 'x' for t in tags if t <> ''] as x from raw.users",
        "select t.tag from raw.users as u, unnest(u.tags) as t(tag)",
        "select unnest(tags) as tag, user_id from raw.users",
        "select n from (values (1), (2)) as v(n)",
        "select n from range(3) as r(n)",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select n from r",
        "select a, b from (select order_id as a, user_id as b from raw.orders union all select 'x', 'y') order by b",
        "select x, y from (select 1 as x union all by name select 2 as y)",
        "select * exclude (paid_fen), paid_fen / 2 as half from raw.orders",
        "select o.* from raw.orders as o semi join raw.users as u on u.user_id = o.user_id where user_id <> ''",
        'select ORDER_ID, o."USER_ID" from raw.orders as o',
        "select rowid from raw.orders",
        "select order_id, row_number() over w as n from raw.orders window w as (order by paid_fen) qualify n = 1",
        "select s.n from raw.orders as o, (select count(*) as n from raw.users as u where u.user_id = o.user_id) as s",
        "select sum(paid_fen) filter (where user_id <> '') as f from raw.orders",
        "with a as (select order_id from raw.orders), b as (select a.order_id from a) select b.order_id from b",
        "select orders.order_id from raw.orders",
        "select user_id from raw.orders natural join raw.users",
        "select columns('.*_id') from raw.orders",
    ],
)
def test_what_duckdb_understands_is_no_mistake(query: str) -> None:
    assert refusal_of_duckdb(query) is None
    assert told_of(query) == []


@pytest.fixture(scope="module")
def real() -> SqlFolder:
    return read_folder(SQL_FOLDER, known=known_tables())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_column_misspelt_anywhere_in_a_real_file_is_told_with_its_line(data: st.DataObject, real: SqlFolder) -> None:
    model = data.draw(st.sampled_from(sorted(real.models.values(), key=lambda m: m.table)))
    columns = [c for c in model.ast.find_all(exp.Column) if c.name != "*" and "start" in c.this.meta]
    names = sorted({c.this.meta["start"] for c in columns})
    start = data.draw(st.sampled_from(names))
    end = start + len(next(c.name for c in columns if c.this.meta["start"] == start))
    broken = SqlModel(model.schema, model.name, "q.sql", f"{model.sql[:end]}_zz{model.sql[end:]}")
    everything = {**known_tables(), **{table: m.column_names for table, m in real.models.items()}}
    mistakes = list(column_mistakes(broken.ast, text=broken.text, known=everything))
    line = model.sql.count("\n", 0, start) + 1
    assert any(f"q.sql, line {line}: " in m and "_zz" in m for m in mistakes), broken.sql


def test_the_real_folder_has_no_mistake_and_duckdb_agrees(real: SqlFolder) -> None:
    assert bind(real.models, real.checks, known=known_tables()).mistakes == ()


def test_a_reference_to_a_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, {"staging/orders.sql": ORDERS.replace("raw.users.user_id", "raw.users.usr_id")}) == (
        "dbt_like_sql/staging/orders.sql, line 5: @references(raw.users.usr_id) of column 'user_id' names no column of "
        "raw.users. Did you mean user_id?",
    )


def test_a_reference_to_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, {"staging/orders.sql": ORDERS.replace("raw.users.user_id", "raw.uzers.user_id")}) == (
        "dbt_like_sql/staging/orders.sql, line 5 refers to raw.uzers, which no SQL file, feed or Python asset makes. "
        "Did you mean raw.users?",
    )


# ── types and functions: DuckDB's own word, before there are rows ────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("found", "wanted", "words"),
    [
        ("o.paid_fen -- Price", "greatst(o.paid_fen, 0) as paid_fen -- Price", "greatst does not exist"),
        ("o.paid_fen -- Price", "sum(o.paid_fen) as paid_fen -- Price", "must appear in the GROUP BY"),
        ("as o\n", "as o\nwhere o.ordered_at > o.paid_fen\n", "TIMESTAMP"),
    ],
)
def test_what_only_duckdb_can_see_is_told_with_file_and_line(found: str, wanted: str, words: str) -> None:
    sql = ORDERS.replace(found, wanted)
    model = SqlModel("staging", "orders", "dbt_like_sql/staging/orders.sql", sql)
    (mistake,) = bind({model.table: model}, known=TYPES).mistakes
    assert mistake.startswith("dbt_like_sql/staging/orders.sql, line ")
    assert "DuckDB refuses the query" in mistake
    assert words in mistake


def test_what_reads_a_table_that_failed_is_not_blamed() -> None:
    bad = SqlModel("staging", "a", "a.sql", ORDERS.replace("o.paid_fen", "nosuch(o.paid_fen) as paid_fen"))
    after = SqlModel("staging", "b", "b.sql", ORDERS.replace("raw.orders", "staging.a"))
    bound = bind({"staging.a": bad, "staging.b": after}, known=TYPES)
    assert [m.split(",")[0] for m in bound.mistakes] == ["a.sql"]
    assert "staging.b" not in bound.types


def test_types_are_those_the_rows_will_have_through_any_number_of_files() -> None:
    one = SqlModel("staging", "a", "a.sql", "select order_id, -- I\n cast(ordered_at as date) as on_, -- D\n "
                   "sum(paid_fen) as fen -- F\nfrom raw.orders group by all")  # fmt: skip
    two = SqlModel(
        "staging", "b", "b.sql", "select on_ + interval 1 day as next_at, -- N\n fen / 2 as half -- H\nfrom staging.a"
    )
    types = bind({"staging.a": one, "staging.b": two}, known=TYPES).types
    assert types["staging.a"] == {"order_id": "VARCHAR", "on_": "DATE", "fen": "HUGEINT"}
    assert types["staging.b"] == {"next_at": "TIMESTAMP", "half": "DOUBLE"}


@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
def test_a_column_whose_type_changed_is_refused_by_the_lake_with_both_types_and_the_way_out(tmp_path: Path) -> None:
    sql = """\
-- grain: order_id
-- partition: ordered_on
-- One row per order.
select
    order_id, -- Id of the order
    paid_fen, -- Price
    cast(ordered_at as date) as ordered_on -- Day (UTC)
from raw.orders
where ordered_at >= $start and ordered_at < $end
"""
    warehouse = Warehouse(home=str(tmp_path), threads=1)
    rows = pl.DataFrame({"order_id": ["o1"], "paid_fen": [100], "ordered_at": [FIRST_DAY]})
    warehouse.replace("raw.orders", rows.with_columns(pl.col("ordered_at").cast(pl.Datetime("us"))))

    def run(text: str) -> dg.ExecuteInProcessResult:
        model = SqlModel("staging", "orders", "dbt_like_sql/staging/orders.sql", text)
        asset = sql_asset(model, Catalogue({"raw.orders": DAYS, "staging.orders": DAYS}, frozenset(), {}, {}))
        day = FIRST_DAY.isoformat()
        given = {"warehouse": warehouse}
        return dg.materialize([asset], partition_key=day, resources=given, run_config=QUIET, raise_on_error=False)

    assert run(sql).success
    result = run(sql.replace("paid_fen, --", "cast(paid_fen as double) as paid_fen, --"))
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    said = str(failure.step_failure_data.error)
    assert "staging.orders.paid_fen holds BIGINT, the new rows bring DOUBLE. Cast the column to BIGINT" in said
    assert "rebuild every partition" in said
    assert warehouse.read("select paid_fen from staging.orders").rows() == [(100,)]


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_makes_a_table_of_a_feed_or_python_asset_is_told(tmp_path: Path) -> None:
    (mistake,) = told(tmp_path, {"raw/users.sql": ORDERS})
    assert mistake.startswith(
        "dbt_like_sql/raw/users.sql makes raw.users, which a feed or a Python asset makes already"
    )


def test_two_files_that_differ_only_in_case_are_told_of_each_other(tmp_path: Path) -> None:
    found = told(tmp_path, {"staging/orders.sql": ORDERS, "staging/Orders.sql": ORDERS})
    upper, lower = "dbt_like_sql/staging/Orders.sql", "dbt_like_sql/staging/orders.sql"
    assert f"{lower} makes the same table as {upper}. Remove or rename one." in found


@pytest.mark.parametrize("name", ["Orders.sql", "my-orders.sql", "2orders.sql"])
def test_a_file_name_that_is_no_table_name_is_told(name: str, tmp_path: Path) -> None:
    (mistake,) = told(tmp_path, {f"staging/{name}": ORDERS})
    assert "is no name of a schema or table; wanted small letters, digits and underscores" in mistake


def test_a_cte_that_bears_the_name_of_a_table_read_elsewhere_in_the_file_is_told(tmp_path: Path) -> None:
    sql = ORDERS.replace("select", "with users as (select 'u' as user_id)\nselect", 1).replace(
        "as o\n",
        "as o\ninner join users as u on u.user_id = o.user_id\nwhere o.user_id in (select user_id from raw.users)\n",
    )
    (mistake,) = told(tmp_path, {"staging/orders.sql": sql})
    assert mistake == (
        "dbt_like_sql/staging/orders.sql, line 10: raw.users is read although a CTE of the file is called 'users' as "
        "well, so the two are easily confused. Rename the CTE."
    )


def test_two_ctes_of_one_name_are_told(tmp_path: Path) -> None:
    sql = ORDERS.replace("select", "with a as (select 1 as x),\nA as (select 2 as x)\nselect", 1)
    assert "dbt_like_sql/staging/orders.sql, line 4: a second CTE is called 'A'. Rename one." in told(
        tmp_path, {"staging/orders.sql": sql}
    )


def test_every_circle_is_told_with_the_places_of_its_reads(tmp_path: Path) -> None:
    files = {
        f"staging/{a}.sql": ORDERS.replace("raw.orders", f"staging.{b}") for a, b in ("ab", "bc", "ca", "xy", "yx")
    }
    first, second = told(tmp_path, files)
    for name, read in ("ab", "bc", "ca"):
        assert f"staging.{read} -> staging.{name}" in first
        assert f"dbt_like_sql/staging/{name}.sql, line 7" in first
    assert "staging.x" in second


# ── headers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("-- partitions: order_id", "there is no header '-- partitions:'. Did you mean '-- partition:'?"),
        ("-- Kind: view", "there is no header '-- Kind:'. Did you mean '-- kind:'?"),
        ("-- mappings: same day", "Did you mean '-- mapping:'?"),
        ("-- kind:", "the header '-- kind:' has no value. Write it as '-- kind: value'."),
        ("-- kind = view", "the header '-- kind = view' is not written with a colon. Write it as '-- kind: value'."),
        ("-- severity: warn", "the header '-- severity:' means nothing here. Known: grain, partition"),
        ("-- grain: user_id", "the header '-- grain:' stands there twice. Keep one."),
    ],
)
def test_a_header_that_would_be_passed_over_is_told(header: str, words: str, tmp_path: Path) -> None:
    sql = ORDERS.replace("-- One row", f"{header}\n-- One row")
    assert any("orders.sql, line 2: " in m and words in m for m in told(tmp_path, {"staging/orders.sql": sql}))


@pytest.mark.parametrize(
    "line", ["-- Trap: money", "-- Note: https://example.org", "-- Gained: by luck", "-- Example: a"]
)
def test_a_description_with_a_colon_is_no_header(line: str, tmp_path: Path) -> None:
    assert told(tmp_path, {"staging/orders.sql": ORDERS.replace("-- One row", f"{line}\n-- One row")}) == ()


@pytest.mark.parametrize("before", ["select\n", "from raw"])
def test_a_header_below_the_first_line_of_sql_is_told_with_its_line(before: str, tmp_path: Path) -> None:
    sql = ORDERS.replace(before, f"-- kind: view\n{before}", 1).replace("-- One row per order.\n", "-- One row.\n\n")
    line = sql.splitlines().index("-- kind: view") + 1
    (mistake,) = told(tmp_path, {"staging/orders.sql": sql})
    assert mistake.startswith(
        f"dbt_like_sql/staging/orders.sql, line {line}: the header '-- kind:' is read only in the"
    )


def test_a_file_that_opens_with_a_blank_line_is_told_where_its_header_stands(tmp_path: Path) -> None:
    found = told(tmp_path, {"staging/orders.sql": f"\n{ORDERS}"})
    assert any(
        "line 2: the header '-- grain:' is read only in the comment lines that open the file" in m for m in found
    )


# ── all of them ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_mistake_of_every_file_is_told_in_one_error(tmp_path: Path) -> None:
    files = {
        "staging/one.sql": ORDERS.replace("@not_null", "@uniq").replace("-- Price", "").replace("o.user", "o.usr"),
        "staging/two.sql": ORDERS.replace("raw.orders", "raw.order"),
        "staging/three.sql": ORDERS.replace("from", "form"),
        "checks/none.sql": "-- check: staging.won\n-- severity: bad\n-- None.\nselect payd_fen from raw.orders\n",
    }
    with pytest.raises(SqlModelError) as error:
        read_folder(write(tmp_path, files), known=TYPES)
    mistakes = error.value.mistakes
    wanted = (
        *("@uniq", "'paid_fen' has no meaning", "has no column 'usr_id'", "reads raw.order,", "three.sql, line 7"),
        *("staging.won", "severity 'bad'", "'payd_fen'"),
    )
    for words in wanted:
        assert sum(words in m for m in mistakes) == 1, (words, mistakes)
    assert len(mistakes) == 8
    assert str(error.value).startswith("8 mistakes in the SQL files:\n- dbt_like_sql/staging/")


def test_loading_models_alone_tells_all_that_can_be_seen_file_by_file(tmp_path: Path) -> None:
    files = {f"staging/{name}.sql": ORDERS.replace("-- grain: order_id\n", "") for name in ("one", "two")}
    with pytest.raises(SqlModelError) as error:
        load_models(write(tmp_path, files))
    assert [m.split(" ")[0] for m in error.value.mistakes] == [f"dbt_like_sql/staging/{n}.sql" for n in ("one", "two")]


def test_the_caret_stands_under_the_mistake_also_after_wide_characters(tmp_path: Path) -> None:
    (mistake,) = told(tmp_path, {"staging/orders.sql": ORDERS.replace("o.paid_fen --", "'用户' 'x' as y z --")})
    shown, caret = mistake.splitlines()[1:3]
    width = sum(2 if character in "用户" else 1 for character in shown[: shown.index("z")])
    assert caret.index("^") == width


def test_every_node_of_every_real_file_knows_its_true_line(real: SqlFolder) -> None:
    """The parser's own line numbers go wrong after comments; the lint for Spark relies on them."""
    for model in real.models.values():
        for name in model.ast.find_all(exp.Identifier):
            if "start" in name.meta:
                assert model.sql.splitlines()[name.meta["line"] - 1].count(name.name), model.path


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_damaged_anywhere_is_read_or_told_of_and_never_stops_the_others(
    data: st.DataObject, real: SqlFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = data.draw(st.sampled_from(sorted(real.models.values(), key=lambda m: m.table)))
    start = data.draw(st.integers(0, len(model.sql)))
    length = data.draw(st.sampled_from([0, 1, 2, 5, 20, 200]))
    put = data.draw(st.sampled_from(["", " ", "(", ")", "'", "--", "\n", "select", ",", "*", "$", "/*", "用户"]))
    damaged = f"{model.sql[:start]}{put}{model.sql[start + length :]}"
    folder = write(tmp_path_factory.mktemp("damaged"), {f"{model.schema}/{model.name}.sql": damaged})
    others = {table: m.column_names for table, m in real.models.items() if table != model.table}
    for mistake in examine(folder, known={**known_tables(), **others}).mistakes:
        assert model.path in mistake
