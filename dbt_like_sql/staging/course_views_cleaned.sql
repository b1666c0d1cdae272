-- grain: as_of_on, view_id
-- kind: view
-- audit: viewed_on = as_of_on and as_of_on in (select max(as_of_on) from staging.cleaning_statistics)
-- One row per view and day of fitting: the value as delivered, the clean value and its marks, by the rule in
-- staging.cleaning_rules as it was fitted at the end of as_of_on (staging.cleaning_statistics). No row is dropped.
-- Trap: name one as_of_on in every query; without it each view comes once per day of fitting. Rows of days after
-- as_of_on are not in it.
with days as (
    select as_of_on from staging.cleaning_statistics
    group by as_of_on
),

cleaned as (
    select
        d.as_of_on,
        v.*,
        case
            when coalesce(v.dwell_seconds, s.fill_value) is not null
                then least(greatest(cast(coalesce(v.dwell_seconds, s.fill_value) as double), s.clip_low), s.clip_high)
        end as clean,
        v.dwell_seconds is null and s.fill_value is not null as is_imputed,
        coalesce(v.dwell_seconds < s.outlier_low or v.dwell_seconds > s.outlier_high, false) as is_outlier,
        s.scale_centre,
        s.scale_width
    from staging.course_views as v
    inner join days as d on v.viewed_on <= d.as_of_on
    left join staging.cleaning_statistics as s
        on s.as_of_on = d.as_of_on and s.table_name = 'course_views' and s.column_name = 'dwell_seconds'
)

select
    as_of_on, -- Day as of whose end values are cleaned
    view_id, -- Unique id of the view
    user_id, -- Who viewed, by the course platform's id
    course_id, -- What was viewed
    viewed_at, -- When the view began (UTC)
    viewed_on, -- Day of the view (UTC)
    source, -- How the user came
    dwell_seconds, -- Time spent on the page, as delivered
    clean as dwell_seconds_clean, -- The same, cleaned: winsorised and filled as the rule says
    is_imputed as dwell_seconds_is_imputed, -- Whether the value was missing and is filled @not_null
    is_outlier as dwell_seconds_is_outlier, -- Whether the value as delivered is an outlier @not_null
    (clean - scale_centre) / scale_width as dwell_seconds_scaled -- The clean value, scaled as the rule says
from cleaned
