-- grain: item_id
-- One row per course, latest state, in the words all recommenders share (item_id, title, topics, price_fen).
-- Trap: a course published later than the day you describe is in here too; compare published_on.
select
    c.course_id as item_id, -- The course
    c.title, -- Title shown to buyers @not_null
    c.topics, -- Topics separated by |, most specific first @not_null
    c.price_fen, -- List price @not_null
    c.duration_seconds, -- Total length of the lectures
    c.teacher_id, -- Who teaches
    c.published_on, -- First day on sale; empty = always was
    c.description -- Text shown to buyers, or the lecture titles joined
from staging.courses as c
