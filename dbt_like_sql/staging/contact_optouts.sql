-- grain: partner, optout_id
-- partition: decided_on
-- One row per do-not-contact decision. The newest decision per channel counts.
select
    partner, -- Firm that was told @accepted(course_platform, insurer)
    optout_id, -- Unique id of the decision within the partner
    subject_id, -- The person, by the partner's own id @not_null
    channel, -- Channel the person decided on; all = every channel @accepted(all, email, sms, app_push, phone)
    decision, -- What the person decided @accepted(opted_out, opted_in)
    decided_at, -- When the person decided (UTC) @not_null
    cast(decided_at as date) as decided_on -- Day of the decision (UTC) @not_null
from raw.contact_optouts
where decided_at >= $start and decided_at < $end
