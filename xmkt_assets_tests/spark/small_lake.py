"""The tables on which every model is compared: simulated feeds made rough, what Python assets make by hand, and what
the models made of them in DuckDB.

Rough: in every feed some optional values are missing, some events lie on the first and last instant of a window, some
rows come again later, changed or as they were. What the rows then mean is nobody's concern here, only that two engines
make the same of them.
"""

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from xmkt_assets import identity_terms, notices, simulate
from xmkt_assets.agreement import read_agreement
from xmkt_assets.contracts import Contract, contracts
from xmkt_assets.sql_models import SqlModel, load_models

FOLDER: Final = Path(__file__).parent.parent.parent / "dbt_like_sql"
FIRST_DAY: Final = date(2026, 6, 1)
DAYS: Final = 110
AS_OF: Final = FIRST_DAY + timedelta(days=100)
LAUNCH: Final = AS_OF - timedelta(days=40)
SNAPSHOTS: Final = (LAUNCH - timedelta(days=1), AS_OF - timedelta(days=1), AS_OF)
EPOCH: Final = datetime(2000, 1, 1)
PEOPLE: Final = 250


class Bounds(NamedTuple):
    """The days of one run: `start` to before `end`."""

    start: datetime
    end: datetime

    def parameters_of(self, model: SqlModel) -> dict[str, datetime]:
        return {name: value for name, value in self._asdict().items() if name in model.parameters}


def spans(model: SqlModel) -> tuple[Bounds, ...]:
    """The days that are compared: one, and of events all as well, because a single day has few."""
    day = _day(AS_OF)
    is_of_events = model.kind == "partition" and not model.is_snapshot
    return (day, Bounds(EPOCH, day.end)) if is_of_events else (day,)


def _day(on: date) -> Bounds:
    start = datetime.combine(on, time())
    return Bounds(start, start + timedelta(days=1))


def read_models() -> dict[str, SqlModel]:
    return load_models(FOLDER)


def small_lake() -> duckdb.DuckDBPyConnection:
    """A DuckDB with every table that a model reads, and the tables of the models themselves."""
    con = duckdb.connect(config={"threads": "1"})
    con.execute("set TimeZone = 'UTC'")
    models = read_models()
    for schema in sorted({t.split(".")[0] for m in models.values() for t in (m.table, *m.reads)}):
        con.execute(f"create schema {schema}")
    _create_feeds(con)
    _create_terms(con)
    for model in _of_python_last(models):
        for table in sorted((model.reads & MADE_BY_HAND.keys()) - set(tables(con))):
            con.execute(f"create table {table} as {MADE_BY_HAND[table]}")
        _create(con, model)
    return con


def _of_python_last(models: dict[str, SqlModel]) -> list[SqlModel]:
    """Upstream first, and what reads Python's tables after all others: those are made of staging.people."""
    late: set[str] = set()
    for table, model in models.items():
        if model.reads & (MADE_BY_HAND.keys() | late):
            late.add(table)
    return sorted(models.values(), key=lambda model: model.table in late)


def tables(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Table -> column -> type."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in con.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() "
        "where not internal order by 1, column_index"
    ).fetchall():
        found.setdefault(table, {})[column] = kind
    return found


def _create(con: duckdb.DuckDBPyConnection, model: SqlModel) -> None:
    runs = [_day(on) for on in SNAPSHOTS] if model.is_snapshot else [spans(model)[-1]]
    for index, run in enumerate(runs):
        how = f"insert into {model.table} by name" if index else f"create table {model.table} as"
        con.execute(f"{how} {model.sql}", run.parameters_of(model))


def _create_feeds(con: duckdb.DuckDBPyConnection) -> None:
    world = simulate.build_world(people=PEOPLE, days=DAYS, start_on=FIRST_DAY)
    for contract in contracts().values():
        columns = ", ".join(f"{c.name} {c.duckdb_type}" for c in contract.columns)
        con.execute(f"create table raw.{contract.feed} (partner varchar, dt date, {columns})")
    for (partner, feed), rows in world.organic.items():
        shown = [c for c in contracts()[feed].column_names if c in rows.columns]
        con.register("given", rows.select("day", *shown))
        con.execute(
            f"insert into raw.{feed} by name select '{partner}' as partner, "
            f"date '{FIRST_DAY}' + cast(day as integer) as dt, * exclude (day) from given"
        )
        con.unregister("given")
    con.execute(f"insert into raw.product_eligibility by name {_ELIGIBILITY}")
    con.execute(f"insert into raw.campaign_events by name {_CAMPAIGN_EVENTS}")
    con.execute("update raw.courses set topics = topics || '|茶|园艺' where price_fen % 3 = 0")  # thirds are not exact
    for contract in contracts().values():
        _roughen(con, contract)


def _roughen(con: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    moment = contract.event_time or contract.version_by
    assert moment, f"{contract.feed} has no time"
    missing = ", ".join(
        [
            "k as k",
            *(
                f"case when (k + {7 * place}) % 11 <> 0 then {c.name} end as {c.name}"
                for place, c in enumerate(contract.columns)
                if not c.is_required
            ),
        ]
    )
    start = f"timestamp '{AS_OF} 00:00:00'"
    instants = (
        start,
        f"{start} + interval 1 day",
        f"{start} + interval 1 day - interval 1 microsecond",
        f"{start} - interval 29 day",
        f"{start} - interval 29 day - interval 1 microsecond",
        f"{start} - interval 59 day",
        f"timestamp '{LAUNCH} 00:00:00'",
    )
    placed = " ".join(f"when {place} then {instant}" for place, instant in enumerate(instants))
    con.execute(f"""
        create or replace table raw.{contract.feed} as
        with counted as (
            select *, row_number() over (order by {", ".join(contract.key)}, dt) as k from raw.{contract.feed}
        ),
        missing as (select * replace ({missing}) from counted),
        placed as (select * replace (case k % 41 {placed} else {moment} end as {moment}) from missing)
        select * exclude (k) from placed
        union all by name  -- delivered again, as it was
        select * exclude (k) replace (dt + 1 as dt) from placed where k % 13 = 0
        union all by name  -- delivered again, changed
        select * exclude (k) replace (dt + 2 as dt, {moment} + interval 1 hour as {moment})
        from placed where k % 17 = 0
        union all by name  -- delivered again, as of another day
        select * exclude (k) replace (dt + 1 as dt, {moment} - interval 25 hour as {moment})
        from placed where k % 19 = 0
    """)


def _create_terms(con: duckdb.DuckDBPyConnection) -> None:
    agreement = read_agreement()
    for table, rows in (
        (identity_terms.KEYS_TABLE, identity_terms.hash_key_rows(agreement)),
        (identity_terms.RULES_TABLE, identity_terms.identifier_rule_rows(agreement)),
        (notices.TABLE, notices.notice_rows(agreement.notices)),
    ):
        con.register("given", rows)
        con.execute(f"create table {table} as select * from given")
        con.unregister("given")
    con.execute(f"update staging.hash_keys set retired_on = date '{AS_OF}' - 20 where position = 1")


_ELIGIBILITY: Final = f"""
    select 'insurer' as partner, date '{AS_OF}' - 3 as dt, 'o' || (k % 9) as order_id, product_id, customer_id,
        timestamp '{AS_OF} 10:00:00' - to_hours(cast(k as integer)) as checked_at
    from (select *, row_number() over (order by customer_id) as k from raw.customers) as c
    inner join (select *, row_number() over (order by product_id) as n from raw.products) as p on n = k % 5 + 1
"""
_CAMPAIGN_EVENTS: Final = f"""
    with people as (
        select 'course_platform' as partner, user_id as subject_id, row_number() over (order by user_id) as k
        from raw.users
        union all
        select 'insurer', customer_id, row_number() over (order by customer_id) from raw.customers
    ),
    kinds as (
        from (values ('assignment', 0), ('exposure', 1), ('click', 2), ('visit', 3), ('conversion', 5)) as e(event, n)
    )
    select partner, date '{LAUNCH}' + 1 as dt, partner || k || event as event_id,
        case when k % 2 = 0 then 'autumn' else 'imported_mail' end as campaign_id, subject_id, event,
        case when event = 'assignment' and k % 7 <> 0 then case k % 3 when 0 then 'control' else 'treatment' end end
            as arm,
        case when event = 'assignment' and k % 3 = 0 then 1.0 / 3 end as assignment_share,
        case when k % 4 = 0 then 'sms' else 'email' end as channel,
        case when event = 'conversion' then 'c0001' end as item_id,
        timestamp '{LAUNCH} 00:00:00' + to_hours(cast(k % 200 * n as integer)) as occurred_at,
        case when event = 'conversion' then 100 * k end as amount_fen,
        case when k % 5 = 0 then 'USD' end as currency,
        k / 1000.0 as score,
        case when event = 'assignment' then '{{"recency": ' || k || '}}' end as covariates
    from people cross join kinds
    where n = 0 or k % n = 0
"""
# What Python assets make: of the same people, in the same columns.
MADE_BY_HAND: Final = {
    "campaigns.campaign_list": f"""
        select 'autumn' as campaign_id, p.person_id, case when k % 4 = 0 then 'control' else 'treatment' end as arm,
            'c0001' as course_id, 'p01' as product_id, 'email' as channel, 0.75::double as treatment_share,
            case when k % 4 = 0 then 0.25::double else 0.75 end as assignment_share, 'x' as consent_id,
            k / 7.0 as score, 'because' as reason, null::varchar as user_id, null::varchar as customer_id,
            date '{LAUNCH}' - 1 as as_of_on, date '{LAUNCH}' as launched_on, date '{LAUNCH}' + 30 as outcome_until_on,
            50 as contact_cost_fen, 0 as incentive_fen, 'm v1' as course_model_version, 'm v1' as product_model_version,
            'product_conversion_share' as goal_metric, 300000 as budget_fen
        from (select person_id, row_number() over (order by person_id) as k from staging.people) as p
        where k % 3 <> 0""",
    "segments.claim_risk": f"""
        select date '{AS_OF}' as as_of_on, person_id, case when k % 5 <> 0 then 1.0 / k end as claim_risk_share,
            case when k % 5 <> 0 then 'low' else 'unknown' end as claim_risk_band, 'glm' as model,
            'because' as why, case when k % 5 = 0 then 'no policy' end as reason, 1 as model_version
        from (select person_id, row_number() over (order by person_id) as k from staging.people)""",
    "segments.review_sentiment": f"""
        select date '{AS_OF}' as as_of_on, 'r' || k as review_id, person_id,
            case when k % 5 <> 0 then 1.0 / k end as sentiment_share,
            case when k % 5 = 0 then 'no text' end as reason, 1 as model_version
        from (select person_id, row_number() over (order by person_id) as k from staging.people)""",
    "segments.person_clusters": f"""
        select date '{AS_OF}' - cast(d as integer) as as_of_on, person_id,
            case when k % 9 <> 0 then k % 4 end as cluster,
            case (k + d) % 4 when 0 then 'dormant' when 1 then 'newcomer' else 'steady' end as value_label,
            case when k % 9 <> 0 then 'pays much' end as why,
            case when k % 9 = 0 then 'too new' end as reason, 1 as model_version
        from (select person_id, row_number() over (order by person_id) as k from staging.people)
        cross join (values (0), (7)) as e(d)
        where k % 11 <> d""",
}
for _target in ("lapse_risk", "course_purchase", "product_purchase"):
    MADE_BY_HAND[f"segments.{_target}"] = f"""
        select date '{AS_OF}' as as_of_on, person_id, case when k % 5 <> 0 then 1.0 / k end as {_target}_share,
            case when k % 5 <> 0 then 'low' else 'unknown' end as {_target}_band, 'cart' as model,
            case when k % 5 <> 0 then 'because' end as why, case when k % 5 = 0 then 'too few' end as reason,
            1 as model_version
        from (select person_id, row_number() over (order by person_id) as k from staging.people)
        where k % 4 <> 0"""
MADE_BY_HAND["segments.next_interest"] = f"""
    select date '{AS_OF}' as as_of_on, person_id, n as rank, '健康' as topic, 0.5::double / n as share, 'so' as why
    from (select person_id, row_number() over (order by person_id) as k from staging.people)
    cross join (values (1), (2)) as r(n)
    where k % 3 <> 0"""
for _target in ("claim_risk", "lapse_risk", "course_purchase", "product_purchase"):
    MADE_BY_HAND[f"segments.{_target}_comparison"] = f"""
        select date '{AS_OF}' as as_of_on, '{_target}' as target, 'cart' as candidate, metric, 0.7::double as value,
            0.6::double as low, 0.8::double as high, metric = 'auc' as is_chosen
        from (select unnest(['auc', 'brier', 'log_loss']) as metric)"""
for _target in ("course", "product"):
    MADE_BY_HAND[f"recommenders.{_target}_leaderboard"] = f"""
        select date '{AS_OF}' - cast(d as integer) as as_of_on, '{_target}' as target, model, metric, compared_with,
            n / 7.0 as value, case when n % 3 <> 0 then n / 8.0 end as ci_low, n / 6.0 as ci_high, n as cases,
            n as persons, 0.5 as fit_seconds, case when n = 5 then 'few cases' end as note, 'run' || n as run_id
        from (
            select *, row_number() over (order by model, metric, compared_with, d) as n
            from (values ('popularity'), ('item_knn')) as a(model)
            cross join (values ('hr@1'), ('ndcg@10')) as b(metric)
            cross join (values ('nothing'), ('popularity')) as c(compared_with)
            cross join (values (0), (1)) as e(d)
        )"""
