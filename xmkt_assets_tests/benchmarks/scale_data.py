"""Raw tables of any size, made by DuckDB itself: people, what they do each day, what they consent to. Generated data.

The same numbers give the same rows, whichever days are asked for: a short history is the end of the long one. Nothing
is meant to look like a firm (``simulate`` does that); sizes, ratios, repeats and late rows are what matters here.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final, NamedTuple

import duckdb

from xmkt_assets.agreement import read_agreement
from xmkt_assets.contracts import contracts
from xmkt_assets.identity_terms import KEYS_TABLE, RULES_TABLE, hash_key_rows, identifier_rule_rows
from xmkt_assets.notices import TABLE as NOTICES_TABLE
from xmkt_assets.notices import notice_rows

LAST_ON: Final = date(2026, 10, 31)
WORLD_DAYS: Final = 365
COURSES: Final = 5000
PRODUCTS: Final = 40
CUSTOMER_SHARE: Final = 0.3
# Of all events of a day, the share of each feed; the rest of the feeds have a rhythm of their own.
SHARES: Final[Mapping[str, float]] = {
    "course_views": 0.57,
    "product_views": 0.3,
    "course_orders": 0.05,
    "course_reviews": 0.02,
    "policies": 0.02,
    "product_eligibility": 0.02,
    "campaign_events": 0.015,
    "claims": 0.003,
    "contact_optouts": 0.002,
}
# Of 2000 events one has the id of the day before, one comes a day late, one repeats the id before it and comes late.
_NUMBERED: Final = """
    with numbered as (
        select
            g,
            case
                when g % 2000 = 7 and g // $rows > $first_day then g - $rows
                when g % 2000 = 1007 and g % $rows > 0 and g // $rows < $last_day then g - 1
                else g
            end as i,
            g // $rows as d,
            case when g % 2000 in (13, 1007) and g // $rows < $last_day then 1 else 0 end as late_days
        from range($from_row, $to_row) as r(g)
    ),
    timed as (
        select
            *,
            cast(date '{zero}' + cast(d as integer) + late_days as date) as dt,
            cast(date '{zero}' + cast(d as integer) as timestamp)
            + to_microseconds(cast((g % $rows) * (86399000000 // $rows) as bigint)) as happened_at
        from numbered
    )
"""


class World(NamedTuple):
    """How much there is: `events` behaviour events over the last days of a year, of `people`."""

    events: int
    people: int
    events_per_day: int

    @property
    def days(self) -> int:
        return min(max(1, round(self.events / self.events_per_day)), WORLD_DAYS - 1)

    @property
    def first_day(self) -> int:
        """Number of the first day in the year; the day after the history is number WORLD_DAYS - 1."""
        return WORLD_DAYS - 1 - self.days

    @property
    def first_on(self) -> date:
        return day_on(self.first_day)

    @property
    def last_on(self) -> date:
        """Last day of the history."""
        return day_on(WORLD_DAYS - 2)


class Rows(NamedTuple):
    """A query of raw rows and the values of its parameters."""

    sql: str
    values: Mapping[str, object]


def day_on(number: int) -> date:
    return LAST_ON - timedelta(days=WORLD_DAYS - 1 - number)


def feeds() -> tuple[str, ...]:
    return (*SHARES, "consents", "users", "customers", "identifiers", "courses", "products")


def write_history(
    connection: duckdb.DuckDBPyConnection, world: World, *, days_at_once: int, tell: Callable[[str], None]
) -> None:
    """Every raw table, `days_at_once` days a commit, and the tables of the agreement, into the database in use."""
    connection.execute("create schema if not exists raw")
    write_agreement(connection)
    for feed in feeds():
        for first, last in chunks(world.first_day, WORLD_DAYS - 2, days_at_once):
            append(connection, feed, rows_of(feed, world, first, last))
        tell(f"generated raw.{feed}")


def append(connection: duckdb.DuckDBPyConnection, feed: str, rows: Rows) -> None:
    if not connection.execute(
        "select 1 from duckdb_tables() where schema_name = 'raw' and table_name = $feed", {"feed": feed}
    ).fetchall():
        connection.execute(f"create table raw.{feed} as {rows.sql} limit 0", dict(rows.values))
    connection.execute(f"insert into raw.{feed} by name {rows.sql}", dict(rows.values))


def write_agreement(connection: duckdb.DuckDBPyConnection) -> None:
    agreement = read_agreement()
    connection.execute("create schema if not exists staging")
    for table, frame in (
        (KEYS_TABLE, hash_key_rows(agreement)),
        (RULES_TABLE, identifier_rule_rows(agreement)),
        (NOTICES_TABLE, notice_rows(agreement.notices)),
    ):
        connection.register("given_rows", frame)
        connection.execute(f"create or replace table {table} as select * from given_rows")
        connection.unregister("given_rows")


def chunks(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last day number of each stretch of at most `size` days."""
    return ((start, min(start + size - 1, last)) for start in range(first, last + 1, size))


def rows_of(feed: str, world: World, first: int, last: int) -> Rows:
    """The rows of one feed that happened on days `first` to `last`, as the raw table holds them."""
    if feed in SHARES:
        return _events(feed, world, first, last)
    query = _OTHERS[feed](world)
    return Rows(_as_raw(feed, query, "select * from told"), {"first": first, "last": last, "begin": world.first_day})


def _events(feed: str, world: World, first: int, last: int) -> Rows:
    rows = max(2, round(world.events_per_day * SHARES[feed]))
    values = {"rows": rows, "from_row": first * rows, "to_row": (last + 1) * rows}
    values |= {"first_day": world.first_day, "last_day": WORLD_DAYS - 2}
    query = (
        _NUMBERED.format(zero=day_on(0))
        + ", told as ("
        + _EVENTS[feed].format(
            user=_pick("i", world.people, 1),
            customer=_pick("i", _customers(world), 1),
            customers=_customers(world),
            people=world.people,
        )
    )
    return Rows(_as_raw(feed, query + ")", "select * from told"), values)


def _as_raw(feed: str, query: str, last: str) -> str:
    """`query` with the columns of the raw table in their order and their types."""
    contract = contracts()[feed]
    columns = ", ".join(f"cast({c.name} as {c.duckdb_type}) as {c.name}" for c in contract.columns)
    first = contract.partners[0]
    partner = "partner" if len(contract.partners) > 1 else f"'{first}' as partner"
    return (
        f"{query} select {partner}, dt, {columns}, '{first}/{feed}/dt=' || dt || '/{feed}.csv' as source_file, "
        f"cast(1 as bigint) as source_row, timestamp '2026-11-01 00:00:00' as loaded_at from ({last})"
    )


def _customers(world: World) -> int:
    return max(1, round(world.people * CUSTOMER_SHARE))


def _pick(number: str, of: int | str, salt: int) -> str:
    """One of `of` things by chance, small numbers far more often than large ones."""
    return f"cast(floor({of} * pow((hash({number}, {salt}) % 1000003) / 1000003.0, 2)) as bigint)"


def _product(number: str) -> str:
    return f"'ins' || lpad(cast({_pick(number, PRODUCTS, 2)} as varchar), 3, '0')"


_COURSE: Final = f"'c' || lpad(cast({_pick('i', COURSES, 2)} as varchar), 4, '0')"
_FIRST_OF_TEN: Final = "(case when i % 10 = 9 then i - 9 else i end)"
_DWELL: Final = "case when hash(i, 3) % 997 = 0 then 28800 else hash(i, 3) % 600 end"

_EVENTS: Final[Mapping[str, str]] = {
    "course_views": f"""
        select dt, 'cv_' || md5(cast(i as varchar))[:20] as view_id, 'u' || {{user}} as user_id,
            {_COURSE} as course_id, happened_at as viewed_at, {_DWELL} as dwell_seconds,
            ['organic', 'search', 'campaign', 'insurer_page'][cast(1 + hash(i, 5) % 4 as bigint)] as source
        from timed""",
    "product_views": f"""
        select dt, 'pv_' || md5(cast(i as varchar))[:20] as view_id, 'k' || {{customer}} as customer_id,
            {_product("i")} as product_id, happened_at as viewed_at, {_DWELL} as dwell_seconds,
            ['organic', 'search', 'campaign', 'course_page'][cast(1 + hash(i, 5) % 4 as bigint)] as source
        from timed""",
    "course_orders": f"""
        select dt, 'ol_' || md5(cast(i as varchar))[:20] as order_line_id, 'o' || (i // 2) as order_id,
            'u' || {_pick("(i // 2)", "{people}", 1)} as user_id,
            {_COURSE} as course_id, happened_at as ordered_at, 1000 + hash(i, 6) % 40000 as paid_fen,
            case when hash(i, 7) % 20 = 0 then 'refunded' else 'paid' end as status
        from timed""",
    "course_reviews": f"""
        select dt, 'cr_' || md5(cast(i as varchar))[:20] as review_id, 'u' || {{user}} as user_id,
            {_COURSE} as course_id, happened_at as reviewed_at, 1 + hash(i, 6) % 5 as rating, 'fine' as review_text
        from timed""",
    # Of ten events the last cancels the policy of the first.
    "policies": f"""
        select dt, 'pe' || i as policy_event_id,
            'po' || {_FIRST_OF_TEN} as policy_id,
            'or' || {_FIRST_OF_TEN} as order_id,
            'k' || {_pick(_FIRST_OF_TEN, "{customers}", 1)}
            as customer_id,
            {_product(_FIRST_OF_TEN)} as product_id,
            case when i % 10 = 9 then 'cancelled' else 'issued' end as event, happened_at as occurred_at,
            case when i % 10 <> 9 then cast(happened_at as date) end as term_start_on,
            case when i % 10 <> 9 then cast(happened_at as date) + 364 end as term_end_on,
            case when i % 10 <> 9 then 5000 + hash(i, 6) % 200000 end as premium_fen,
            case when i % 10 <> 9 then 10000000 end as sum_insured_fen
        from timed""",
    "product_eligibility": f"""
        select dt, 'or' || (i // 4) as order_id, 'ins' || lpad(cast(i % 4 * 10 + hash(i, 2) % 10 as varchar), 3, '0')
            as product_id, 'k' || {_pick("(i // 4)", "{customers}", 1)} as customer_id,
            happened_at as checked_at
        from timed""",
    "campaign_events": """
        select dt, 'course_platform' as partner, 'ce_' || md5(cast(i as varchar))[:20] as event_id,
            'scale-' || (i % 5) as campaign_id, 'u' || {user} as subject_id,
            ['assignment', 'exposure', 'click', 'visit', 'conversion'][cast(1 + i % 5 as bigint)] as event,
            case when i % 5 = 0 then ['treatment', 'control'][cast(1 + hash(i, 4) % 2 as bigint)] end as arm,
            case when i % 5 = 0 then 0.5 end as assignment_share, 'email' as channel, null as item_id,
            happened_at as occurred_at, case when i % 5 = 4 then 9900 end as amount_fen, null as currency,
            case when i % 5 = 0 then (hash(i, 5) % 1000) / 1000 end as score, null as covariates
        from timed""",
    "claims": """
        select dt, 'cl' || i as claim_id,
            'po' || (hash(i, 8) % (d + 1) * 6 * $rows + hash(i, 9) % (6 * $rows)) // 10 * 10 as policy_id,
            'k' || {customer} as customer_id, happened_at as claimed_at, 20000 + hash(i, 6) % 500000 as claimed_fen,
            case when i % 3 > 0 then 20000 end as paid_fen,
            ['open', 'paid', 'rejected'][cast(1 + i % 3 as bigint)] as status
        from timed""",
    "contact_optouts": """
        select dt, 'course_platform' as partner, 'oo' || g as optout_id, 'u' || {user} as subject_id,
            ['all', 'email', 'sms', 'app_push', 'phone'][cast(1 + i % 5 as bigint)] as channel,
            case when hash(i, 4) % 10 = 0 then 'opted_in' else 'opted_out' end as decision, happened_at as decided_at
        from timed""",
}

# All accounts are delivered on the first day of the history; of the later days, those that changed.
_ACCOUNTS: Final = """
    with delivered as (
        select j, d,
            cast(date '{zero}' + cast(d as integer) as date) as dt,
            cast(date '{zero}' - 400 as timestamp) + to_minutes(cast(hash(j, 21) % 500000 as bigint)) as since_at,
            -- Of 100 people one shares the phone of a neighbour; of 20 the two firms' words differ.
            {own} as person_no
        from range(cast($first as bigint), cast($last as bigint) + 1) as s(d)
        cross join range(cast({accounts} as bigint)) as r(j)
        where d = $begin or hash(j, d) % 500 = 0
    ),
    told as (
        select
            dt, j,
            '{prefix}' || j as account_id,
            md5('phone' || case when hash(j, 22) % 100 = 0 then person_no + 1 else person_no end) as phone_hash,
            case when hash(j, 23) % 2 = 0 then md5('email' || person_no) end as email_hash,
            cast(null as boolean) as link_is_synthetic,
            case when hash(j, 24) % 20 > 0 then ['female', 'male'][cast(1 + hash(person_no, 25) % 2 as bigint)] end
            as gender,
            case when hash(j, 26) % 20 > 0 then 1945 + hash(person_no, 27) % 66 end as birth_year,
            'occupation ' || hash(j, 28) % 30 as occupation,
            1 + hash(j, 29) % 5 as city_tier,
            'topic' || hash(j, 30) % 20 || '|topic' || hash(j, 31) % 20 as interests,
            case when hash(j, 32) % 2 = 0 then 5000000 + hash(j, 33) % 20000000 end as annual_income_fen,
            since_at,
            case when d = $begin then since_at else cast(dt as timestamp) + interval 1 hour end as updated_at
        from delivered
    )
"""


def _users(world: World) -> str:
    base = _ACCOUNTS.format(zero=day_on(0), own="j", accounts=world.people, prefix="u")
    return (
        base.replace("told as", "known as")
        + ", told as (select *, account_id as user_id, "
        + ("since_at as registered_at from known)")
    )


def _insured(world: World) -> str:
    """Six of ten customers are users too."""
    own = f"case when hash(j, 20) % 10 < 6 then (j * 7) % {world.people} else {world.people} + j end"
    base = _ACCOUNTS.format(zero=day_on(0), own=own, accounts=_customers(world), prefix="k")
    return (
        base.replace("told as", "known as")
        + ", told as (select *, account_id as customer_id, "
        + ("since_at as became_customer_at from known)")
    )


def _accounts_of_both(world: World) -> str:
    """CTEs ``accounts (partner, subject_id, j, person_no)`` of both firms."""
    return f"""
        with accounts as (
            select 'course_platform' as partner, 'u' || j as subject_id, j, j as person_no
            from range({world.people}) as r(j)
            union all
            select 'insurer', 'k' || j, j,
                case when hash(j, 20) % 10 < 6 then (j * 7) % {world.people} else {world.people} + j end
            from range({_customers(world)}) as r(j)
        )
    """


def _identifiers(world: World) -> str:
    return f"""{_accounts_of_both(world)},
        kinds as (
            select unnest(['id_card', 'wechat_openid', 'phone']) as kind, unnest(['v1', 'v1', 'v2']) as key_version,
                unnest([4, 5, 10]) as one_of
        ),
        told as (
            select a.partner, cast(date '{day_on(0)}' + $begin as date) as dt, a.subject_id, k.kind, k.key_version,
                md5(k.kind || k.key_version || a.person_no) as identifier_hash, 'valid' as status,
                cast(date '{day_on(0)}' as timestamp) as updated_at
            from accounts as a
            cross join kinds as k
            where hash(a.person_no, k.kind) % k.one_of = 0 and $begin between $first and $last
        )"""


def _consents(world: World) -> str:
    """Everybody was asked on the first day of the history; each day a few decide anew."""
    return f"""{_accounts_of_both(world)},
        purposes as (
            select unnest(['profiling', 'joint_marketing', 'measurement', 'sensitive_profiling']) as purpose,
                unnest([80, 70, 80, 20]) as percent
        ),
        told as (
            select a.partner, cast(date '{day_on(0)}' + cast(s.d as integer) as date) as dt,
                a.partner[1] || 'c' || a.j || '_' || p.purpose || '_' || s.d as consent_id, a.subject_id, p.purpose,
                cast(null as varchar) as recipient,
                case
                    when s.d > $begin and hash(a.subject_id, p.purpose, s.d) % 3 = 0 then 'withdrawn' else 'granted'
                end as decision,
                case when p.purpose = 'sensitive_profiling' then '2026-1-sensitive' else '2026-1' end as notice_version,
                'app' as source,
                cast(date '{day_on(0)}' + cast(s.d as integer) as timestamp) + interval 9 hour as decided_at,
                case when a.j % 50 = 0 then date '{day_on(0)}' + cast(s.d as integer) + 365 end as expires_on
            from accounts as a
            cross join purposes as p
            cross join range(cast($first as bigint), cast($last as bigint) + 1) as s(d)
            where case when s.d = $begin then hash(a.subject_id, p.purpose) % 100 < p.percent
                else hash(a.j, s.d) % 2000 = 0 end
        )"""


def _courses(world: World) -> str:
    return f"""
        with told as (
            select cast(date '{day_on(0)}' + $begin as date) as dt,
                'c' || lpad(cast(i as varchar), 4, '0') as course_id, 'Course ' || i as title,
                'topic' || i % 20 || '|topic' || (i // 20) % 20 as topics, 't' || i % 300 as teacher_id,
                9900 as price_fen, 3600 as duration_seconds, null as description, null as published_on,
                cast(date '{day_on(0)}' as timestamp) as updated_at
            from range({COURSES}) as r(i)
            where $begin between $first and $last
        )"""


def _products(world: World) -> str:
    return f"""
        with told as (
            select cast(date '{day_on(0)}' + $begin as date) as dt,
                'ins' || lpad(cast(i as varchar), 3, '0') as product_id,
                'Product ' || i as product_name,
                ['health', 'accident', 'motor', 'travel', 'life'][cast(1 + i % 5 as bigint)] as product_class,
                'topic' || i % 20 as topics, 18 as min_age, 70 as max_age, null as min_annual_income_fen,
                50000 as annual_premium_fen, true as is_on_sale, null as description,
                cast(date '{day_on(0)}' as timestamp) as updated_at
            from range({PRODUCTS}) as r(i)
            where $begin between $first and $last
        )"""


_OTHERS: Final[Mapping[str, Callable[[World], str]]] = {
    "consents": _consents,
    "users": _users,
    "customers": _insured,
    "identifiers": _identifiers,
    "courses": _courses,
    "products": _products,
}
