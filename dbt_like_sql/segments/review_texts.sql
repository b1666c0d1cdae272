-- grain: as_of_on, review_id
-- partition: as_of_on
-- One row per course review of a person whose consent to profiling is in force, as of the end of the day: what the
-- sentiment of reviews is learnt from. Reviews before $end only.
-- Trap: each day holds all reviews until then; name one as_of_on in every query. People's own words: not published.
select
    cast($start as date) as as_of_on, -- Day at whose end the consent holds @not_null
    r.review_id, -- The review
    g.person_id, -- Who wrote @not_null
    r.reviewed_at, -- When the review was sent (UTC)
    r.rating, -- Stars, 1 (worst) to 5 (best)
    r.review_text -- What the person wrote; may be empty
from staging.course_reviews as r
inner join staging.gate_profiling as g
    on g.partner = 'course_platform' and g.subject_id = r.user_id and g.as_of_on = cast($start as date)
where r.reviewed_at < $end
