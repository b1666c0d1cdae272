-- grain: course_id
-- One row per course, latest state.
with latest as (
    select * from raw.courses
    qualify row_number() over (partition by course_id order by updated_at desc, dt desc) = 1
)

select
    course_id, -- The course platform's id of the course
    title, -- Title shown to buyers @not_null
    topics, -- Topics separated by |, most specific first @not_null
    teacher_id, -- The course platform's id of the teacher
    price_fen, -- List price @not_null
    duration_seconds, -- Total length of the lectures
    description, -- Text shown to buyers, or the lecture titles joined
    published_on -- First day on sale
from latest
