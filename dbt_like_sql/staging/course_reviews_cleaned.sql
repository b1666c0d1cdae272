-- grain: as_of_on, review_id
-- kind: view
-- audit: reviewed_on = as_of_on and as_of_on in (select max(as_of_on) from staging.cleaning_statistics)
-- One row per review and day of fitting: the value as delivered, the clean value and its marks, by the rule in
-- staging.cleaning_rules as it was fitted at the end of as_of_on (staging.cleaning_statistics). No row is dropped.
-- Trap: name one as_of_on in every query; without it each review comes once per day of fitting. Rows of days after
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
            when coalesce(v.rating, s.fill_value) is not null
                then least(greatest(cast(coalesce(v.rating, s.fill_value) as double), s.clip_low), s.clip_high)
        end as clean,
        v.rating is null and s.fill_value is not null as is_imputed,
        coalesce(v.rating < s.outlier_low or v.rating > s.outlier_high, false) as is_outlier,
        s.scale_centre,
        s.scale_width
    from staging.course_reviews as v
    inner join days as d on v.reviewed_on <= d.as_of_on
    left join staging.cleaning_statistics as s
        on s.as_of_on = d.as_of_on and s.table_name = 'course_reviews' and s.column_name = 'rating'
)

select
    as_of_on, -- Day as of whose end values are cleaned
    review_id, -- Unique id of the review
    user_id, -- Who wrote, by the course platform's id
    course_id, -- What was reviewed
    reviewed_at, -- When the review was sent (UTC)
    reviewed_on, -- Day of the review (UTC)
    rating, -- Stars, 1 (worst) to 5 (best), as delivered
    clean as rating_clean, -- The same, cleaned: winsorised and filled as the rule says
    is_imputed as rating_is_imputed, -- Whether the value was missing and is filled @not_null
    is_outlier as rating_is_outlier, -- Whether the value as delivered is an outlier @not_null
    (clean - scale_centre) / scale_width as rating_scaled -- The clean value, scaled as the rule says
from cleaned
