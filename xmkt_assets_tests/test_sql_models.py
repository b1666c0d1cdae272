"""What a file of dbt_like_sql says: header, columns, promises, reads, lineage, and what a mistake in it is told."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from xmkt_assets.resources import SQL_FOLDER
from xmkt_assets.sql_models import (
    ColumnCheck,
    SqlModel,
    SqlModelError,
    load_checks,
    load_models,
    refuse_unknown_reads,
    upstream_columns,
)

ORDERS = """\
-- grain: order_line_id, partner
-- partition: ordered_on
-- One row per course in a paid order.
-- Trap: refunded lines stay in.
select
    order_line_id, -- Unique id of this line
    partner, -- Who sent it @accepted(course_platform, insurer)
    cast(ordered_at as date) as ordered_on, -- Day of the order (UTC) @not_null
    user_id -- Who bought @unique @references(staging.users.user_id)
from raw.course_orders
where ordered_at >= $start and ordered_at < $end
"""
SNAPSHOT = """\
-- grain: as_of_on, person_id
-- partition: as_of_on
-- One row per person as of a day.
select
    cast($start as date) as as_of_on, -- Day
    person_id -- Person
from staging.people
"""
ITEMS = """\
-- grain: item_id
-- One row per item.
select
    i.item_id -- The item
from raw.items as i
"""


def model(sql: str, *, table: str = "staging.orders") -> SqlModel:
    schema, name = table.split(".")
    return SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", sql)


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder ``dbt_like_sql`` that holds the files."""
    for name, sql in files.items():
        path = folder / "dbt_like_sql" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sql, encoding="utf-8")
    return folder / "dbt_like_sql"


def complaint(folder: Path, files: Mapping[str, str]) -> str:
    with pytest.raises(SqlModelError) as error:
        load_models(write(folder, files))
    return str(error.value)


# ── what a good file says ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_header_gives_grain_partition_and_description() -> None:
    orders = model(ORDERS)
    assert orders.table == "staging.orders"
    assert orders.grain == ("order_line_id", "partner")
    assert (orders.kind, orders.partition_column, orders.is_snapshot) == ("partition", "ordered_on", False)
    assert orders.description == "One row per course in a paid order. Trap: refunded lines stay in."


def test_the_partition_column_as_of_on_makes_a_snapshot() -> None:
    assert model(SNAPSHOT).is_snapshot


def test_without_partition_and_kind_lines_a_file_is_a_whole_table_and_kind_view_makes_a_view() -> None:
    assert model(ITEMS).kind == "table"
    assert model(f"-- kind: view\n{ITEMS}").kind == "view"


def test_columns_carry_their_meaning_without_the_tags() -> None:
    assert [(c.name, c.description) for c in model(ORDERS).columns] == [
        ("order_line_id", "Unique id of this line"),
        ("partner", "Who sent it"),
        ("ordered_on", "Day of the order (UTC)"),
        ("user_id", "Who bought"),
    ]


def test_promises_are_those_of_the_grain_the_partition_and_the_tags_each_once() -> None:
    assert model(ORDERS).checks == (
        ColumnCheck("grain", ("order_line_id", "partner")),
        ColumnCheck("not_null", ("order_line_id",)),
        ColumnCheck("not_null", ("partner",)),
        ColumnCheck("day", ("ordered_on",)),
        ColumnCheck("accepted", ("partner",), ("course_platform", "insurer")),
        ColumnCheck("not_null", ("ordered_on",)),
        ColumnCheck("unique", ("user_id",)),
        ColumnCheck("references", ("user_id",), ("staging.users.user_id",)),
    )
    assert [c.name for c in model(ORDERS).checks] == [
        "grain_is_unique",
        "order_line_id_not_null",
        "partner_not_null",
        "ordered_on_is_in_range",
        "partner_accepted",
        "ordered_on_not_null",
        "user_id_unique",
        "user_id_references",
    ]


def test_every_promise_can_be_read_as_a_sentence() -> None:
    assert [c.description for c in model(ORDERS).checks] == [
        "One row per (order_line_id, partner).",
        "order_line_id is never empty.",
        "partner is never empty.",
        "Every ordered_on is one of the days that are being rebuilt.",
        "partner is one of: course_platform, insurer.",
        "ordered_on is never empty.",
        "No two rows share the same user_id.",
        "Every user_id exists in staging.users.user_id.",
    ]


def test_promises_of_one_kind_share_a_check_that_loses_none_of_them() -> None:
    checks = model(ORDERS).table_checks
    assert [(c.name, [p.name for p in c.promises]) for c in checks] == [
        ("grain_is_unique", ["grain_is_unique"]),
        ("required_columns_are_filled", ["order_line_id_not_null", "partner_not_null", "ordered_on_not_null"]),
        ("rows_lie_in_their_days", ["ordered_on_is_in_range"]),
        ("values_are_accepted", ["partner_accepted"]),
        ("unique_columns_do_not_repeat", ["user_id_unique"]),
        ("references_exist", ["user_id_references"]),
    ]
    assert sorted(p.name for c in checks for p in c.promises) == sorted(p.name for p in model(ORDERS).checks)
    assert checks[1].description == "Never empty: order_line_id, partner, ordered_on."
    assert checks[3].description == "partner is one of: course_platform, insurer."


def test_a_table_named_by_a_reference_is_known_although_the_query_does_not_read_it() -> None:
    assert model(ORDERS).reads == {"raw.course_orders"}
    assert model(ORDERS).refers_to == {"staging.users"}


def test_names_of_ctes_and_their_columns_are_no_tables() -> None:
    sql = """\
-- grain: a
-- One row per a.
with first as (select a from raw.one),
second as (select f.a from first as f inner join staging.two as t on t.a = f.a)
select
    s.a -- A
from second as s
where s.a in (select b from segments.three) and exists (select 1 from first where first.a = s.a)
"""
    assert model(sql).reads == {"raw.one", "staging.two", "segments.three"}


def test_a_cte_may_bear_the_name_of_the_table_it_reads() -> None:
    sql = "-- grain: a\nwith users as (select a from staging.users)\nselect\n    a -- A\nfrom users\n"
    assert model(sql).reads == {"staging.users"}


def test_parameters_are_found_in_the_query_and_not_in_comments() -> None:
    assert model(ORDERS).parameters == {"start", "end"}
    assert model(ITEMS.replace("One row", "Paid in $ and $start: one row")).parameters == frozenset()


# ── code version ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "same",
    [
        ORDERS.replace("Unique id of this line", "Other words"),
        ORDERS.replace("\n    ", "\n\n        "),
        ORDERS.replace("select", "SELECT").replace("where", "WHERE").replace("from", "From"),
        ORDERS.replace("and ordered_at", "\n    and  ordered_at"),
        ORDERS.replace("-- Trap: refunded lines stay in.\n", ""),
    ],
)
def test_code_version_ignores_comments_case_of_keywords_and_layout(same: str) -> None:
    assert same != ORDERS
    assert model(same).code_version == model(ORDERS).code_version


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("ordered_at < $end", "ordered_at <= $end"),
        ("raw.course_orders", "raw.course_reviews"),
        ("    partner, --", "    upper(partner) as partner, --"),
        ("-- grain: order_line_id, partner", "-- grain: order_line_id"),
        ("-- partition: ordered_on\n", ""),
    ],
)
def test_code_version_changes_with_the_logic_and_with_grain_and_partition(found: str, wanted: str) -> None:
    assert found in ORDERS
    assert model(ORDERS.replace(found, wanted)).code_version != model(ORDERS).code_version


# ── column lineage by hand ───────────────────────────────────────────────────────────────────────────────────────────


def test_lineage_follows_renames_expressions_ctes_and_unions() -> None:
    sql = """\
-- grain: k
-- One row per k.
with orders as (
    select o.user_id as who, o.paid_fen - coalesce(r.fen, 0) as net
    from staging.orders as o
    left join staging.refunds as r on r.order_id = o.order_id
),
both_sides as (
    select who, net, 'course' as side from orders
    union all
    select customer_id, premium_fen, 'insurance' from staging.policies
)
select
    b.who as k, -- Key
    sum(b.net) as net_fen, -- Money
    max(case when p.age > 30 then 1 else 0 end) as is_older, -- Older than 30
    count(*) as lines, -- Lines
    cast('x' as varchar) as fixed -- The same everywhere
from both_sides as b
inner join staging.people as p on p.person_id = b.who
group by b.who
"""
    schema = {
        "staging.orders": ("order_id", "user_id", "paid_fen"),
        "staging.refunds": ("order_id", "fen"),
        "staging.policies": ("customer_id", "premium_fen"),
        "staging.people": ("person_id", "age"),
    }
    assert upstream_columns(model(sql), schema=schema) == {
        "k": (("staging.orders", "user_id"), ("staging.policies", "customer_id")),
        "net_fen": (("staging.orders", "paid_fen"), ("staging.policies", "premium_fen"), ("staging.refunds", "fen")),
        "is_older": (("staging.people", "age"),),
        "lines": (),
        "fixed": (),
    }


def test_lineage_opens_a_star_by_the_columns_of_the_table() -> None:
    sql = """\
-- grain: user_id
-- One row per user.
with latest as (
    select * from raw.users qualify row_number() over (partition by user_id order by updated_at desc) = 1
)
select
    user_id, -- Id
    gender as Sex -- Gender
from latest
"""
    assert upstream_columns(model(sql), schema={"raw.users": ("user_id", "gender", "updated_at")}) == {
        "user_id": (("raw.users", "user_id"),),
        "Sex": (("raw.users", "gender"),),
    }


def test_a_union_of_constants_has_no_origin_and_is_no_error() -> None:
    sql = "-- grain: a\n-- One row per a.\nselect\n    'x' as a -- A\nunion all\nselect 'y'\n"
    assert upstream_columns(model(sql), schema={}) == {"a": ()}


# ── what a mistake is told ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_without_grain_is_told_how_to_say_it(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/items.sql": ITEMS.replace("-- grain: item_id\n", "")})
    assert said == (
        "dbt_like_sql/staging/items.sql does not say its grain. Add a first comment such as "
        '"-- grain: order_line_id" naming the columns that identify one row.'
    )


def test_a_syntax_error_is_placed_by_line(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/items.sql": ITEMS.replace("as i", "as i where (1")})
    assert said == (
        "dbt_like_sql/staging/items.sql, line 5, column 28: not valid SQL near '1' (expected )).\n"
        "    from raw.items as i where (1\n"
        "                               ^\n"
        "Correct the line; a DuckDB shell says more when the file is pasted into it."
    )


def test_a_quote_never_closed_is_a_complaint_too(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/items.sql": ITEMS.replace("i.item_id --", "'x as item_id --")})
    assert said == (
        "dbt_like_sql/staging/items.sql, line 4, column 5: not valid SQL, the ' here is never closed.\n"
        "        'x as item_id -- The item\n"
        "        ^\nClose it, or close an earlier one."
    )


def test_two_statements_are_refused(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/items.sql": f"{ITEMS};\nselect 2"})
    assert said == "dbt_like_sql/staging/items.sql holds 2 statements; wanted one bare SELECT. Remove the others."


@pytest.mark.parametrize("statement", ["create table a as select 1 as b", "delete from raw.items", ""])
def test_anything_but_a_select_is_refused(statement: str, tmp_path: Path) -> None:
    assert "wanted one bare SELECT" in complaint(tmp_path, {"staging/items.sql": f"-- grain: b\n{statement}"})


def test_a_column_without_meaning_is_named(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/orders.sql": ORDERS.replace(" -- Unique id of this line", "")})
    assert said == (
        "dbt_like_sql/staging/orders.sql, line 6: column 'order_line_id' has no meaning. "
        "End its line with a comment, such as order_line_id, -- What it means."
    )


def test_a_column_with_tags_only_has_no_meaning_either(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/orders.sql": ORDERS.replace("-- Unique id of this line", "-- @not_null")})
    assert "column 'order_line_id' has no meaning" in said


@pytest.mark.parametrize("select", ["*", "i.*", "count(*)"])
def test_a_column_without_name_is_refused(select: str, tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/items.sql": ITEMS.replace("i.item_id", select)})
    assert said == (
        "dbt_like_sql/staging/items.sql, line 4: the last SELECT has a column without a name. "
        "Write every column, each with its name."
    )


def test_an_unknown_tag_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/orders.sql": ORDERS.replace("@unique", "@uniq")})
    assert said == (
        "dbt_like_sql/staging/orders.sql, line 9: column 'user_id' carries the unknown tag @uniq. "
        "Known tags: @unique, @not_null, @accepted, @references."
    )


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("@not_null(yes)", "@not_null takes no argument in brackets."),
        ("@accepted", "@accepted needs argument in brackets."),
        ("@references(users.user_id)", "@references(users.user_id) names no column. Write it as schema.table.column"),
        ("@references(a.b.c, a.b.d)", "names no column. Write it as schema.table.column"),
    ],
)
def test_a_tag_with_a_wrong_argument_is_refused(tag: str, wanted: str, tmp_path: Path) -> None:
    assert wanted in complaint(tmp_path, {"staging/orders.sql": ORDERS.replace("@unique", tag)})


@pytest.mark.parametrize("header", ["-- grain: order_line_idd, partner", "-- grain: partner, order_line_idd"])
def test_a_grain_that_the_select_does_not_return_is_told_the_near_name(header: str, tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/orders.sql": ORDERS.replace("-- grain: order_line_id, partner", header)})
    assert said == (
        "dbt_like_sql/staging/orders.sql, line 1: header names column 'order_line_idd', which the SELECT does not "
        "return. Did you mean order_line_id?"
    )


def test_a_partition_column_that_the_select_does_not_return_is_refused(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/orders.sql": ORDERS.replace("partition: ordered_on", "partition: zzz")})
    assert "header names column 'zzz', which the SELECT does not return." in said


def test_a_parameter_other_than_start_and_end_is_refused(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/orders.sql": ORDERS.replace("< $end", "< $ende")})
    assert said == (
        "dbt_like_sql/staging/orders.sql, line 11 uses the parameters ['ende', 'start']; only $start and $end exist, "
        "and only in a file with a '-- partition: column' line."
    )


def test_parameters_in_a_table_without_partition_are_refused(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/orders.sql": ORDERS.replace("-- partition: ordered_on\n", "")})
    assert "only in a file with a '-- partition: column' line" in said


def test_a_partitioned_file_that_forgets_its_day_is_refused(tmp_path: Path) -> None:
    """Every run would add all rows once more: only the rows of its own day are removed before."""
    forgetful = ORDERS.replace("where ordered_at >= $start and ordered_at < $end\n", "")
    said = complaint(tmp_path, {"staging/orders.sql": forgetful})
    assert "returns the same rows whatever the day" in said
    assert "where ordered_on >= $start and ordered_on < $end" in said


def test_a_snapshot_whose_grain_leaves_out_the_day_is_refused(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/s.sql": SNAPSHOT.replace("grain: as_of_on, person_id", "grain: person_id")})
    assert said.endswith('Write "-- grain: as_of_on, person_id".')


@pytest.mark.parametrize("kind", ["veiw", "incremental"])
def test_an_unknown_kind_is_refused_and_not_taken_for_a_table(kind: str, tmp_path: Path) -> None:
    assert f"says kind '{kind}'; wanted" in complaint(tmp_path, {"staging/items.sql": f"-- kind: {kind}\n{ITEMS}"})


def test_a_view_cannot_be_partitioned(tmp_path: Path) -> None:
    assert "says kind 'view' and a partition" in complaint(tmp_path, {"staging/o.sql": f"-- kind: view\n{ORDERS}"})


def test_a_column_returned_twice_is_refused(tmp_path: Path) -> None:
    twice = ITEMS.replace("-- The item", "-- The item\n    , i.other as item_id -- Another")
    said = complaint(tmp_path, {"staging/items.sql": twice})
    assert said == (
        "dbt_like_sql/staging/items.sql, line 5 returns the columns ['item_id'] twice. Give each column a name of its "
        "own."
    )


def test_a_table_without_schema_is_told_to_write_it(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/items.sql": ITEMS.replace("raw.items", "items")})
    assert said == (
        "dbt_like_sql/staging/items.sql, line 5 reads 'items', which is neither a CTE of the file nor written as "
        "schema.table. Write the schema, for example staging.items."
    )


def test_models_that_read_each_other_are_named_in_order(tmp_path: Path) -> None:
    files = {
        "staging/one.sql": ITEMS.replace("raw.items", "staging.two"),
        "staging/two.sql": ITEMS.replace("raw.items", "staging.one"),
    }
    said = complaint(tmp_path, files)
    assert said.startswith("The SQL models read each other in a circle: ")
    assert "staging.one -> staging.two" in said or "staging.two -> staging.one" in said
    assert said.endswith("Break one of these reads.")


def test_a_model_that_reads_itself_is_a_circle(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"staging/one.sql": ITEMS.replace("raw.items", "staging.one")})
    assert "staging.one -> staging.one" in said


@pytest.mark.parametrize("place", ["loose.sql", "staging/deeper/items.sql"])
def test_a_file_at_the_wrong_depth_is_refused_and_not_overlooked(place: str, tmp_path: Path) -> None:
    said = complaint(tmp_path, {place: ITEMS})
    assert said == (f"dbt_like_sql/{place} lies at the wrong depth; wanted dbt_like_sql/<schema>/<table>.sql. Move it.")


def test_an_unknown_table_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    models = load_models(write(tmp_path, {"staging/items.sql": ITEMS.replace("raw.items", "raw.itemz")}))
    with pytest.raises(SqlModelError) as error:
        refuse_unknown_reads(models, known=["raw.items", "raw.users"])
    assert str(error.value) == (
        "dbt_like_sql/staging/items.sql, line 5 reads raw.itemz, which no SQL file, feed or Python asset makes. "
        "Did you mean raw.items?"
    )


def test_an_unknown_table_near_to_nothing_is_still_told_what_to_do(tmp_path: Path) -> None:
    models = load_models(write(tmp_path, {"staging/items.sql": ITEMS}))
    with pytest.raises(SqlModelError, match=r"Add its file, or correct the name\.$"):
        refuse_unknown_reads(models, known=["zz.qq"])


def test_a_reference_to_an_unknown_table_is_found_at_load(tmp_path: Path) -> None:
    models = load_models(write(tmp_path, {"staging/orders.sql": ORDERS}))
    with pytest.raises(SqlModelError, match=r"staging\.users"):
        refuse_unknown_reads(models, known=["raw.course_orders"])


# ── order, and queries that must return no row ───────────────────────────────────────────────────────────────────────


def test_models_come_upstream_first_also_where_only_a_reference_joins_them(tmp_path: Path) -> None:
    files = {
        "staging/a_last.sql": ITEMS.replace("raw.items", "staging.z_middle"),
        "staging/z_middle.sql": ITEMS.replace("-- The item", "-- The item @references(staging.zz_first.item_id)"),
        "staging/zz_first.sql": ITEMS,
    }
    assert list(load_models(write(tmp_path, files))) == ["staging.zz_first", "staging.z_middle", "staging.a_last"]


CHECK = """\
-- check: staging.items
-- severity: warn
-- No item is bad. Ask the firm.
select item_id from staging.items where item_id = 'bad'
"""


def test_a_check_file_names_its_table_its_severity_and_its_promise(tmp_path: Path) -> None:
    folder = write(tmp_path, {"checks/no_bad.sql": CHECK, "checks/none_at_all.sql": CHECK.replace(": warn", ": error")})
    bad, at_all = load_checks(folder, tables=["staging.items"])
    assert (bad.name, bad.table, bad.severity) == ("no_bad", "staging.items", "warn")
    assert bad.description == "No item is bad. Ask the firm."
    assert bad.reads == {"staging.items"}
    assert at_all.severity == "error"
    assert load_models(folder) == {}


@pytest.mark.parametrize(
    ("found", "wanted", "says"),
    [
        ("check: staging.items", "check: staging.item", "Did you mean staging.items?"),
        ("-- check: staging.items\n", "", "(no '-- check: schema.table' line)"),
        ("severity: warn", "severity: warning", "says severity 'warning'; wanted error or warn"),
    ],
)
def test_a_mistake_in_a_check_file_is_named(found: str, wanted: str, says: str, tmp_path: Path) -> None:
    folder = write(tmp_path, {"checks/no_bad.sql": CHECK.replace(found, wanted)})
    with pytest.raises(SqlModelError) as error:
        load_checks(folder, tables=["staging.items"])
    assert "dbt_like_sql/checks/no_bad.sql" in str(error.value)
    assert says in str(error.value)


def test_a_check_that_reads_an_unknown_table_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"checks/no_bad.sql": CHECK.replace("from staging.items", "from staging.item")})
    found = load_checks(folder, tables=["staging.items"])
    with pytest.raises(SqlModelError, match=r"Did you mean staging\.items\?"):
        refuse_unknown_reads({}, known=["staging.items"], checks=found)


# ── the real folder ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_file_of_the_folder_loads_upstream_first_within_two_seconds() -> None:
    files = {f"{p.parent.name}.{p.stem}" for p in SQL_FOLDER.glob("*/*.sql") if p.parent.name != "checks"}
    started = time.process_time()
    models = load_models(SQL_FOLDER)
    seconds = time.process_time() - started
    assert models.keys() == files
    assert len(files) > 30
    places = {table: n for n, table in enumerate(models)}
    for table, one in models.items():
        assert all(places[t] < places[table] for t in (one.reads | one.refers_to) & models.keys())
    assert seconds < 2


def test_every_file_opens_its_description_with_what_a_row_is() -> None:
    for one in load_models(SQL_FOLDER).values():
        assert one.description.startswith("One row per "), one.path


def test_every_column_of_staging_events_is_traced_to_its_raw_feed() -> None:
    """In a table that only renames and casts, an empty origin means that lineage is lost, not that there is none."""
    models = load_models(SQL_FOLDER)
    for table in ("staging.course_views", "staging.policies", "staging.claims"):
        one = models[table]
        (feed,) = one.reads
        for column, origins in upstream_columns(one, schema={}).items():
            assert origins, f"{table}.{column}"
            assert {t for t, _ in origins} == {feed}
