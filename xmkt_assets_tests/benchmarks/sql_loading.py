"""Generated SQL files, of the size and kind of the real ones, and a process that makes Dagster assets of them.

As a process (``python -m xmkt_assets_tests.benchmarks.sql_loading FOLDER``) it prints the seconds of each step: Dagster
imported, ours imported, the folder read and checked, the assets built. The files mean nothing; they are generated.
"""

import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

RAW_COLUMNS: Final = ("partner", "dt", "event_id", "user_id", "item_id", "happened_at", "amount_fen", "seconds", "kind")
STEPS: Final = ("dagster", "imports", "reading", "building")
_PER_SHAPE: Final = 3

EVENTS: Final = """\
-- grain: event_id
-- partition: happened_on
-- mapping: same day
-- One row per event {n}, generated. An id delivered twice is kept on the day it first happened.
select
    r.event_id, -- Unique id of the event @not_null
    r.partner, -- Who sent it @accepted(course_platform, insurer)
    r.user_id, -- Who did it @not_null
    r.item_id, -- What it was done with @not_null @references(staging.items_{n}.item_id)
    r.happened_at, -- When (UTC) @not_null
    cast(r.happened_at as date) as happened_on, -- Day (UTC) @not_null
    coalesce(r.amount_fen, 0) as amount_fen, -- Money of the event @not_null
    case when r.seconds < 0 then 0 when r.seconds > 86400 then 86400 else r.seconds end as seconds, -- Time spent
    lower(trim(r.kind)) as kind, -- What was done @accepted(view, order, review, refund)
    r.amount_fen is null as amount_is_missing, -- Whether no amount was delivered @not_null
    r.dt as delivered_on -- Day of the folder it came in
from raw.events_{n} as r
where r.happened_at >= $start and r.happened_at < $end
    and not exists (
        select 1
        from raw.events_{n} as e
        where e.event_id = r.event_id
            and e.happened_at >= $start - interval 31 day and e.happened_at < $end
            and (e.happened_at < r.happened_at or (e.happened_at = r.happened_at and e.dt > r.dt))
    )
"""
ITEMS: Final = """\
-- grain: item_id
-- One row per item {n}, generated: what is known of it from its events.
with named as (
    select e.item_id, max(e.happened_at) as last_at, min(e.happened_at) as first_at, count(*) as events
    from raw.events_{n} as e
    where e.item_id is not null
    group by e.item_id
),
paid as (
    select
        e.item_id,
        sum(case when e.kind = 'order' then e.amount_fen else 0 end) as paid_fen,
        sum(case when e.kind = 'refund' then e.amount_fen else 0 end) as refunded_fen,
        count(distinct case when e.kind = 'order' then e.user_id end) as buyers
    from raw.events_{n} as e
    group by e.item_id
),
ranked as (
    select
        n.item_id,
        n.events,
        row_number() over (order by n.events desc, n.item_id) as place,
        sum(n.events) over (order by n.events desc, n.item_id rows between unbounded preceding and current row) as upto
    from named as n
)
select
    n.item_id, -- Unique id of the item @not_null
    cast(n.first_at as date) as first_on, -- Day of its first event (UTC) @not_null
    cast(n.last_at as date) as last_on, -- Day of its last event (UTC) @not_null
    n.events as event_count, -- Events in all @not_null
    coalesce(p.paid_fen, 0) as paid_fen, -- Money paid for it @not_null
    coalesce(p.refunded_fen, 0) as refunded_fen, -- Money given back @not_null
    coalesce(p.buyers, 0) as buyer_count, -- People who paid @not_null
    r.place, -- Place by events, 1 = most @unique
    r.upto as events_up_to_it, -- Events of it and of those before it
    case when r.place <= 10 then 'top' when r.place <= 100 then 'middle' else 'tail' end
        as band -- Band by events @accepted(top, middle, tail)
from named as n
inner join ranked as r on r.item_id = n.item_id
left join paid as p on p.item_id = n.item_id
"""
PEOPLE: Final = """\
-- grain: as_of_on, user_id
-- partition: as_of_on
-- One row per person of {n} at the end of a day, generated: what they did up to it, strictly before $end.
with views as (
    select
        e.user_id,
        count(*) as views,
        sum(case when e.happened_at >= $end - interval 30 day then 1 else 0 end) as views_30d,
        sum(e.seconds) as seconds,
        max(e.happened_at) as last_at
    from staging.events_{n} as e
    where e.kind = 'view' and e.happened_at < $end
    group by e.user_id
),
orders as (
    select
        e.user_id,
        count(distinct e.event_id) as orders,
        sum(e.amount_fen) as paid_fen,
        sum(case when e.happened_at >= $end - interval 30 day then e.amount_fen else 0 end) as paid_30d_fen,
        max(e.happened_at) as last_at,
        count(distinct i.band) as bands
    from staging.events_{n} as e
    inner join staging.items_{n} as i on i.item_id = e.item_id
    where e.kind = 'order' and e.happened_at < $end
    group by e.user_id
),
reviews as (
    select
        e.user_id,
        count(*) as reviews,
        avg(e.seconds) as mean_seconds,
        count(distinct e.item_id) as items,
        min(e.happened_at) as first_at,
        max(case when i.place <= 10 then e.happened_at end) as last_of_the_best_at
    from staging.events_{n} as e
    inner join staging.items_{n} as i on i.item_id = e.item_id and i.first_on <= cast(e.happened_at as date)
    where e.kind = 'review' and e.happened_at >= $end - interval 365 day and e.happened_at < $end
    group by e.user_id
),
refunds as (
    select
        r.user_id,
        count(*) as refunds,
        sum(r.amount_fen) as refunded_fen,
        sum(case when r.happened_at >= o.happened_at + interval 14 day then 1 else 0 end) as late_refunds
    from staging.events_{n} as r
    inner join staging.events_{n} as o
        on o.user_id = r.user_id and o.item_id = r.item_id and o.kind = 'order' and o.happened_at <= r.happened_at
    where r.kind = 'refund' and r.happened_at < $end
    group by r.user_id
),
newest as (
    select e.user_id, e.item_id, e.kind, e.happened_at
    from staging.events_{n} as e
    where e.happened_at < $end
    qualify row_number() over (partition by e.user_id order by e.happened_at desc, e.event_id) = 1
),
before as (
    select p.user_id, p.paid_fen, p.view_count
    from segments.people_{before} as p
    where p.as_of_on = cast($start as date)
),
everybody as (
    select user_id from views
    union
    select user_id from orders
    union
    select user_id from reviews
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes
    a.user_id, -- The person
    coalesce(v.views, 0) as view_count, -- Views up to the end of the day @not_null
    coalesce(v.views_30d, 0) as view_30d_count, -- Views of the last 30 days @not_null
    coalesce(v.seconds, 0) as seconds, -- Time spent @not_null
    coalesce(o.orders, 0) as order_count, -- Orders @not_null
    coalesce(o.paid_fen, 0) as paid_fen, -- Money paid @not_null
    coalesce(o.paid_30d_fen, 0) as paid_30d_fen, -- Money paid in the last 30 days @not_null
    coalesce(o.bands, 0) as band_count, -- Bands of items bought @not_null
    coalesce(b.paid_fen, 0) as paid_elsewhere_fen, -- Money paid in the group before @not_null
    coalesce(w.reviews, 0) as review_count, -- Reviews of the last year @not_null
    w.mean_seconds, -- Mean time spent on a review; empty without one
    coalesce(w.items, 0) as reviewed_item_count, -- Items reviewed @not_null
    w.first_at as first_reviewed_at, -- First review of the last year (UTC)
    w.last_of_the_best_at is not null as has_reviewed_the_best, -- Whether one of the best was reviewed @not_null
    coalesce(r.refunds, 0) as refund_count, -- Refunds @not_null
    coalesce(r.refunded_fen, 0) as refunded_fen, -- Money given back @not_null
    case when coalesce(r.refunds, 0) = 0 then null else cast(r.late_refunds as double) / r.refunds end
        as late_refund_share, -- Share of refunds after two weeks; empty without any
    n.item_id as newest_item_id, -- Item of the newest event
    n.kind as newest_kind, -- What was done last @accepted(view, order, review, refund)
    date_diff('day', cast(greatest(v.last_at, o.last_at) as date), cast($start as date)) as idle_days, -- Days idle
    case
        when coalesce(o.paid_fen, 0) > 100000 then 'high'
        when coalesce(o.paid_fen, 0) > 0 then 'paying'
        else 'looking'
    end as label -- Name of the group @accepted(high, paying, looking)
from everybody as a
left join views as v on v.user_id = a.user_id
left join orders as o on o.user_id = a.user_id
left join reviews as w on w.user_id = a.user_id
left join refunds as r on r.user_id = a.user_id
left join newest as n on n.user_id = a.user_id
left join before as b on b.user_id = a.user_id
"""
FIRST_PEOPLE: Final = "segments.people_0"


def known_columns(files: int) -> dict[str, tuple[str, ...]]:
    """The tables that the generated files read and do not make."""
    first = ("as_of_on", "user_id", "paid_fen", "view_count")
    return {FIRST_PEOPLE: first} | {f"raw.events_{n}": RAW_COLUMNS for n in range(1, files // _PER_SHAPE + 1)}


def write_files(folder: Path, files: int) -> Path:
    """`files` generated SQL files, a third of each shape, under ``folder/dbt_like_sql``."""
    root = folder / "dbt_like_sql"
    for n in range(1, files // _PER_SHAPE + 1):
        for table, text in ((f"staging/events_{n}", EVENTS), (f"staging/items_{n}", ITEMS)):
            _write(root / f"{table}.sql", text.format(n=n))
        _write(root / f"segments/people_{n}.sql", PEOPLE.format(n=n, before=n - 1))
    return root


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def build(folder: Path) -> list[float]:
    """Seconds of each of `STEPS`, in a process that has imported nothing yet."""
    moments = [time.perf_counter()]
    import dagster as dg

    moments.append(time.perf_counter())
    from xmkt_assets.partitions import DAYS
    from xmkt_assets.sql_assets import Catalogue, sql_asset
    from xmkt_assets.sql_models import SqlModel, no_collecting, read_folder

    def catalogue(models: Mapping[str, SqlModel]) -> Catalogue:
        partitions: dict[str, dg.PartitionsDefinition[str] | None] = dict.fromkeys(known, DAYS)
        return Catalogue(
            partitions=partitions | {t: DAYS if m.kind == "partition" else None for t, m in models.items()},
            snapshots=frozenset({FIRST_PEOPLE} | {t for t, m in models.items() if m.is_snapshot}),
            columns={**known, **{t: m.column_names for t, m in models.items()}},
            empty={},
        )

    moments.append(time.perf_counter())
    files = len(list(folder.rglob("*.sql")))
    known = known_columns(files)
    with no_collecting():  # as the definitions of the platform do
        models = read_folder(folder, known=known).models
        moments.append(time.perf_counter())
        around = catalogue(models)
        assets = [sql_asset(model, around) for model in models.values()]
    moments.append(time.perf_counter())
    assert len(assets) == files
    return [after - before for before, after in pairwise(moments)]


if __name__ == "__main__":
    sys.stdout.write(" ".join(f"{seconds:.4f}" for seconds in build(Path(sys.argv[1]))))
