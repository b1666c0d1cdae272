-- grain: as_of_on, person_id
-- partition: as_of_on
-- One row per person whose consent to profiling is in force at the end of the day: what the person likes, at what price,
-- and how content the person is. Everything is of what happened before $end. Who never bought, rated or looked has zero
-- counts and empty means and shares: nothing known, not a middling taste.
-- Rules: topic_evenness_share is the entropy of the person's interest strengths, -sum(p ln p), by its largest possible
-- value ln(topics) (Pielou 1966); effective_topic_count is exp of the entropy (Hill 1973): as many equally strong topics
-- are as diverse. A price level is the place in the catalogue of what was bought, 0 (cheapest) to 1 (dearest), equal
-- prices sharing theirs. A discount is what a paid line stayed under the list price.
-- Trap: topics, teachers and list prices are those of today's catalogue; only what the person did is as of the day.
with person as (
    select g.person_id
    from staging.gate_profiling as g
    where g.as_of_on = cast($start as date)
    group by g.person_id
),

reviews as (
    select
        g.person_id,
        count(*) as reviews,
        sum(r.rating) as stars,
        sum(case when r.rating <= 2 then 1 else 0 end) as negative_reviews
    from staging.course_reviews as r
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = r.user_id and g.as_of_on = cast($start as date)
    where r.reviewed_at < $end
    group by g.person_id
),

moods as (
    select
        s.person_id,
        count(s.sentiment_share) as reviews,
        -- Rounded, as below: the sum of floats depends on the order of the rows.
        round(avg(s.sentiment_share), 6) as mean_share
    from segments.review_sentiment as s
    where s.as_of_on = cast($start as date)
    group by s.person_id
),

topics as (
    select
        i.person_id,
        count(*) as topics,
        max(case when i.interest_rank = 1 then i.topic end) as favourite,
        max(case when i.interest_rank = 1 then i.strength_share end) as favourite_share,
        -sum(i.strength_share * ln(i.strength_share)) as entropy
    from segments.person_interests as i
    where i.as_of_on = cast($start as date)
    group by i.person_id
),

course_places as (
    select
        c.course_id,
        c.teacher_id,
        c.price_fen,
        (rank() over (order by c.price_fen) - 1 + count(*) over (partition by c.price_fen) / 2.0) / count(*) over ()
            as price_level
    from staging.courses as c
),

product_places as (
    select
        p.product_id,
        (rank() over (order by p.annual_premium_fen) - 1 + count(*) over (partition by p.annual_premium_fen) / 2.0)
        / count(*) over () as price_level
    from staging.products as p
    where p.annual_premium_fen is not null
),

paid_lines as (
    select g.person_id, o.course_id, o.paid_fen
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.ordered_at < $end and o.status = 'paid'
),

listed_lines as (
    select l.person_id, l.paid_fen, c.price_fen, c.teacher_id, c.price_level
    from paid_lines as l
    inner join course_places as c on c.course_id = l.course_id
),

of_courses as (
    select
        person_id,
        count(*) as lines,
        round(avg(price_level), 6) as price_level,
        sum(case when paid_fen < price_fen then 1 else 0 end) as discounted_lines,
        sum(case when paid_fen < price_fen then price_fen - paid_fen else 0 end) as discount_fen,
        sum(price_fen) as list_fen
    from listed_lines
    group by person_id
),

teacher_lines as (
    select person_id, teacher_id, count(*) as lines
    from listed_lines
    where teacher_id is not null
    group by person_id, teacher_id
),

teachers as (
    select person_id, count(*) as teachers, sum(lines) as lines, max(lines) as most_lines
    from teacher_lines
    group by person_id
),

issued as (
    select g.person_id, p.product_id, p.policy_id
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.occurred_at < $end and p.event = 'issued'
    group by g.person_id, p.product_id, p.policy_id
),

of_products as (
    select i.person_id, round(avg(p.price_level), 6) as price_level
    from issued as i
    inner join product_places as p on p.product_id = i.product_id
    group by i.person_id
)

select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    p.person_id, -- Person known to at least one firm @not_null
    cast(coalesce(r.reviews, 0) as bigint) as review_count, -- Course reviews written @not_null
    cast(r.stars / r.reviews as double) as mean_rating, -- Mean stars given, 1 to 5; empty = no review
    cast(r.negative_reviews / r.reviews as double) as negative_review_share, -- Part of the reviews with one or two stars; empty = no review
    cast(coalesce(m.reviews, 0) as bigint) as read_review_count, -- Reviews whose words could be read for their mood @not_null
    cast(m.mean_share as double) as mean_sentiment_share, -- Mean mood of these (segments.review_sentiment), 0 negative to 1 positive; empty = none
    cast(coalesce(t.topics, 0) as bigint) as topic_count, -- Topics with any interest @not_null
    t.favourite as favourite_topic, -- Topic of the strongest interest; empty = nothing known
    cast(t.favourite_share as double) as favourite_topic_share, -- Part of all interest that it holds; empty = nothing known
    cast(case when t.topics = 1 then 0 else round(t.entropy / ln(t.topics), 6) end as double)
        as topic_evenness_share, -- Diversity: 0 = one topic only, 1 = all topics equally; empty = nothing known
    cast(round(exp(t.entropy), 6) as double) as effective_topic_count, -- Diversity as a number of equally strong topics; empty = nothing known
    cast(c.price_level as double) as course_price_level_share, -- Mean price level of the courses paid, by the rule above; empty = none in the catalogue
    cast(c.discounted_lines / c.lines as double) as discounted_line_share, -- Part of the paid lines under the list price; empty = none in the catalogue
    cast(case when c.list_fen > 0 then c.discount_fen / c.list_fen end as double) as discount_share, -- Part of the list prices that discounts took; empty = none in the catalogue
    cast(coalesce(h.teachers, 0) as bigint) as teacher_count, -- Different teachers bought from @not_null
    cast(h.most_lines / h.lines as double) as top_teacher_share, -- Loyalty: part of the paid lines with the teacher bought from most; empty = none known
    cast(d.price_level as double) as product_price_level_share -- Mean price level of the policies issued, by the product's yearly premium; empty = none known
from person as p
left join reviews as r on r.person_id = p.person_id
left join moods as m on m.person_id = p.person_id
left join topics as t on t.person_id = p.person_id
left join of_courses as c on c.person_id = p.person_id
left join teachers as h on h.person_id = p.person_id
left join of_products as d on d.person_id = p.person_id
