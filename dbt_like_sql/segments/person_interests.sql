-- grain: as_of_on, person_id, topic
-- partition: as_of_on
-- One row per person and topic the person stated, bought or spent time on, as of the end of the day.
-- Strength adds: 1 for a stated interest; 1 for each course paid and each policy issued; for time spent on the topic's
-- pages, 0.25 x ln(1 + minutes), so that an hour counts as much as one purchase and a browser tab left open does not
-- outweigh both. An item of several topics gives each an equal part.
-- Trap: topics of courses and products are those of today's catalogue; only what the person did is as of the day.
-- People with nothing to go by have no row.
with named_topics as (
    select 'course' as item_kind, course_id as item_id, unnest(string_split(topics, '|')) as topic from staging.courses
    union all
    select 'product' as item_kind, product_id as item_id, unnest(string_split(topics, '|')) as topic
    from staging.products
),
item_topics as (
    select item_kind, item_id, topic, 1.0 / count(*) over (partition by item_kind, item_id) as part
    from named_topics
    where trim(topic) <> ''
),
named_interests as (
    select g.person_id, unnest(string_split(g.stated_interests, '|')) as topic
    from staging.gate_profiling as g
    where g.as_of_on = cast($start as date)
),
stated as (
    select distinct person_id, trim(topic) as topic
    from named_interests
    where trim(topic) <> ''
),
-- Per person and item first: a million views become a few hundred thousand pairs before they meet their topics.
course_dwell as (
    select g.person_id, 'course' as item_kind, v.course_id as item_id, sum(v.dwell_seconds) as dwell_seconds
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    where v.viewed_at < $end
    group by g.person_id, v.course_id
),
product_dwell as (
    select g.person_id, 'product' as item_kind, v.product_id as item_id, sum(v.dwell_seconds) as dwell_seconds
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    where v.viewed_at < $end
    group by g.person_id, v.product_id
),
course_purchases as (
    select g.person_id, 'course' as item_kind, o.course_id as item_id, count(*) as purchases
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.ordered_at < $end and o.status = 'paid'
    group by g.person_id, o.course_id
),
product_purchases as (
    select g.person_id, 'product' as item_kind, p.product_id as item_id, count(distinct p.policy_id) as purchases
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.occurred_at < $end and p.event = 'issued'
    group by g.person_id, p.product_id
),
behaviour as (
    select person_id, item_kind, item_id, dwell_seconds, 0 as purchases from course_dwell
    union all
    select person_id, item_kind, item_id, dwell_seconds, 0 as purchases from product_dwell
    union all
    select person_id, item_kind, item_id, 0 as dwell_seconds, purchases from course_purchases
    union all
    select person_id, item_kind, item_id, 0 as dwell_seconds, purchases from product_purchases
),
signals as (
    select
        b.person_id,
        trim(t.topic) as topic,
        0 as is_stated,
        b.purchases * t.part as purchases,
        b.dwell_seconds * t.part as dwell_seconds
    from behaviour as b
    inner join item_topics as t on t.item_kind = b.item_kind and t.item_id = b.item_id
    union all
    select person_id, topic, 1 as is_stated, 0 as purchases, 0 as dwell_seconds
    from stated
),
strengths as (
    select
        person_id,
        topic,
        max(is_stated) as is_stated,
        sum(purchases) as purchases,
        sum(dwell_seconds) as dwell_seconds,
        -- Rounded: the sum of floats depends on the order of the rows, and ranks must not.
        round(max(is_stated) + sum(purchases) + 0.25 * ln(1 + sum(dwell_seconds) / 60.0), 6) as strength
    from signals
    group by person_id, topic
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    person_id, -- Person known to at least one firm @not_null
    topic, -- Topic of courses and products @not_null
    is_stated = 1 as is_stated, -- Whether the person named the topic @not_null
    cast(purchases as double) as purchase_count, -- Courses paid and policies issued, in parts where an item has several topics @not_null
    cast(round(dwell_seconds) as bigint) as dwell_seconds, -- Time spent on the topic's pages, in parts likewise @not_null
    cast(strength as double) as strength, -- Points by the rule above @not_null
    cast(strength / sum(strength) over (partition by person_id) as double) as strength_share, -- Part of the person's points; adds up to 1 per person @not_null
    row_number() over (partition by person_id order by strength desc, topic) as interest_rank -- 1 = strongest; equal strengths by name @not_null
from strengths
where strength > 0
