-- grain: as_of_on, person_id, observed_at
-- partition: as_of_on
-- One row per user of the course platform and moment of observation: 30 days before the end of the day, with whether the
-- person then bought a course as label (to learn from), and the end of the day, with an empty label (to be scored).
-- Bought = paid for at least one course whose money did not go back. A person is observed only at moments at which the
-- platform knew them already: otherwise those who join by buying would teach that strangers buy. Features are computed
-- from what happened strictly before observed_at, over windows of 30 days, or, for orders, over the same number of days
-- at both moments (from the first paid order on file to the earlier moment, 365 at most). Where these are fewer than 30,
-- the earlier moment has no rows: the platform could not see then what it sees now.
-- Trap: the home city is as of the day for both moments.
with moments as (
    select $end - interval 30 day as observed_at, true as is_labelled
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
paid_orders as (
    select g.person_id, o.order_id, o.ordered_at, o.paid_fen
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.ordered_at < $end and o.status = 'paid'
),
look_back as (
    select
        cast(
            case
                when min(ordered_at) is null or min(ordered_at) >= $end - interval 30 day then 0
                else least(365, date_diff('day', cast(min(ordered_at) as date), cast($end - interval 30 day as date)))
            end as integer
        ) as days
    from paid_orders
),
orders as (
    select
        m.observed_at,
        o.person_id,
        count(distinct case when o.ordered_at < m.observed_at then o.order_id end) as orders_before,
        sum(case when o.ordered_at < m.observed_at then o.paid_fen else 0 end) as paid_fen,
        max(case when o.ordered_at < m.observed_at then o.ordered_at end) as last_at,
        max(case when o.ordered_at >= m.observed_at then 1 else 0 end) as has_order_after
    from paid_orders as o
    cross join look_back as l
    inner join moments as m
        on o.ordered_at >= m.observed_at - l.days * interval 1 day and o.ordered_at < m.observed_at + interval 30 day
    group by m.observed_at, o.person_id
),
course_views as (
    select
        m.observed_at,
        g.person_id,
        count(*) as views_30d,
        count(distinct v.course_id) as courses_30d,
        count(distinct cast(v.viewed_at as date)) as days_30d,
        sum(v.dwell_seconds) as dwell_30d_seconds,
        max(v.viewed_at) as last_at
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    inner join moments as m on v.viewed_at < m.observed_at and v.viewed_at >= m.observed_at - interval 30 day
    group by m.observed_at, g.person_id
),
course_reviews as (
    select m.observed_at, g.person_id, count(*) as reviews_30d
    from staging.course_reviews as r
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = r.user_id and g.as_of_on = cast($start as date)
    inner join moments as m on r.reviewed_at < m.observed_at and r.reviewed_at >= m.observed_at - interval 30 day
    group by m.observed_at, g.person_id
),
product_views as (
    select m.observed_at, g.person_id, count(*) as views_30d
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    inner join moments as m on v.viewed_at < m.observed_at and v.viewed_at >= m.observed_at - interval 30 day
    group by m.observed_at, g.person_id
),
each_policy as (
    select
        m.observed_at,
        g.person_id,
        p.policy_id,
        min(case when p.event in ('issued', 'renewed') then coalesce(p.term_start_on, date '1900-01-01') end)
            as covered_from_on,
        max(case when p.event in ('issued', 'renewed') then coalesce(p.term_end_on, date '9999-12-31') end)
            as covered_until_on,
        max(case when p.event in ('issued', 'renewed') then p.occurred_at end) as begun_at,
        max(case when p.event = 'cancelled' then p.occurred_at end) as cancelled_at
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    inner join moments as m on p.occurred_at < m.observed_at
    group by m.observed_at, g.person_id, p.policy_id
),
in_force as (
    select e.observed_at, e.person_id, count(*) as policies
    from each_policy as e
    where e.begun_at is not null
        and (e.cancelled_at is null or e.cancelled_at < e.begun_at)
        and e.covered_from_on <= cast(e.observed_at - interval 1 day as date)
        and e.covered_until_on >= cast(e.observed_at - interval 1 day as date)
    group by e.observed_at, e.person_id
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    p.person_id, -- User of the course platform @not_null
    p.observed_at, -- Moment of observation (UTC): what the features know ends here @not_null
    case when m.is_labelled then coalesce(o.has_order_after, 0) = 1 end as has_bought_30d, -- Whether the person bought a course in the 30 days from observed_at; empty = not yet known, to be scored
    cast(p.city_tier as integer) as city_tier, -- Tier of the home city, 1 (largest) to 5; empty where unknown
    p.is_customer = 1 as is_customer, -- Whether the insurer knew the person at observed_at @not_null
    cast(coalesce(f.policies, 0) as bigint) as active_policy_count, -- Policies in force at observed_at @not_null
    cast(coalesce(cv.views_30d, 0) as bigint) as course_view_30d_count, -- Course views of the 30 days before observed_at @not_null
    cast(coalesce(cv.courses_30d, 0) as bigint) as viewed_course_30d_count, -- Different courses viewed in them @not_null
    cast(coalesce(cv.days_30d, 0) as bigint) as course_view_day_30d_count, -- Days with a course view among them @not_null
    cast(coalesce(cv.dwell_30d_seconds, 0) as bigint) as dwell_30d_seconds, -- Time on course pages in them @not_null
    date_diff('day', cast(cv.last_at as date), cast(p.observed_at as date)) as days_since_course_view_30d, -- Days since the last view; empty = none in 30 days
    l.days as look_back_days, -- Days before observed_at over which orders are counted; the same for both moments @not_null
    cast(coalesce(o.orders_before, 0) as bigint) as course_order_count, -- Paid course orders within the look-back @not_null
    cast(coalesce(o.paid_fen, 0) as bigint) as paid_fen, -- Paid for them @not_null
    date_diff('day', cast(o.last_at as date), cast(p.observed_at as date)) as days_since_course_order, -- Days since the last of them; empty = none
    cast(coalesce(cr.reviews_30d, 0) as bigint) as review_30d_count, -- Course reviews of the 30 days before observed_at @not_null
    cast(coalesce(pv.views_30d, 0) as bigint) as product_view_30d_count -- Product views of the 30 days before observed_at @not_null
from person as p
inner join moments as m on m.observed_at = p.observed_at
cross join look_back as l
left join orders as o on o.observed_at = p.observed_at and o.person_id = p.person_id
left join course_views as cv on cv.observed_at = p.observed_at and cv.person_id = p.person_id
left join course_reviews as cr on cr.observed_at = p.observed_at and cr.person_id = p.person_id
left join product_views as pv on pv.observed_at = p.observed_at and pv.person_id = p.person_id
left join in_force as f on f.observed_at = p.observed_at and f.person_id = p.person_id
where p.is_user = 1 and (not m.is_labelled or l.days >= 30)
