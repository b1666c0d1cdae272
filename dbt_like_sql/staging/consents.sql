-- grain: partner, consent_id
-- partition: decided_on
-- One row per decision of a person about one purpose, as the firm sent it. What follows from it is in
-- staging.consent_ledger. Personal: only staging reads it.
select
    partner, -- Firm that asked @accepted(course_platform, insurer)
    consent_id, -- Unique id of the decision within the partner
    subject_id, -- The person, by the partner's own id @not_null
    purpose, -- What the person was asked about @accepted(profiling, joint_marketing, measurement, sensitive_profiling)
    recipient, -- Firm that may use the data; empty = the firms that the notice names @accepted(course_platform, insurer, both)
    decision, -- What the person decided @accepted(granted, withdrawn)
    notice_version, -- Version of the notice the person saw @not_null
    source, -- Where the decision was taken
    decided_at, -- When the person decided (UTC) @not_null
    cast(decided_at as date) as decided_on, -- Day of the decision (UTC) @not_null
    expires_on -- Last day the grant holds; empty = until withdrawn
from raw.consents
where decided_at >= $start and decided_at < $end
