-- grain: as_of_on, person_id, observed_at
-- partition: as_of_on
-- One row per person known to either firm and moment of observation: 60 days before the end of the day, with whether a
-- policy was then issued to the person as label (to learn from), and the end of the day, with an empty label (to be
-- scored). A person is observed only at moments at which a firm knew them already: otherwise those who become customers
-- by buying would teach that strangers buy. Features are computed from what happened strictly before observed_at, over
-- windows of 30 days, or, for policies issued, over the same number of days at both moments (from the first policy event
-- on file to the earlier moment, 365 at most). Where these are fewer than 30, the earlier moment has no rows: the platform
-- could not see then what it sees now. Trap: the home city is as of the day for both moments.
with moments as (
    select $end - interval 60 day as observed_at, true as is_labelled
    union all
    select cast($end as timestamp) as observed_at, false as is_labelled
),
person as (
    select
        m.observed_at,
        g.person_id,
        max(g.city_tier) as city_tier,
        max(case when g.partner = 'course_platform' then 1 else 0 end) as is_user,
        max(case when g.partner = 'insurer' then 1 else 0 end) as is_customer
    from staging.gate_profiling as g
    inner join moments as m on g.known_at < m.observed_at
    where g.as_of_on = cast($start as date)
    group by m.observed_at, g.person_id
),
policy_events as (
    select g.person_id, p.policy_id, p.event, p.occurred_at, p.term_start_on, p.term_end_on
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.occurred_at < $end
),
look_back as (
    select
        cast(
            case
                when min(occurred_at) is null or min(occurred_at) >= $end - interval 60 day then 0
                else least(365, date_diff('day', cast(min(occurred_at) as date), cast($end - interval 60 day as date)))
            end as integer
        ) as days
    from policy_events
),
issued as (
    select
        m.observed_at,
        e.person_id,
        sum(case when e.occurred_at < m.observed_at then 1 else 0 end) as issued_before,
        max(case when e.occurred_at < m.observed_at then e.occurred_at end) as last_at,
        max(case when e.occurred_at >= m.observed_at then 1 else 0 end) as has_issue_after
    from policy_events as e
    cross join look_back as l
    inner join moments as m
        on e.occurred_at >= m.observed_at - l.days * interval 1 day and e.occurred_at < m.observed_at + interval 60 day
    where e.event = 'issued'
    group by m.observed_at, e.person_id
),
each_policy as (
    select
        m.observed_at,
        e.person_id,
        e.policy_id,
        min(case when e.event in ('issued', 'renewed') then coalesce(e.term_start_on, date '1900-01-01') end)
            as covered_from_on,
        max(case when e.event in ('issued', 'renewed') then coalesce(e.term_end_on, date '9999-12-31') end)
            as covered_until_on,
        max(case when e.event in ('issued', 'renewed') then e.occurred_at end) as begun_at,
        max(case when e.event = 'cancelled' then e.occurred_at end) as cancelled_at
    from policy_events as e
    inner join moments as m on e.occurred_at < m.observed_at
    group by m.observed_at, e.person_id, e.policy_id
),
in_force as (
    select e.observed_at, e.person_id, count(*) as policies
    from each_policy as e
    where e.begun_at is not null
        and (e.cancelled_at is null or e.cancelled_at < e.begun_at)
        and e.covered_from_on <= cast(e.observed_at - interval 1 day as date)
        and e.covered_until_on >= cast(e.observed_at - interval 1 day as date)
    group by e.observed_at, e.person_id
),
product_views as (
    select
        m.observed_at,
        g.person_id,
        count(*) as views_30d,
        count(distinct v.product_id) as products_30d,
        sum(v.dwell_seconds) as dwell_30d_seconds,
        max(v.viewed_at) as last_at
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    inner join moments as m on v.viewed_at < m.observed_at and v.viewed_at >= m.observed_at - interval 30 day
    group by m.observed_at, g.person_id
),
course_views as (
    select m.observed_at, g.person_id, count(*) as views_30d, sum(v.dwell_seconds) as dwell_30d_seconds
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    inner join moments as m on v.viewed_at < m.observed_at and v.viewed_at >= m.observed_at - interval 30 day
    group by m.observed_at, g.person_id
),
course_orders as (
    select m.observed_at, g.person_id, count(distinct o.order_id) as orders_30d, sum(o.paid_fen) as paid_30d_fen
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    inner join moments as m on o.ordered_at < m.observed_at and o.ordered_at >= m.observed_at - interval 30 day
    where o.status = 'paid'
    group by m.observed_at, g.person_id
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    p.person_id, -- Person known to either firm @not_null
    p.observed_at, -- Moment of observation (UTC): what the features know ends here @not_null
    case when m.is_labelled then coalesce(i.has_issue_after, 0) = 1 end as has_bought_60d, -- Whether a policy was issued to the person in the 60 days from observed_at; empty = not yet known, to be scored
    cast(p.city_tier as integer) as city_tier, -- Tier of the home city, 1 (largest) to 5; empty where unknown
    p.is_user = 1 as is_user, -- Whether the course platform knew the person at observed_at @not_null
    p.is_customer = 1 as is_customer, -- Whether the insurer knew the person at observed_at @not_null
    cast(coalesce(f.policies, 0) as bigint) as active_policy_count, -- Policies in force at observed_at @not_null
    l.days as look_back_days, -- Days before observed_at over which policies issued are counted; the same for both moments @not_null
    cast(coalesce(i.issued_before, 0) as bigint) as issued_policy_count, -- Policies issued within the look-back @not_null
    date_diff('day', cast(i.last_at as date), cast(p.observed_at as date)) as days_since_policy_issue, -- Days since the last of them; empty = none
    cast(coalesce(pv.views_30d, 0) as bigint) as product_view_30d_count, -- Product views of the 30 days before observed_at @not_null
    cast(coalesce(pv.products_30d, 0) as bigint) as viewed_product_30d_count, -- Different products viewed in them @not_null
    cast(coalesce(pv.dwell_30d_seconds, 0) as bigint) as product_dwell_30d_seconds, -- Time on product pages in them @not_null
    date_diff('day', cast(pv.last_at as date), cast(p.observed_at as date)) as days_since_product_view_30d, -- Days since the last view; empty = none in 30 days
    cast(coalesce(cv.views_30d, 0) as bigint) as course_view_30d_count, -- Course views of the 30 days before observed_at @not_null
    cast(coalesce(cv.dwell_30d_seconds, 0) as bigint) as dwell_30d_seconds, -- Time on course pages in them @not_null
    cast(coalesce(co.orders_30d, 0) as bigint) as course_order_30d_count, -- Paid course orders of the 30 days before observed_at @not_null
    cast(coalesce(co.paid_30d_fen, 0) as bigint) as paid_30d_fen -- Paid for them @not_null
from person as p
inner join moments as m on m.observed_at = p.observed_at
cross join look_back as l
left join issued as i on i.observed_at = p.observed_at and i.person_id = p.person_id
left join in_force as f on f.observed_at = p.observed_at and f.person_id = p.person_id
left join product_views as pv on pv.observed_at = p.observed_at and pv.person_id = p.person_id
left join course_views as cv on cv.observed_at = p.observed_at and cv.person_id = p.person_id
left join course_orders as co on co.observed_at = p.observed_at and co.person_id = p.person_id
where not m.is_labelled or l.days >= 30
