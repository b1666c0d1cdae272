-- grain: as_of_on, person_id, item
-- partition: as_of_on
-- One row per thing a consenting person had before the end of the day: a course bought, an insurance product a policy was
-- issued for, and a topic touched at one of the firms. A topic is touched at a firm by something bought of it there, or by
-- ten minutes or more on its pages there, all visits together; an item of several topics counts for each. Refunded
-- courses are left out; a policy that was cancelled or ran out later stays in.
-- Trap: topics of courses and products are those of today's catalogue; only what the person did is as of the day.
with named_topics as (
    select 'course_platform' as side, course_id as item_id, unnest(string_split(topics, '|')) as topic from staging.courses
    union all
    select 'insurer' as side, product_id as item_id, unnest(string_split(topics, '|')) as topic from staging.products
),
item_topics as (
    select distinct side, item_id, trim(topic) as topic
    from named_topics
    where trim(topic) <> ''
),
courses_bought as (
    select distinct g.person_id, 'course_platform' as side, o.course_id as item_id
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.ordered_at < $end and o.status = 'paid'
),
products_bought as (
    select distinct g.person_id, 'insurer' as side, p.product_id as item_id
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.occurred_at < $end and p.event = 'issued'
),
-- Per person and item first: a million views become a few hundred thousand pairs before they meet their topics.
course_dwell as (
    select g.person_id, 'course_platform' as side, v.course_id as item_id, sum(v.dwell_seconds) as dwell_seconds
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    where v.viewed_at < $end
    group by g.person_id, v.course_id
),
product_dwell as (
    select g.person_id, 'insurer' as side, v.product_id as item_id, sum(v.dwell_seconds) as dwell_seconds
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    where v.viewed_at < $end
    group by g.person_id, v.product_id
),
touches as (
    select person_id, side, item_id, 600 as dwell_seconds from courses_bought
    union all
    select person_id, side, item_id, 600 as dwell_seconds from products_bought
    union all
    select person_id, side, item_id, dwell_seconds from course_dwell
    union all
    select person_id, side, item_id, dwell_seconds from product_dwell
),
topics_touched as (
    select t.person_id, t.side, i.topic
    from touches as t
    inner join item_topics as i on i.side = t.side and i.item_id = t.item_id
    group by t.person_id, t.side, i.topic
    having sum(t.dwell_seconds) >= 600
),
everything as (
    select person_id, 'course:' || item_id as item, 'course' as kind, side from courses_bought
    union all
    select person_id, 'product:' || item_id as item, 'product' as kind, side from products_bought
    union all
    select person_id, 'topic:' || topic || '@' || side as item, 'topic' as kind, side from topics_touched
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    person_id, -- Who @not_null
    item, -- course:ID, product:ID, or topic:NAME with the firm after an at sign @not_null
    kind, -- What it is @accepted(course, product, topic)
    side -- Firm at which the person had it @accepted(course_platform, insurer)
from everything
