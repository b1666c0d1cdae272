-- grain: as_of_on, person_id, observed_at, topic
-- partition: as_of_on
-- One row per person, moment of observation and topic the person had touched by then: 30 days before the end of the day,
-- with the person's next interest as label (to learn from), and the end of the day, with an empty label (to be scored).
-- The next interest is the topic of the first course paid or policy issued within the 30 days after the moment; where
-- nothing was bought, the topic on whose pages the person spent the most time in these days (a single view counts an hour
-- at most: a tab left open is no interest); equal ones by name. It may be the topic that was the strongest before.
-- The topic of the next interest is the item's first, most specific one; before the moment an item counts in full for
-- each of its topics. Features are computed from what happened strictly before observed_at, within a look-back of 84 days,
-- or fewer where the history on file is shorter: both moments look back over the same number of days.
-- People who did nothing in the 30 days are no examples, and people of whom nothing is known have no row at all.
-- Trap: stated interests, and topics of courses and products, are as of the day for both moments.
with moments as (
    select $end - interval 30 day as observed_at, true as is_labelled
    union all
    select cast($end as timestamp) as observed_at, false as is_labelled
),
named_topics as (
    select 'course' as item_kind, course_id as item_id, unnest(string_split(topics, '|')) as topic from staging.courses
    union all
    select 'product' as item_kind, product_id as item_id, unnest(string_split(topics, '|')) as topic
    from staging.products
),
item_topics as (
    select distinct item_kind, item_id, trim(topic) as topic
    from named_topics
    where trim(topic) <> ''
),
item_first_topic as (
    select 'course' as item_kind, course_id as item_id, trim(split_part(topics, '|', 1)) as topic from staging.courses
    union all
    select 'product' as item_kind, product_id as item_id, trim(split_part(topics, '|', 1)) as topic
    from staging.products
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
first_events as (
    select min(cast(v.viewed_at as date)) as first_on
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    where v.viewed_at >= $end - interval 114 day and v.viewed_at < $end - interval 30 day
    union all
    select min(cast(v.viewed_at as date)) as first_on
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    where v.viewed_at >= $end - interval 114 day and v.viewed_at < $end - interval 30 day
    union all
    select min(cast(o.ordered_at as date)) as first_on
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.ordered_at >= $end - interval 114 day and o.ordered_at < $end - interval 30 day and o.status = 'paid'
    union all
    select min(cast(p.occurred_at as date)) as first_on
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.occurred_at >= $end - interval 114 day and p.occurred_at < $end - interval 30 day and p.event = 'issued'
),
look_back as (
    select
        count(first_on) > 0 as has_history,
        cast(
            case
                when count(first_on) = 0 then 84
                else date_diff('day', min(first_on), cast($end - interval 30 day as date))
            end as integer
        ) as days
    from first_events
),
-- Per person and item first, both moments in one pass: a million views become a few hundred thousand pairs before they
-- meet their topics. earlier_ = before the earlier moment, now_ = before the end of the day, after_ = the 30 days between.
course_looks as (
    select
        g.person_id,
        v.course_id as item_id,
        sum(case when v.viewed_at < $end - interval 30 day then least(v.dwell_seconds, 3600) else 0 end) as earlier_dwell,
        sum(case when v.viewed_at < $end - interval 30 day then 1 else 0 end) as earlier_views,
        sum(case when v.viewed_at >= $end - l.days * interval 1 day then least(v.dwell_seconds, 3600) else 0 end)
            as now_dwell,
        sum(case when v.viewed_at >= $end - l.days * interval 1 day then 1 else 0 end) as now_views,
        sum(case when v.viewed_at >= $end - interval 30 day then least(v.dwell_seconds, 3600) else 0 end) as after_dwell
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    cross join look_back as l
    where v.viewed_at >= $end - interval 114 day and v.viewed_at < $end
    group by g.person_id, v.course_id
),
product_looks as (
    select
        g.person_id,
        v.product_id as item_id,
        sum(case when v.viewed_at < $end - interval 30 day then least(v.dwell_seconds, 3600) else 0 end) as earlier_dwell,
        sum(case when v.viewed_at < $end - interval 30 day then 1 else 0 end) as earlier_views,
        sum(case when v.viewed_at >= $end - l.days * interval 1 day then least(v.dwell_seconds, 3600) else 0 end)
            as now_dwell,
        sum(case when v.viewed_at >= $end - l.days * interval 1 day then 1 else 0 end) as now_views,
        sum(case when v.viewed_at >= $end - interval 30 day then least(v.dwell_seconds, 3600) else 0 end) as after_dwell
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    cross join look_back as l
    where v.viewed_at >= $end - interval 114 day and v.viewed_at < $end
    group by g.person_id, v.product_id
),
bought as (
    select g.person_id, 'course' as item_kind, o.course_id as item_id, o.ordered_at as bought_at
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.ordered_at >= $end - interval 114 day and o.ordered_at < $end and o.status = 'paid'
    union all
    select g.person_id, 'product' as item_kind, p.product_id as item_id, min(p.occurred_at) as bought_at
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.occurred_at >= $end - interval 114 day and p.occurred_at < $end and p.event = 'issued'
    group by g.person_id, p.product_id, p.policy_id
),
purchases as (
    select
        b.person_id,
        b.item_kind,
        b.item_id,
        sum(case when b.bought_at < $end - interval 30 day then 1 else 0 end) as earlier_purchases,
        sum(case when b.bought_at >= $end - l.days * interval 1 day then 1 else 0 end) as now_purchases
    from bought as b
    cross join look_back as l
    group by b.person_id, b.item_kind, b.item_id
),
looks as (
    select person_id, 'course' as item_kind, item_id, earlier_dwell, earlier_views, now_dwell, now_views, after_dwell
    from course_looks
    union all
    select person_id, 'product' as item_kind, item_id, earlier_dwell, earlier_views, now_dwell, now_views, after_dwell
    from product_looks
),
behaviour as (
    select
        person_id,
        item_kind,
        item_id,
        earlier_dwell,
        earlier_views,
        0 as earlier_purchases,
        now_dwell,
        now_views,
        0 as now_purchases
    from looks
    union all
    select
        person_id,
        item_kind,
        item_id,
        0 as earlier_dwell,
        0 as earlier_views,
        earlier_purchases,
        0 as now_dwell,
        0 as now_views,
        now_purchases
    from purchases
),
signals as (
    select
        b.person_id,
        m.observed_at,
        t.topic,
        b.item_kind,
        0 as is_stated,
        case when m.is_labelled then b.earlier_dwell else b.now_dwell end as dwell_seconds,
        case when m.is_labelled then b.earlier_views else b.now_views end as views,
        case when m.is_labelled then b.earlier_purchases else b.now_purchases end as purchases
    from behaviour as b
    inner join item_topics as t on t.item_kind = b.item_kind and t.item_id = b.item_id
    cross join moments as m
    union all
    select
        s.person_id,
        m.observed_at,
        s.topic,
        'none' as item_kind,
        1 as is_stated,
        0 as dwell_seconds,
        0 as views,
        0 as purchases
    from stated as s
    cross join moments as m
),
touched as (
    select
        person_id,
        observed_at,
        topic,
        max(is_stated) as is_stated,
        sum(case when item_kind = 'course' then dwell_seconds else 0 end) as course_dwell_seconds,
        sum(case when item_kind = 'course' then views else 0 end) as course_views,
        sum(case when item_kind = 'course' then purchases else 0 end) as course_purchases,
        sum(case when item_kind = 'product' then dwell_seconds else 0 end) as product_dwell_seconds,
        sum(case when item_kind = 'product' then views else 0 end) as product_views,
        sum(case when item_kind = 'product' then purchases else 0 end) as product_purchases
    from signals
    where is_stated + views + purchases > 0
    group by person_id, observed_at, topic
),
turned_to as (
    select b.person_id, t.topic, 1 as is_bought, epoch_us(b.bought_at) as place
    from bought as b
    inner join item_first_topic as t on t.item_kind = b.item_kind and t.item_id = b.item_id
    where b.bought_at >= $end - interval 30 day and t.topic <> ''
    union all
    select c.person_id, t.topic, 0 as is_bought, -sum(c.after_dwell) as place
    from looks as c
    inner join item_first_topic as t on t.item_kind = c.item_kind and t.item_id = c.item_id
    where c.after_dwell > 0 and t.topic <> ''
    group by c.person_id, t.topic
),
ranked as (
    select
        person_id,
        topic,
        is_bought,
        row_number() over (partition by person_id order by is_bought desc, place, topic) as place
    from turned_to
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    x.person_id, -- Person known to at least one firm @not_null
    x.observed_at, -- Moment of observation (UTC): what the features know ends here @not_null
    x.topic, -- Topic the person had touched or stated @not_null
    l.days as look_back_days, -- Days before observed_at that are counted; the same for both moments @not_null
    x.is_stated = 1 as is_stated, -- Whether the person named the topic @not_null
    cast(x.course_dwell_seconds as bigint) as course_dwell_seconds, -- Time spent on course pages of the topic within the look-back, an hour per view at most @not_null
    cast(x.course_views as bigint) as course_view_count, -- Views of these pages @not_null
    cast(x.course_purchases as bigint) as course_purchase_count, -- Courses of the topic paid within the look-back @not_null
    cast(x.product_dwell_seconds as bigint) as product_dwell_seconds, -- Time spent on insurance product pages of the topic, likewise @not_null
    cast(x.product_views as bigint) as product_view_count, -- Views of these pages @not_null
    cast(x.product_purchases as bigint) as product_purchase_count, -- Policies of the topic issued within the look-back @not_null
    case when m.is_labelled then r.topic end as next_topic, -- The person's next interest in the 30 days from observed_at, the same in each of the person's rows; empty = not yet known, to be scored
    case when m.is_labelled then r.is_bought = 1 end as next_is_purchase -- Whether it was bought, not only looked at; empty = not yet known
from touched as x
inner join moments as m on m.observed_at = x.observed_at
cross join look_back as l
left join ranked as r on r.person_id = x.person_id and r.place = 1
where not m.is_labelled or (l.has_history and r.topic is not null)
