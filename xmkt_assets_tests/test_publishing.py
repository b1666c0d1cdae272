"""Write, audit, publish: zero-row checks on rows that are not visible yet, of SQL and of Python assets alike."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from xmkt_assets.audits import audit_changes, overlaid, run_check
from xmkt_assets.partitions import DAYS, range_tags
from xmkt_assets.publishing import BEFORE
from xmkt_assets.resources import Warehouse
from xmkt_assets.sql_assets import Catalogue, full_look, sql_asset, sql_check
from xmkt_assets.sql_models import SqlCheck, SqlModel
from xmkt_assets.warehouse import Days, Equal, Lake, Replace, Whole
from xmkt_assets_tests.platform_helper import FIRST_DAY, QUIET, checks, failures

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:Asset job __ephemeral_asset_job__ materializes assets with varying"),
]
DAY = FIRST_DAY
NEXT, THIRD = DAY + timedelta(days=1), DAY + timedelta(days=2)
ORDERS = """\
-- grain: order_id
-- partition: ordered_on
-- One row per order.
select
    order_id, -- Id
    user_id, -- Who
    review_text, -- Words
    ordered_on -- Day
from raw.orders
where ordered_on >= $start and ordered_on < $end
"""
SECOND = ORDERS.replace("order_id,", "order_id || '-2' as order_id,")
SEEN_TABLE = "segments.seen"
SEEN = """\
-- kind: view
-- grain: order_id
-- One row per order of a known user.
select
    order_id, -- Id
    user_id -- Who
from staging.orders
"""
STRANGERS = """\
-- check: staging.orders
-- Nobody orders who is no user. Ask the platform for its users.
select o.order_id, o.user_id, o.review_text from staging.orders as o
where not exists (select 1 from staging.users as u where u.user_id = o.user_id)
"""
TWO_A_DAY = """\
-- check: staging.orders
-- No user orders twice on a day. Ask the platform.
select ordered_on, user_id, count(*) as orders from staging.orders
where ordered_on >= $start and ordered_on < $end
group by ordered_on, user_id having count(*) > 1
"""
PAIRED = """\
-- check: pairs.left_side
-- Every left row has a right one. Write both.
select l.id from pairs.left_side as l anti join pairs.right_side as r on r.id = l.id
"""
WARNED = TWO_A_DAY.replace("-- check: staging.orders", "-- check: staging.orders\n-- severity: warn")


class Shop:
    """A lake with orders and users, and a folder of checks that guard it."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "sql"
        self.warehouse = Warehouse(home=str(home), threads=1)
        self.instance = dg.DagsterInstance.ephemeral()

    def open(self) -> None:
        """Two users, no orders, no checks."""
        with self.warehouse.session() as session:
            for table in sorted(session.tables()):
                session.connection.execute(f"drop {'view' if table == SEEN_TABLE else 'table'} {table}")
        self.warehouse.replace("staging.users", pl.DataFrame({"user_id": ["u1", "u2"]}))
        self.guard()

    def orders(self, *rows: tuple[str, str, date]) -> None:
        frame = pl.DataFrame(rows, schema={"order_id": str, "user_id": str, "ordered_on": pl.Date}, orient="row")
        self.warehouse.replace("raw.orders", frame.with_columns(review_text=pl.lit("call me on 13800000000")))

    def guard(self, **queries: str) -> list[dg.AssetChecksDefinition]:
        """Write check files and give them as asset checks, too. A process reads a folder once: each has its own."""
        self.folder = self.folder.with_name(f"{self.folder.name}_")
        (self.folder / "checks").mkdir(parents=True)
        self.warehouse = Warehouse(home=self.warehouse.home, threads=1, checks_folder=str(self.folder))
        made = []
        for name, sql in queries.items():
            (self.folder / "checks" / f"{name}.sql").write_text(sql, encoding="utf-8")
            made.append(sql_check(check_of(name, sql)))
        return made

    def run(self, *assets: Any, day: date | None = None, until: date | None = None) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            list(assets),
            partition_key=day.isoformat() if day and not until else None,
            tags=range_tags(day, until) if day and until else None,
            resources={"warehouse": self.warehouse},
            instance=self.instance,
            run_config=QUIET,
            raise_on_error=False,
        )

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return self.warehouse.read(f"select * from {table} order by all").rows()


def check_of(name: str, sql: str) -> SqlCheck:
    lines = [line for line in sql.splitlines() if line.startswith("-- ")]
    table = lines[0].removeprefix("-- check: ")
    return SqlCheck(
        name, f"sql/checks/{name}.sql", sql, table, "warn" if "severity: warn" in sql else "error", lines[-1]
    )


def model(table: str, sql: str) -> SqlModel:
    schema, name = table.split(".")
    return SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", sql)


def asset(table: str, sql: str) -> dg.AssetsDefinition:
    columns = {"raw.orders": ("order_id", "user_id", "review_text", "ordered_on")}
    return sql_asset(model(table, sql), Catalogue({"raw.orders": DAYS}, frozenset(), columns, {}))


def written_by_python(day: date, rows: pl.DataFrame) -> dg.AssetsDefinition:
    @dg.asset(key=["staging", "orders"])
    def orders(warehouse: Warehouse) -> None:
        warehouse.replace("staging.orders", rows, where={"ordered_on": day})

    return orders


def written_together(left: list[str], right: list[str]) -> dg.AssetsDefinition:
    @dg.multi_asset(specs=[dg.AssetSpec(["pairs", "left_side"]), dg.AssetSpec(["pairs", "right_side"])], name="pairs")
    def pairs(warehouse: Warehouse) -> Iterator[dg.MaterializeResult[Any]]:
        with warehouse.session() as session:
            for name, ids in (("left_rows", left), ("right_rows", right)):
                session.stage_rows(name, pl.DataFrame({"id": ids}, schema={"id": pl.String}))
            changes = [
                Replace("pairs.left_side", "left_rows", Whole()),
                Replace("pairs.right_side", "right_rows", Whole()),
            ]
            session.commit(changes)
        yield dg.MaterializeResult(asset_key=["pairs", "left_side"])
        yield dg.MaterializeResult(asset_key=["pairs", "right_side"])

    return pairs


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.instance.dispose()


@pytest.fixture
def shop(shared: Shop) -> Shop:
    """Made once and cleared: attaching a new lake takes a second."""
    shared.open()
    return shared


# ── a check that finds rows leaves the old ones ──────────────────────────────────────────────────────────────────────


def test_a_sql_asset_whose_new_rows_fail_a_check_keeps_the_old_rows_and_names_the_new(shop: Shop) -> None:
    guards = shop.guard(strangers=STRANGERS)
    shop.orders(("o1", "u1", DAY))
    assert shop.run(asset("staging.orders", ORDERS), *guards, day=DAY).success
    shop.orders(("o1", "u1", DAY), ("o2", "u9", DAY))
    result = shop.run(asset("staging.orders", ORDERS), *guards, day=DAY)
    (said,) = failures(result)
    assert "staging.orders: the new rows fail 1 check(s) and were not published; the old rows stand." in said
    assert "strangers: " in said
    assert "Ask the platform for its users." in said
    assert "Found 1 rows, first [{'order_id': 'o2', 'user_id': 'u9', 'review_text': '***'}]." in said
    assert "13800000000" not in said
    assert [row[0] for row in shop.rows("staging.orders")] == ["o1"]
    assert checks(result, "staging.orders")["strangers"] is False
    assert checks(result, "staging.orders")["grain_is_unique"] is True


def test_a_python_asset_whose_new_rows_fail_a_check_keeps_the_old_rows(shop: Shop) -> None:
    guards = shop.guard(strangers=STRANGERS)
    good = pl.DataFrame({"order_id": ["o1"], "user_id": ["u1"], "review_text": ["fine"], "ordered_on": [DAY]})
    assert shop.run(written_by_python(DAY, good), *guards).success
    result = shop.run(written_by_python(DAY, good.with_columns(user_id=pl.lit("u9"))), *guards)
    (said,) = failures(result)
    assert "first [{'order_id': 'o1', 'user_id': 'u9', 'review_text': '***'}]" in said
    assert shop.rows("staging.orders") == good.rows()


def test_the_failed_check_is_shown_in_the_ui_of_the_run_with_its_rows(shop: Shop) -> None:
    guards = shop.guard(strangers=STRANGERS)
    shop.orders(("o2", "u9", DAY))
    result = shop.run(asset("staging.orders", ORDERS), *guards, day=DAY)
    key = dg.AssetCheckKey(dg.AssetKey(["staging", "orders"]), "strangers")
    record = shop.instance.get_latest_asset_check_evaluation_record(key)
    assert record is not None
    assert (record.run_id, record.status.value) == (result.run_id, "FAILED")
    (shown,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "strangers"]
    assert shown.metadata["offending_rows"].value == 1
    table = shown.metadata["first_rows"].value
    assert table == "| order_id | user_id | review_text |\n|---|---|---|\n| o2 | u9 | *** |"
    assert shown.metadata["checked"].value == BEFORE


def test_a_passed_check_is_not_asked_a_second_time_in_the_run_and_is_asked_again_on_demand(shop: Shop) -> None:
    guards = shop.guard(strangers=STRANGERS)
    shop.orders(("o1", "u1", DAY))
    result = shop.run(asset("staging.orders", ORDERS), *guards, day=DAY)
    assert result.success, failures(result)
    found = [c.metadata["checked"].value for c in result.get_asset_check_evaluations() if c.check_name == "strangers"]
    assert set(found) == {BEFORE}
    shop.warehouse.replace("staging.users", pl.DataFrame({"user_id": ["u2"]}))
    job = dg.Definitions(asset_checks=guards, resources={"warehouse": shop.warehouse})
    alone = job.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=shop.instance, run_config=QUIET, raise_on_error=False
    )
    (again,) = alone.get_asset_check_evaluations()
    assert not again.passed
    assert "checked" not in again.metadata


def test_the_rows_that_are_replaced_do_not_count_and_those_of_other_days_do(shop: Shop) -> None:
    guards = shop.guard(strangers=STRANGERS)
    shop.orders(("o1", "u9", DAY), ("o2", "u1", NEXT))
    shop.warehouse.replace(  # a stranger of each day, written when nobody looked
        "staging.orders",
        shop.warehouse.read("select order_id, user_id, review_text, ordered_on from raw.orders"),
        where={"ordered_on": [DAY, NEXT]},
    )
    assert not shop.run(asset("staging.orders", ORDERS), *guards, day=NEXT).success, "the stranger of DAY stays"
    shop.orders(("o1", "u1", DAY), ("o2", "u1", NEXT))
    assert shop.run(asset("staging.orders", ORDERS), *guards, day=DAY).success, "the stranger of DAY goes"


def test_tables_of_one_commit_are_looked_at_together(shop: Shop) -> None:
    guards = shop.guard(paired=PAIRED)
    assert shop.run(written_together(["a", "b"], ["a", "b", "c"]), *guards).success, "neither table existed before"
    assert shop.run(written_together(["d"], ["d"]), *guards).success, "d is in no old table"
    result = shop.run(written_together(["d", "e"], ["d"]), *guards)
    (said,) = failures(result)
    assert "pairs.left_side: the new rows fail 1 check(s)" in said
    assert "[{'id': 'e'}]" in said
    assert (shop.rows("pairs.left_side"), shop.rows("pairs.right_side")) == ([("d",)], [("d",)])


def test_a_view_is_audited_before_it_is_made_and_unfolded_where_a_check_reads_it(shop: Shop) -> None:
    shop.orders(("o1", "u1", DAY))
    assert shop.run(asset("staging.orders", ORDERS), day=DAY).success
    through_view = STRANGERS.replace("from staging.orders as o", "from segments.seen as o").replace(
        "o.review_text", "1"
    )
    assert shop.run(asset("segments.seen", SEEN)).success
    guards = shop.guard(through_view=through_view)
    shop.orders(("o2", "u9", DAY))
    (said,) = failures(shop.run(asset("staging.orders", ORDERS), *guards, day=DAY))
    assert "'order_id': 'o2'" in said


def test_a_check_on_a_view_looks_at_the_view_to_come(shop: Shop) -> None:
    shop.orders(("o1", "u9", DAY))
    assert shop.run(asset("staging.orders", ORDERS), day=DAY).success
    on_view = STRANGERS.replace("staging.orders", "segments.seen").replace("o.review_text", "1")
    (said,) = failures(shop.run(asset("segments.seen", SEEN), *shop.guard(on_view=on_view)))
    assert "segments.seen: the new rows fail 1 check(s)" in said
    assert "segments.seen" not in shop.warehouse.lake.tables()


def test_a_warning_lets_the_rows_pass_and_is_asked_after_publishing(shop: Shop) -> None:
    guards = shop.guard(twice=WARNED)
    shop.orders(("o1", "u1", DAY), ("o2", "u1", DAY))
    result = shop.run(asset("staging.orders", ORDERS), *guards, day=DAY)
    assert result.success
    assert checks(result, "staging.orders")["twice"] is False
    assert len(shop.rows("staging.orders")) == 2


def test_a_check_whose_table_is_missing_says_so_and_publishes_nothing(shop: Shop) -> None:
    guards = shop.guard(strangers=STRANGERS.replace("staging.users", "staging.nobody"))
    shop.orders(("o1", "u1", DAY))
    (said,) = failures(shop.run(asset("staging.orders", ORDERS), *guards, day=DAY))
    assert "A check on the new rows cannot run, so they were not published: Catalog Error" in said
    assert "staging.orders" not in shop.warehouse.lake.tables()


def test_tools_and_tests_that_write_outside_a_step_are_not_asked(shop: Shop) -> None:
    shop.guard(strangers=STRANGERS)
    rows = pl.DataFrame({"order_id": ["o1"], "user_id": ["u9"], "review_text": [None], "ordered_on": [DAY]})
    shop.warehouse.replace("staging.orders", rows)
    assert len(shop.rows("staging.orders")) == 1


# ── checks bounded to the day ────────────────────────────────────────────────────────────────────────────────────────


def test_a_check_that_asks_for_the_day_sees_only_the_days_being_written(shop: Shop) -> None:
    guards = shop.guard(twice=TWO_A_DAY)
    twice = (("o1", "u1", DAY), ("o2", "u1", DAY))
    shop.orders(*twice, ("o3", "u1", NEXT))
    assert not shop.run(asset("staging.orders", ORDERS), *guards, day=DAY).success
    assert shop.run(asset("staging.orders", ORDERS), *guards, day=NEXT).success, "DAY is not written"
    assert not shop.run(asset("staging.orders", ORDERS), *guards, day=DAY, until=NEXT).success


def test_run_on_demand_a_check_that_asks_for_the_day_sees_all_days(shop: Shop) -> None:
    rows = pl.DataFrame({"order_id": ["a", "b"], "user_id": "u1", "ordered_on": [DAY, DAY]})
    shop.warehouse.replace("staging.orders", rows)
    with shop.warehouse.session() as session:
        check = check_of("twice", TWO_A_DAY)
        assert run_check(session, check).offending == 1
        assert run_check(session, check, days=[DAY]).offending == 1
        assert run_check(session, check, days=[NEXT, THIRD]).offending == 0


def test_repeats_far_apart_are_found_by_the_look_over_all_days_only(shop: Shop) -> None:
    far = DAY + timedelta(days=60)
    shop.orders(("o1", "u1", DAY), ("o1", "u1", far))
    look = full_look(model("staging.orders", ORDERS))
    assert look is not None
    for day in (DAY, far):
        assert shop.run(asset("staging.orders", ORDERS), day=day).success
    job = dg.Definitions(asset_checks=[look], resources={"warehouse": shop.warehouse})
    result = job.resolve_implicit_global_asset_job_def().execute_in_process(instance=shop.instance, run_config=QUIET)
    (found,) = result.get_asset_check_evaluations()
    assert not found.passed
    assert found.metadata["first_rows"].value.endswith(f"| o1 | 2 | {DAY} | {far} |")
    shop.orders(("o1", "u1", DAY), ("o1", "u1", DAY + timedelta(days=31)))
    (said,) = failures(shop.run(asset("staging.orders", ORDERS), day=DAY + timedelta(days=31)))
    assert "One row per (order_id). Broken by 1 rows" in said, "31 days are near"


@pytest.mark.parametrize(("apart_days", "passes"), [(31, False), (32, True)])
def test_a_long_range_in_one_run_passes_where_its_days_one_by_one_would(
    shop: Shop, *, apart_days: int, passes: bool
) -> None:
    far = DAY + timedelta(days=apart_days)
    shop.orders(("o1", "u1", DAY), ("o1", "u1", far))
    assert shop.run(asset("staging.orders", ORDERS), day=DAY, until=far).success == passes


# ── the overlay, by itself ───────────────────────────────────────────────────────────────────────────────────────────

_IDS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=6)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("overlay"), threads=1)


@settings(max_examples=8, deadline=None)
@given(old=_IDS, new=_IDS, days=st.sets(st.integers(0, 3), min_size=1))
def test_what_a_check_sees_before_the_commit_is_what_stands_after_it(
    old: list[tuple[int, int]], new: list[tuple[int, int]], days: set[int], lake: Lake
) -> None:
    """The second method is the commit itself."""
    check = SqlCheck("all", "sql/checks/all.sql", "select * from t.events", "t.events", "error", "All.")
    with lake.session() as session:
        session.stage_rows("old_rows", _events(old))
        session.commit([Replace("t.events", "old_rows", Whole())])
        session.stage_rows("new_rows", _events([row for row in new if row[1] in days]))
        slices: list[Days | Equal] = [Equal((("day", [_day(n) for n in sorted(days)]),))]
        if max(days) - min(days) + 1 == len(days):
            slices.append(Days("day", _day(min(days)), _day(max(days) + 1)))
        for scope in slices:
            change = Replace("t.events", "new_rows", scope)
            (before,) = audit_changes(session, [change], [check])
            session.commit([change])
            assert before.offending == run_check(session, check).offending


def _day(number: int) -> date:
    return date(2026, 7, 1) + timedelta(days=number)


def _events(rows: list[tuple[int, int]]) -> pl.DataFrame:
    return pl.DataFrame([(n, _day(day)) for n, day in rows], schema={"id": pl.Int64, "day": pl.Date}, orient="row")


def test_a_slice_by_value_and_several_slices_of_one_table_leave_the_other_rows(lake: Lake) -> None:
    check = SqlCheck("ids", "sql/checks/ids.sql", "select id from t.parts order by id", "t.parts", "error", "Ids.")
    with lake.session() as session:
        session.stage_rows("old_rows", pl.DataFrame({"id": ["a1", "b1", "n1"], "firm": ["a", "b", None]}))
        session.commit([Replace("t.parts", "old_rows", Whole())])
        session.stage_rows("of_a", pl.DataFrame({"id": ["a2"], "firm": ["a"]}))
        session.stage_rows("of_b", pl.DataFrame({"id": ["b2"], "firm": ["b"]}))
        changes = [Replace("t.parts", f"of_{firm}", Equal((("firm", firm),))) for firm in ("a", "b")]
        (found,) = audit_changes(session, changes, [check])
        assert found.first["id"].to_list() == ["a2", "b2", "n1"]
        (alone,) = audit_changes(session, changes[:1], [check])
        assert alone.first["id"].to_list() == ["a2", "b1", "n1"]


@pytest.mark.parametrize(
    "query",
    [
        "select x.id from t.events as x",
        "select events.id from t.events",
        "select t.events.id from t.events",
        "with e as (select * from t.events) select id from e",
        "select a.id from t.others as a left join t.events as b on a.id = b.id where b.id is not null",
        "select id from t.others where id in (select id from t.events) union all select id from t.events",
    ],
)
def test_every_way_to_name_a_table_is_laid_over(query: str) -> None:
    new = sqlglot.parse_one("select 7 as id", read="duckdb")
    assert isinstance(new, exp.Query)
    tree = sqlglot.parse_one(query, read="duckdb")
    assert isinstance(tree, exp.Query)
    done = overlaid(tree, {"t.events": new, "t.others": new}, {})
    assert set(duckdb.sql(done.sql("duckdb")).fetchall()) == {(7,)}


def test_an_older_state_that_a_check_names_is_not_laid_over() -> None:
    new = sqlglot.parse_one("select 7 as id", read="duckdb")
    tree = sqlglot.parse_one("select id from t.events at (version => 3)", read="duckdb")
    assert isinstance(new, exp.Query)
    assert isinstance(tree, exp.Query)
    assert overlaid(tree, {"t.events": new}, {}).sql("duckdb") == tree.sql("duckdb")
