-- grain: as_of_on, person_id
-- partition: as_of_on
-- One row per person whose consent to profiling is in force at the end of the day: where the person is heading, and when
-- the person comes. Everything is of the 84 days (12 weeks) before $end and of nothing earlier, so rows of different days
-- may be compared and the cost follows the window. The window has three parts of 28 days, each with four of every
-- weekday: first (the earliest), middle, last (the newest). Visits are those of both firms (staging.visits).
-- Who is known to one firm only, or did nothing, has zero counts and empty shares, means and regularity.
-- Rule of every _trend_ratio: (last - first) / (last + first), the relative change to the mean of both: -1 = stopped,
-- 0 = as before, or nothing in either part, 1 = began (the first part is 0). It has no unit and no division by zero.
-- Trap: weekends and evenings are those of China (UTC+8); the days and weeks before $end are cut at midnight UTC.
with person as (
    select g.person_id
    from staging.gate_profiling as g
    where g.as_of_on = cast($start as date)
    group by g.person_id
),

visited as (
    select
        g.person_id,
        v.partner,
        v.dwell_seconds,
        date_diff('day', v.visited_on, cast($start as date)) as days_ago,
        cast(v.started_at + interval 8 hour as date) as active_on,
        extract(hour from v.started_at + interval 8 hour) as local_hour
    from staging.visits as v
    inner join staging.gate_profiling as g
        on g.partner = v.partner and g.subject_id = v.subject_id and g.as_of_on = cast($start as date)
    where v.started_at >= $end - interval 84 day and v.started_at < $end
),

visit_sums as (
    select
        person_id,
        count(*) as visits,
        sum(case when partner = 'insurer' then 1 else 0 end) as insurer_visits,
        sum(case when days_ago >= 56 then 1 else 0 end) as first_visits,
        sum(case when days_ago between 28 and 55 then 1 else 0 end) as middle_visits,
        sum(case when days_ago < 28 then 1 else 0 end) as last_visits,
        sum(case when days_ago >= 56 then dwell_seconds else 0 end) as first_dwell_seconds,
        sum(case when days_ago between 28 and 55 then dwell_seconds else 0 end) as middle_dwell_seconds,
        sum(case when days_ago < 28 then dwell_seconds else 0 end) as last_dwell_seconds,
        -- Least squares of twelve weekly counts y on the week x = 0 (earliest) … 11: sum((x - 5.5) y) / sum((x - 5.5)^2),
        -- the divisor is 143. Added up per visit; a week without visits adds 0.
        sum(5.5 - (days_ago - days_ago % 7) / 7) / 143 as slope_per_week,
        count(distinct days_ago - days_ago % 7) as active_weeks,
        sum(case when (date_diff('day', date '1970-01-01', active_on) + 3) % 7 >= 5 then 1 else 0 end) as weekend_visits,
        sum(case when local_hour >= 18 then 1 else 0 end) as evening_visits
    from visited
    group by person_id
),

active_days as (
    select person_id, active_on
    from visited
    group by person_id, active_on
),

gaps as (
    select
        person_id,
        date_diff('day', cast(lag(active_on) over (partition by person_id order by active_on) as date), active_on)
            as gap_days
    from active_days
),

-- Standard deviation by mean = sqrt(n * sum(x^2) - sum(x)^2) / sum(x): of whole numbers, so no order of rows changes it.
regularity as (
    select
        person_id,
        count(*) as active_days,
        sum(gap_days) as days,
        case
            when count(gap_days) >= 2
                then sqrt(count(gap_days) * sum(gap_days * gap_days) - sum(gap_days) * sum(gap_days)) / sum(gap_days)
        end as gap_variation
    from gaps
    group by person_id
),

course_orders as (
    select
        g.person_id,
        sum(case when o.ordered_at < $end - interval 56 day then o.paid_fen else 0 end) as first_fen,
        sum(
            case
                when o.ordered_at >= $end - interval 56 day and o.ordered_at < $end - interval 28 day then o.paid_fen
                else 0
            end
        ) as middle_fen,
        sum(case when o.ordered_at >= $end - interval 28 day then o.paid_fen else 0 end) as last_fen
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.ordered_at >= $end - interval 84 day and o.ordered_at < $end and o.status = 'paid'
    group by g.person_id
),

policies as (
    select
        g.person_id,
        sum(case when p.occurred_at < $end - interval 56 day then p.premium_fen else 0 end) as first_fen,
        sum(
            case
                when p.occurred_at >= $end - interval 56 day and p.occurred_at < $end - interval 28 day then p.premium_fen
                else 0
            end
        ) as middle_fen,
        sum(case when p.occurred_at >= $end - interval 28 day then p.premium_fen else 0 end) as last_fen,
        count(p.premium_fen) as shared_premiums
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.occurred_at >= $end - interval 84 day and p.occurred_at < $end and p.event in ('issued', 'renewed')
    group by g.person_id
),

joined as (
    select
        p.person_id,
        coalesce(v.visits, 0) as visits,
        coalesce(v.insurer_visits, 0) as insurer_visits,
        coalesce(v.first_visits, 0) as first_visits,
        coalesce(v.middle_visits, 0) as middle_visits,
        coalesce(v.last_visits, 0) as last_visits,
        coalesce(v.first_dwell_seconds, 0) as first_dwell_seconds,
        coalesce(v.middle_dwell_seconds, 0) as middle_dwell_seconds,
        coalesce(v.last_dwell_seconds, 0) as last_dwell_seconds,
        coalesce(v.slope_per_week, 0) as slope_per_week,
        coalesce(v.active_weeks, 0) as active_weeks,
        v.weekend_visits,
        v.evening_visits,
        coalesce(r.active_days, 0) as active_days,
        r.gap_variation,
        case when r.active_days >= 2 then r.days / nullif(r.active_days - 1, 0) end as mean_gap_days,
        coalesce(o.first_fen, 0) as first_fen,
        coalesce(o.middle_fen, 0) as middle_fen,
        coalesce(o.last_fen, 0) as last_fen,
        case when l.person_id is null then 0 when l.shared_premiums > 0 then l.first_fen end as first_premium_fen,
        case when l.person_id is null then 0 when l.shared_premiums > 0 then l.middle_fen end as middle_premium_fen,
        case when l.person_id is null then 0 when l.shared_premiums > 0 then l.last_fen end as last_premium_fen
    from person as p
    left join visit_sums as v on v.person_id = p.person_id
    left join regularity as r on r.person_id = p.person_id
    left join course_orders as o on o.person_id = p.person_id
    left join policies as l on l.person_id = p.person_id
)

select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    person_id, -- Person known to at least one firm @not_null
    cast(visits as bigint) as visit_84d_count, -- Visits at both firms in the 84 days @not_null
    cast(insurer_visits as bigint) as insurer_visit_84d_count, -- Of these, at the insurer @not_null
    cast(first_visits as bigint) as visit_first_28d_count, -- Visits in the first (earliest) 28 of the 84 days @not_null
    cast(middle_visits as bigint) as visit_middle_28d_count, -- Visits in the 28 days after these @not_null
    cast(last_visits as bigint) as visit_last_28d_count, -- Visits in the last 28 days @not_null
    cast(
        coalesce((last_visits - first_visits) / nullif(last_visits + first_visits, 0), 0)
        as double
    ) as visit_trend_ratio, -- Change of visits from the first to the last 28 days, -1 to 1, by the rule above @not_null
    cast(slope_per_week as double) as visit_slope_per_week, -- Visits more per week with each week, least squares over the 12 weeks @not_null
    cast(active_weeks as bigint) as active_week_count, -- Weeks of the 12 with a visit @not_null
    cast(active_days as bigint) as active_day_count, -- Days with a visit (China time) @not_null
    cast(mean_gap_days as double) as mean_gap_days, -- Mean days from one active day to the next; empty under two active days
    cast(gap_variation as double) as gap_variation, -- Regularity: standard deviation of these gaps by their mean, 0 = like a clock; empty under three active days
    cast(weekend_visits / nullif(visits, 0) as double) as weekend_visit_share, -- Part of the visits on a Saturday or Sunday (China time); empty = no visit
    cast(evening_visits / nullif(visits, 0) as double) as evening_visit_share, -- Part of the visits from 18:00 to midnight (China time); empty = no visit
    cast(first_dwell_seconds as bigint) as dwell_first_28d_seconds, -- Time spent in visits of the first 28 days @not_null
    cast(middle_dwell_seconds as bigint) as dwell_middle_28d_seconds, -- Time spent in visits of the 28 days after these @not_null
    cast(last_dwell_seconds as bigint) as dwell_last_28d_seconds, -- Time spent in visits of the last 28 days @not_null
    cast(
        coalesce((last_dwell_seconds - first_dwell_seconds) / nullif(last_dwell_seconds + first_dwell_seconds, 0), 0)
        as double
    ) as dwell_trend_ratio, -- Change of the time spent, -1 to 1, by the rule above @not_null
    cast(first_fen as bigint) as paid_first_28d_fen, -- Paid for courses in the first 28 days, refunds left out @not_null
    cast(middle_fen as bigint) as paid_middle_28d_fen, -- Paid for courses in the 28 days after these @not_null
    cast(last_fen as bigint) as paid_last_28d_fen, -- Paid for courses in the last 28 days @not_null
    cast(
        coalesce((last_fen - first_fen) / nullif(last_fen + first_fen, 0), 0)
        as double
    ) as paid_trend_ratio, -- Change of what was paid for courses, -1 to 1, by the rule above @not_null
    cast(first_premium_fen as bigint) as premium_first_28d_fen, -- Premiums of terms begun in the first 28 days; empty where the insurer shares none
    cast(middle_premium_fen as bigint) as premium_middle_28d_fen, -- Premiums of terms begun in the 28 days after these; likewise
    cast(last_premium_fen as bigint) as premium_last_28d_fen -- Premiums of terms begun in the last 28 days; likewise
from joined
