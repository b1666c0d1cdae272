-- grain: review_id
-- partition: reviewed_on
-- mapping: same day
-- One row per review a user wrote of a course.
select
    review_id, -- Unique id of the review
    user_id, -- Who wrote, by the course platform's id @not_null
    course_id, -- What was reviewed @not_null
    reviewed_at, -- When the review was sent (UTC) @not_null
    cast(reviewed_at as date) as reviewed_on, -- Day of the review (UTC) @not_null
    rating, -- Stars, 1 (worst) to 5 (best) @not_null
    review_text -- What the user wrote; may be empty
from raw.course_reviews as r
where r.reviewed_at >= $start and r.reviewed_at < $end
    -- The same id delivered again: the day it first happened keeps it, of one day the newest delivery.
    -- Of other days the 31 before are looked at: a day costs the same after ten years as after one.
    and not exists (
        select 1
        from raw.course_reviews as e
        where e.review_id = r.review_id
            and e.reviewed_at >= $start - interval 31 day and e.reviewed_at < $end
            and cast(e.reviewed_at as date) >= cast(r.reviewed_at as date) - interval 31 day
            and (
                cast(e.reviewed_at as date) < cast(r.reviewed_at as date)
                or (cast(e.reviewed_at as date) = cast(r.reviewed_at as date) and e.dt > r.dt)
            )
    )
