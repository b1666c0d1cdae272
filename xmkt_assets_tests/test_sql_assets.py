"""SQL models run as assets on a lake: write, audit, publish; ranges of days; what the user sees."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from xmkt_assets.partitions import DAYS, range_tags
from xmkt_assets.resources import Warehouse
from xmkt_assets.sql_assets import LONG_RANGE_DAYS, Audit, Catalogue, audit, sql_asset, sql_check, stage
from xmkt_assets.sql_models import SqlCheck, SqlModel
from xmkt_assets_tests.platform_helper import FIRST_DAY, QUIET, checks, failures, metadata

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
    order_id, -- Id of the order
    status, -- How it stands @accepted(paid, refunded)
    paid_fen, -- Price @not_null
    cast(ordered_at as date) as ordered_on -- Day (UTC)
from raw.orders
where ordered_at >= $start and ordered_at < $end
"""
SPENT = """\
-- grain: as_of_on, status
-- partition: as_of_on
-- One row per status as of a day.
select
    cast($start as date) as as_of_on, -- Day
    status, -- Status
    cast(sum(paid_fen) as bigint) as paid_fen -- Everything paid so far
from staging.orders
where ordered_on < $end
group by status
"""
NEWEST = """\
-- grain: status
-- One row per status: everything ever paid.
select
    status, -- Status
    cast(sum(paid_fen) as bigint) as paid_fen -- Everything paid
from staging.orders
group by status
"""
ROWS = (
    ("o1", DAY, "paid", 100),
    ("o2", DAY, "refunded", 50),
    ("o3", NEXT, "paid", 30),
    ("o4", THIRD, "paid", 7),
)


class Lake:
    """Hand-written models over ``raw.orders``, each an asset on one lake."""

    def __init__(self, home: Path) -> None:
        self.warehouse = Warehouse(home=str(home), threads=1)
        self.instance = dg.DagsterInstance.ephemeral()
        self.empty: Mapping[str, Any] = {}
        self.give(ROWS)

    def give(self, rows: tuple[tuple[str, date, str | None, int | None], ...], *, hour: int = 9) -> None:
        """Replace ``raw.orders``."""
        schema = {"order_id": pl.String, "ordered_at": pl.Datetime("us"), "status": pl.String, "paid_fen": pl.Int64}
        moments = [(i, datetime(d.year, d.month, d.day, hour), s, f) for i, d, s, f in rows]
        self.warehouse.replace("raw.orders", pl.DataFrame(moments, schema=schema, orient="row"))

    def asset(self, table: str, sql: str) -> dg.AssetsDefinition:
        schema, name = table.split(".")
        partitions = dict.fromkeys(("raw.orders", "staging.orders", "segments.spent"), DAYS)
        columns = {"raw.orders": ("order_id", "ordered_at", "status", "paid_fen")}
        catalogue = Catalogue(partitions, frozenset({"segments.spent"}), columns, self.empty)
        return sql_asset(SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", sql), catalogue)

    def run(
        self,
        models: Mapping[str, str],
        *,
        day: date | None = None,
        until: date | None = None,
        others: tuple[Any, ...] = (),
    ) -> dg.ExecuteInProcessResult:
        """Run models on one day, on a range of days in one run, or (without days) as whole tables."""
        assets = [self.asset(table, sql) for table, sql in models.items()]
        return dg.materialize(
            [*assets, *others],
            partition_key=day.isoformat() if day and until is None else None,
            tags=range_tags(day, until) if day and until else None,
            resources={"warehouse": self.warehouse},
            instance=self.instance,
            run_config=QUIET,
            raise_on_error=False,
        )

    def broken(self, table: str, sql: str, *, day: date, until: date | None = None) -> dict[str, Audit]:
        """What an audit of a model's new rows finds, by promise, without a Dagster run around it."""
        schema, name = table.split(".")
        model = SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", sql)
        days = [day + timedelta(days=n) for n in range(((until or day) - day).days + 1)]
        with self.warehouse.session() as session:
            stage(session, model, days)
            return {a.check.name: a for a in audit(session, model, days) if a.broken}

    def rows(self, table: str, *, at: int | None = None) -> list[tuple[Any, ...]]:
        version = f"at (version => {at})" if at is not None else ""
        return self.warehouse.read(f"select * from {table} {version} order by all").rows()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    made = Lake(tmp_path_factory.mktemp("lake"))
    yield made
    made.instance.dispose()


@pytest.fixture
def lake(shared: Lake) -> Lake:
    """A lake that holds nothing but ``raw.orders``. Made once and cleared: attaching a new one takes a second."""
    with shared.warehouse.session() as session:
        for table in session.tables() - {"raw.orders"}:
            session.connection.execute(f"drop {'view' if table == VIEW_TABLE else 'table'} {table}")
    shared.empty = {}
    shared.give(ROWS)
    return shared


def only_failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    (said,) = failures(result)
    return said


# ── write, audit, publish ────────────────────────────────────────────────────────────────────────────────────────────


def test_new_rows_that_break_a_promise_fail_the_step_are_named_and_leave_the_old_rows(lake: Lake) -> None:
    assert lake.run({"staging.orders": ORDERS}, day=DAY).success
    old = lake.rows("staging.orders")
    lake.give((("o1", DAY, "paid", 999), ("o2", DAY, "lost", 50), ("o9", DAY, "paid", None)))
    result = lake.run({"staging.orders": ORDERS}, day=DAY)
    said = only_failure(result)
    assert "staging.orders: the new rows break 2 promise(s) and were not published; the old rows stand." in said
    assert "status is one of: paid, refunded. Broken by 1 rows, first [{'order_id': 'o2', 'status': 'lost'}]." in said
    assert "paid_fen is never empty. Broken by 1 rows, first [{'order_id': 'o9', 'paid_fen': None}]." in said
    assert said.endswith("Mend dbt_like_sql/staging/orders.sql or its inputs and run again.")
    assert lake.rows("staging.orders") == old
    assert checks(result, "staging.orders") == {
        "grain_is_unique": True,
        "required_columns_are_filled": False,
        "rows_lie_in_their_days": True,
        "values_are_accepted": False,
    }
    assert result.get_asset_materialization_events() == []


def test_the_broken_check_says_in_the_ui_how_many_rows_and_which(lake: Lake) -> None:
    lake.give(tuple((f"o{n}", DAY, "lost", 1) for n in range(7)))
    result = lake.run({"staging.orders": ORDERS}, day=DAY)
    (broken,) = [c for c in result.get_asset_check_evaluations() if not c.passed]
    assert broken.metadata["rows_breaking_it"].value == 7
    lines = broken.metadata["first_rows"].value.splitlines()
    assert lines[2:] == [f"| o{n} | lost |" for n in range(5)]
    assert broken.description == "status is one of: paid, refunded. Broken by 7 rows."


def test_one_check_for_all_required_columns_says_which_are_empty_where(lake: Lake) -> None:
    lake.give((("o1", DAY, None, 1), ("o2", DAY, "paid", None), ("o3", DAY, None, None)))
    marked = ORDERS.replace("@accepted(paid, refunded)", "@not_null")
    result = lake.run({"staging.orders": marked}, day=DAY)
    (broken,) = [c for c in result.get_asset_check_evaluations() if not c.passed]
    assert broken.check_name == "required_columns_are_filled"
    assert broken.description == "status is never empty. Broken by 2 rows. paid_fen is never empty. Broken by 2 rows."
    assert broken.metadata["by_column"].value.splitlines()[2:] == [
        "| order_id | 0 |",
        "| status | 2 |",
        "| paid_fen | 2 |",
    ]
    said = broken.metadata["first_rows"].value
    assert said.index("status is never empty.") < said.index("| o1 |  |") < said.index("paid_fen is never empty.")
    assert said.rstrip().endswith("| o3 |  |")


def test_all_promises_kept_are_recorded_as_passed_checks_and_block_what_follows_otherwise(lake: Lake) -> None:
    assert checks(lake.run({"staging.orders": ORDERS}, day=DAY), "staging.orders") == {
        "grain_is_unique": True,
        "required_columns_are_filled": True,
        "rows_lie_in_their_days": True,
        "values_are_accepted": True,
    }
    assert all(spec.blocking for spec in lake.asset("staging.orders", ORDERS).check_specs)
    lake.give((("o2", DAY, "lost", 50),))
    result = lake.run({"staging.orders": ORDERS, "segments.spent": SPENT}, day=DAY)
    assert len(failures(result)) == 1
    assert "segments.spent" not in lake.warehouse.lake.tables()


def test_an_id_twice_in_a_day_breaks_the_grain(lake: Lake) -> None:
    lake.give((("o1", DAY, "paid", 1), ("o1", DAY, "paid", 2)))
    found = lake.broken("staging.orders", ORDERS, day=DAY)
    assert {name: (a.broken, a.sample.to_dicts()) for name, a in found.items()} == {
        "grain_is_unique": (1, [{"order_id": "o1", "times": 2, "first_on": DAY, "last_on": DAY}])
    }


def test_an_id_that_another_day_has_already_breaks_the_grain_and_both_days_are_named(lake: Lake) -> None:
    assert lake.run({"staging.orders": ORDERS}, day=DAY).success
    lake.give((("o1", NEXT, "paid", 1), ("o5", NEXT, "paid", 2)))
    said = only_failure(lake.run({"staging.orders": ORDERS}, day=NEXT))
    assert "One row per (order_id). Broken by 1 rows, first [{'order_id': 'o1', 'times': 2, " in said
    assert f"'first_on': '{DAY}', 'last_on': '{NEXT}'" in said
    assert {row[0] for row in lake.rows("staging.orders")} == {"o1", "o2"}


def test_the_rows_a_run_replaces_do_not_stand_in_its_way(lake: Lake) -> None:
    assert lake.run({"staging.orders": ORDERS}, day=DAY, until=THIRD).success
    assert lake.broken("staging.orders", ORDERS, day=NEXT) == {}
    assert lake.broken("staging.orders", ORDERS, day=DAY, until=THIRD) == {}


@pytest.mark.parametrize("moved", ["ordered_at + interval 1 day", "ordered_at - interval 1 day", "null"])
def test_a_row_outside_the_day_asked_for_or_without_a_day_is_refused(moved: str, lake: Lake) -> None:
    """Such a row would be written again by every run, and removed by none."""
    astray = ORDERS.replace("cast(ordered_at as date)", f"cast({moved} as date)")
    found = lake.broken("staging.orders", astray, day=DAY)
    assert {name: a.broken for name, a in found.items()} == {"ordered_on_is_in_range": 2}


def test_a_reference_is_checked_against_the_table_it_names_and_nulls_refer_to_nothing(lake: Lake) -> None:
    lake.warehouse.replace("staging.known", pl.DataFrame({"status": ["paid", None]}))
    lake.give((("o1", DAY, "paid", 1), ("o2", DAY, "refunded", 1), ("o3", DAY, None, 1)))
    referring = ORDERS.replace("@accepted(paid, refunded)", "@references(staging.known.status)")
    found = lake.broken("staging.orders", referring, day=DAY)
    assert {name: a.sample.to_dicts() for name, a in found.items()} == {
        "status_references": [{"order_id": "o2", "status": "refunded"}]
    }


def test_unique_in_a_snapshot_is_asked_within_each_day(lake: Lake) -> None:
    lake.warehouse.replace(
        "staging.orders", pl.DataFrame({"status": ["a", "b"], "paid_fen": [1, 2], "ordered_on": DAY})
    )
    marked = SPENT.replace("    status, -- Status", "    status, -- Status @unique")
    assert lake.broken("segments.spent", marked, day=DAY, until=THIRD) == {}
    doubled = marked.replace("where ordered_on", "cross join (values (1), (2)) as t(n) where ordered_on")
    found = lake.broken("segments.spent", doubled.replace("by status", "by status, n"), day=DAY, until=NEXT)
    assert found["status_unique"].broken == 4


def test_a_reference_makes_the_table_it_names_an_upstream_so_that_it_is_built_first(lake: Lake) -> None:
    referring = ORDERS.replace("-- Id of the order", "-- Id of the order @references(staging.z_known.order_id)")
    known = "-- grain: order_id\n-- One row per order.\nselect\n    distinct order_id -- Id\nfrom raw.orders\n"
    assert lake.run({"staging.orders": referring, "staging.z_known": known}, day=DAY).success


# ── days and ranges ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_range_in_one_run_gives_the_rows_of_its_days_run_one_by_one(lake: Lake) -> None:
    for day in (DAY, NEXT, THIRD):
        assert lake.run({"staging.orders": ORDERS, "segments.spent": SPENT}, day=day).success
    one_by_one = lake.rows("staging.orders"), lake.rows("segments.spent")
    with lake.warehouse.session() as session:
        session.connection.execute("drop table staging.orders; drop table segments.spent")
    assert lake.run({"staging.orders": ORDERS}, day=DAY, until=THIRD).success
    assert lake.run({"segments.spent": SPENT}, day=DAY, until=THIRD).success
    assert (lake.rows("staging.orders"), lake.rows("segments.spent")) == one_by_one
    assert lake.rows("segments.spent") == [
        (DAY, "paid", 100),
        (DAY, "refunded", 50),
        (NEXT, "paid", 130),
        (NEXT, "refunded", 50),
        (THIRD, "paid", 137),
        (THIRD, "refunded", 50),
    ]


def test_a_day_is_rebuilt_without_touching_the_others(lake: Lake) -> None:
    lake.run({"staging.orders": ORDERS}, day=DAY, until=THIRD)
    lake.give((("o8", NEXT, "refunded", 1),))
    assert lake.run({"staging.orders": ORDERS}, day=NEXT).success
    assert [row[0] for row in lake.rows("staging.orders")] == ["o1", "o2", "o4", "o8"]


def test_the_last_microsecond_of_a_day_belongs_to_it_and_midnight_to_the_next(lake: Lake) -> None:
    midnight = datetime(NEXT.year, NEXT.month, NEXT.day)
    rows = pl.DataFrame(
        {
            "order_id": ["last", "first"],
            "ordered_at": [midnight - timedelta(microseconds=1), midnight],
            "status": "paid",
            "paid_fen": 1,
        }
    )
    lake.warehouse.replace("raw.orders", rows)
    lake.run({"staging.orders": ORDERS}, day=DAY)
    assert [(row[0], row[3]) for row in lake.rows("staging.orders")] == [("last", DAY)]


def test_each_day_of_a_range_shows_its_own_row_count_also_none(lake: Lake) -> None:
    lake.give((("o1", DAY, "paid", 1), ("o2", DAY, "paid", 1), ("o3", THIRD, "paid", 1)))
    result = lake.run({"staging.orders": ORDERS}, day=DAY, until=THIRD)
    made = [e.materialization for e in result.get_asset_materialization_events()]
    counts = {m.partition: m.metadata["dagster/partition_row_count"].value for m in made}
    assert counts == {DAY.isoformat(): 2, NEXT.isoformat(): 0, THIRD.isoformat(): 1}
    assert not any("dagster/row_count" in m.metadata for m in made), "the sum would be plotted on every day"


def test_a_range_shows_a_sample_once_and_that_of_its_last_day(lake: Lake) -> None:
    result = lake.run({"staging.orders": ORDERS}, day=DAY, until=THIRD)
    made = [e.materialization for e in result.get_asset_materialization_events()]
    shown = {m.partition: m.metadata["sample"].value for m in made if "sample" in m.metadata}
    assert list(shown) == [THIRD.isoformat()]
    assert "| o4 | paid | 7 | 2026-07-03 |".replace("2026-07-03", THIRD.isoformat()) in shown[THIRD.isoformat()]
    assert "o1" not in shown[THIRD.isoformat()]


def test_a_long_range_carries_figures_only_and_still_each_day_its_own_count(lake: Lake) -> None:
    last = DAY + timedelta(days=LONG_RANGE_DAYS)
    result = lake.run({"staging.orders": ORDERS}, day=DAY, until=last)
    made = {e.materialization.partition: e.materialization.metadata for e in result.get_asset_materialization_events()}
    assert len(made) == LONG_RANGE_DAYS + 1
    assert {day: m["dagster/partition_row_count"].value for day, m in made.items() if day <= str(THIRD)} == {
        DAY.isoformat(): 2,
        NEXT.isoformat(): 1,
        THIRD.isoformat(): 1,
    }
    assert not any("columns_come_from" in m for m in made.values())


def test_event_tables_take_a_backfill_in_one_run_and_snapshots_day_by_day(lake: Lake) -> None:
    assert lake.asset("staging.orders", ORDERS).backfill_policy == dg.BackfillPolicy.single_run()
    assert lake.asset("segments.spent", SPENT).backfill_policy is None
    assert lake.asset("segments.newest", NEWEST).backfill_policy is None


TRAILING = ORDERS.replace("ordered_at >= $start", "ordered_at >= $start - interval 27 days")


def upstream_days(lake: Lake, table: str, sql: str, *, upstream: str, day: date) -> list[str]:
    """The days of an upstream table that the graph says one day of `table` reads."""
    given = dg.AssetSpec(upstream.split("."), partitions_def=DAYS)
    graph = dg.Definitions([lake.asset(table, sql), given], resources={"warehouse": lake.warehouse})
    key = dg.AssetKey(table.split("."))
    mapping = graph.resolve_asset_graph().get_partition_mapping(key, dg.AssetKey(upstream.split(".")))
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        DAYS.subset_with_partition_keys([day.isoformat()]), DAYS, DAYS
    )
    return sorted(found.partitions_subset.get_partition_keys())


def test_a_trailing_window_makes_a_day_depend_on_all_its_days_and_on_no_day_before_the_first(lake: Lake) -> None:
    late = DAY + timedelta(days=40)
    days = upstream_days(lake, "staging.recent", TRAILING, upstream="raw.orders", day=late)
    assert days == [(late - timedelta(days=n)).isoformat() for n in reversed(range(28))]
    assert upstream_days(lake, "staging.recent", TRAILING, upstream="raw.orders", day=NEXT) == [str(DAY), str(NEXT)]
    ahead = TRAILING.replace("ordered_at < $end", "ordered_at < $end + interval 2 days")
    days = upstream_days(lake, "staging.recent", ahead, upstream="raw.orders", day=late)
    assert (len(days), days[-1]) == (30, (late + timedelta(days=2)).isoformat())
    same_day = TRAILING.replace("-- One row", "-- mapping: same day\n-- One row")
    assert upstream_days(lake, "staging.recent", same_day, upstream="raw.orders", day=late) == [late.isoformat()]


def test_a_day_with_a_trailing_window_reads_the_days_before_it_and_writes_its_own(lake: Lake) -> None:
    recent = """\
-- grain: ordered_on
-- partition: ordered_on
-- One row per day: what was paid in two days.
select
    cast($start as date) as ordered_on, -- Day
    cast(sum(paid_fen) as bigint) as paid_fen -- Paid on the day and the day before
from raw.orders
where ordered_at >= $start - interval 1 day and ordered_at < $end
"""
    for day in (DAY, NEXT, THIRD):
        assert lake.run({"staging.recent": recent}, day=day).success
    assert lake.rows("staging.recent") == [(DAY, 150), (NEXT, 180), (THIRD, 37)]


@pytest.mark.parametrize(
    ("table", "sql", "upstream", "wanted"),
    [
        ("staging.orders", ORDERS, "raw.orders", [THIRD]),
        ("segments.spent", SPENT, "staging.orders", [DAY, NEXT, THIRD]),
        ("segments.again", SPENT.replace("staging.orders", "segments.spent"), "segments.spent", [THIRD]),
    ],
)
def test_what_a_day_reads_of_its_upstream(table: str, sql: str, upstream: str, wanted: list[date], lake: Lake) -> None:
    """An event day reads its day, a snapshot all days of events up to its own and the same day of a snapshot."""
    assert upstream_days(lake, table, sql, upstream=upstream, day=THIRD) == [day.isoformat() for day in wanted]


# ── what the user sees ───────────────────────────────────────────────────────────────────────────────────────────────


def test_columns_are_shown_with_type_meaning_and_origin(lake: Lake) -> None:
    (shown,) = metadata(lake.run({"staging.orders": ORDERS}, day=DAY), "staging.orders")
    columns = {c.name: (c.type, c.description) for c in shown["dagster/column_schema"].columns}
    assert columns["ordered_on"] == ("DATE", "Day (UTC)")
    assert columns["paid_fen"] == ("BIGINT", "Price")
    lineage = shown["dagster/column_lineage"].deps_by_column
    assert lineage["ordered_on"] == [dg.TableColumnDep(dg.AssetKey(["raw", "orders"]), "ordered_at")]
    assert "| ordered_on | raw.orders.ordered_at |" in shown["columns_come_from"]
    assert shown["dagster/table_name"] == "staging.orders"


def test_a_table_shows_a_sample_and_the_statement_that_reads_its_rows_again(lake: Lake) -> None:
    (shown,) = metadata(lake.run({"staging.orders": ORDERS}, day=DAY), "staging.orders")
    assert shown["sample"].splitlines()[0] == "| order_id | status | paid_fen | ordered_on |"
    assert f"| o2 | refunded | 50 | {DAY} |" in shown["sample"].splitlines()
    lake.give(())
    lake.run({"staging.orders": ORDERS}, day=DAY)
    assert lake.rows("staging.orders") == []
    assert len(lake.warehouse.read(shown["read_again"].strip("`"))) == 2


def test_of_a_table_about_people_the_sample_leaves_out_who_they_are(lake: Lake) -> None:
    personal = ORDERS.replace("    order_id, -- Id of the order", "    order_id, -- Id\n    'k7' as user_id, -- Who")
    (shown,) = metadata(lake.run({"staging.orders": personal}, day=DAY), "staging.orders")
    assert shown["sample"].splitlines()[0] == "| status | paid_fen | ordered_on |"
    assert "k7" not in str(shown["sample"])


def test_table_and_columns_carry_their_meaning_in_the_lake(lake: Lake) -> None:
    lake.run({"staging.orders": ORDERS}, day=DAY)
    with lake.warehouse.session() as session:
        tables = session.read(
            "select comment from duckdb_tables() where table_name = 'orders' and schema_name = 'staging'"
        )
        columns = session.read(
            "select column_name, comment from duckdb_columns() where table_name = 'orders' and schema_name = 'staging'"
        )
    assert tables["comment"].to_list() == ["One row per order."]
    assert dict(columns.iter_rows())["paid_fen"] == "Price"


def test_the_snapshots_read_and_written_can_be_read_again(lake: Lake) -> None:
    (first,) = metadata(lake.run({"segments.newest": NEWEST, "staging.orders": ORDERS}, day=DAY), "segments.newest")
    lake.give((("o1", DAY, "paid", 1),))
    (second,) = metadata(lake.run({"segments.newest": NEWEST, "staging.orders": ORDERS}, day=DAY), "segments.newest")
    assert first["snapshot_read"] < first["snapshot_written"] < second["snapshot_read"] < second["snapshot_written"]
    assert lake.rows("segments.newest") == [("paid", 1)]
    assert lake.rows("segments.newest", at=first["snapshot_written"]) == [("paid", 100), ("refunded", 50)]
    assert len(lake.rows("staging.orders", at=first["snapshot_read"])) == 2


def test_the_asset_shows_description_sql_file_grain_and_code_version(lake: Lake) -> None:
    asset = lake.asset("staging.orders", ORDERS)
    (spec,) = asset.specs
    assert spec.description == "One row per order."
    assert spec.metadata["sql"].value == f"```sql\n{ORDERS}\n```"
    assert (spec.metadata["file"], spec.metadata["grain"]) == ("dbt_like_sql/staging/orders.sql", "order_id")
    assert spec.code_version == SqlModel("staging", "orders", "", ORDERS).code_version
    assert (spec.group_name, spec.owners) == ("staging", ["team:data-engineering"])


# ── tables that are not there ────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_upstream_is_named_with_the_remedy(lake: Lake) -> None:
    said = only_failure(lake.run({"segments.newest": NEWEST}))
    assert "dbt_like_sql/segments/newest.sql cannot run: Catalog Error: Table with name" in said
    assert said.endswith("Materialise the tables it reads first (staging.orders), or correct the name.")


def test_a_missing_table_of_a_reference_is_named_with_the_remedy(lake: Lake) -> None:
    referring = ORDERS.replace("-- Id of the order", "-- Id @references(staging.known.order_id)")
    said = only_failure(lake.run({"staging.orders": referring}, day=DAY))
    assert "Materialise the tables it reads first (raw.orders, staging.known)" in said


def test_a_misspelt_column_is_named_with_the_file(lake: Lake) -> None:
    misspelt = ORDERS.replace("paid_fen, --", "payd_fen as paid_fen, --")
    said = only_failure(lake.run({"staging.orders": misspelt}, day=DAY))
    assert "dbt_like_sql/staging/orders.sql cannot run: Binder Error" in said
    assert "payd_fen" in said


LISTED = NEWEST.replace("staging.orders", "campaigns.lists").replace("paid_fen) as", "fen) as")
MAY_BE_EMPTY = {"campaigns.lists": {"status": pl.String(), "fen": pl.Int64()}}


def test_a_table_declared_to_be_empty_at_first_is_made_so(lake: Lake) -> None:
    lake.empty = MAY_BE_EMPTY
    assert lake.run({"segments.newest": LISTED}).success
    assert lake.rows("segments.newest") == lake.rows("campaigns.lists") == []


def test_a_declared_table_that_holds_rows_keeps_them(lake: Lake) -> None:
    lake.empty = MAY_BE_EMPTY
    lake.warehouse.replace("campaigns.lists", pl.DataFrame({"status": ["paid"], "fen": [5]}))
    assert lake.run({"segments.newest": LISTED}).success
    assert lake.rows("segments.newest") == lake.rows("campaigns.lists") == [("paid", 5)]


def test_a_declared_table_that_another_run_makes_in_the_meantime_keeps_its_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run commits between this run's look at the tables and its own commit."""
    from xmkt_assets.warehouse import Session

    lake.empty = MAY_BE_EMPTY
    stage_rows = Session.stage_rows

    def late(session: Session, name: str, rows: pl.DataFrame) -> None:
        stage_rows(session, name, rows)
        if name == "no_rows_0":
            lake.warehouse.replace("campaigns.lists", pl.DataFrame({"status": ["paid"], "fen": [5]}))

    monkeypatch.setattr(Session, "stage_rows", late)
    assert lake.run({"segments.newest": LISTED}).success
    assert lake.rows("campaigns.lists") == [("paid", 5)]


# ── views and queries that must return no row ────────────────────────────────────────────────────────────────────────


VIEW_TABLE = "segments.seen"
VIEW = f"-- kind: view\n{NEWEST.replace('staging.orders', 'raw.orders')}"


def test_a_view_follows_its_tables_without_another_run(lake: Lake) -> None:
    result = lake.run({VIEW_TABLE: VIEW})
    assert result.success, failures(result)
    assert lake.rows(VIEW_TABLE) == [("paid", 137), ("refunded", 50)]
    lake.give((("o1", DAY, "paid", 1),))
    assert lake.rows(VIEW_TABLE) == [("paid", 1)]
    assert checks(result, VIEW_TABLE) == {"grain_is_unique": True, "required_columns_are_filled": True}


def test_the_promises_of_a_view_are_checked_before_it_is_made(lake: Lake) -> None:
    lake.give((("o1", DAY, None, 1),))
    assert "status is never empty." in only_failure(lake.run({VIEW_TABLE: VIEW}))
    assert VIEW_TABLE not in lake.warehouse.lake.tables()


def zero_rows(severity: str) -> dg.AssetChecksDefinition:
    query = "select order_id from staging.orders where paid_fen > 40"
    return sql_check(SqlCheck("cheap", "dbt_like_sql/checks/cheap.sql", query, "staging.orders", severity, "Cheap."))  # type: ignore[arg-type]


def test_a_query_that_returns_rows_fails_its_check_and_shows_how_many(lake: Lake) -> None:
    result = lake.run({"staging.orders": ORDERS}, day=DAY, others=(zero_rows("warn"),))
    (found,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "cheap"]
    assert (found.passed, found.severity.value) == (False, "WARN")
    assert found.metadata["offending_rows"].value == 2
    assert result.success


def test_a_query_of_severity_error_blocks_what_comes_after_its_table(lake: Lake) -> None:
    models = {"staging.orders": ORDERS, "segments.spent": SPENT}
    result = lake.run(models, day=DAY, others=(zero_rows("error"),))
    assert not result.success
    assert "segments.spent" not in lake.warehouse.lake.tables()


def test_a_query_waits_for_every_table_it_reads(lake: Lake) -> None:
    """It speaks of one table and reads two: in one run both must be there first."""
    query = "select o.order_id from staging.orders as o inner join segments.newest as n on n.status = 'lost'"
    check = sql_check(SqlCheck("both", "dbt_like_sql/checks/both.sql", query, "staging.orders", "warn", "Both."))
    result = lake.run({"staging.orders": ORDERS, "segments.newest": NEWEST}, day=DAY, others=(check,))
    assert result.success, failures(result)
    assert checks(result, "staging.orders")["both"]
