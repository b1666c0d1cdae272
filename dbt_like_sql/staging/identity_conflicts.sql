-- grain: conflict_id, partner, subject_id
-- One row per account in a contradiction between identifiers, or between an identifier and what the accounts say, with
-- what was decided; the accounts of one contradiction share conflict_id. Without hashes. Personal: only staging reads it.
with conflicts as (
    select
        *,
        'c' || substr(
            md5(partner || ':' || subject_id || '|' || other_partner || ':' || other_subject_id || '|' || kind), 1, 16
        ) as conflict_id
    from staging.identity_links
    where conflict is not null
),

sides as (
    select conflict_id, partner, subject_id, kind, conflict, is_joined, linked_on from conflicts
    union
    select conflict_id, other_partner, other_subject_id, kind, conflict, is_joined, linked_on from conflicts
)

select
    s.conflict_id, -- The contradiction
    s.partner, -- Firm that keeps the account @accepted(course_platform, insurer)
    s.subject_id, -- One of the accounts, by the firm's own id
    i.person_id, -- The person it belongs to all the same @not_null
    s.kind, -- Highest identifier that speaks for the accounts being one person @not_null
    s.conflict, -- What speaks against it @not_null
    case when s.is_joined then 'joined' else 'not joined' end as decision, -- What was decided @accepted(joined, not joined)
    i.linked_by, -- Identifier that joined the account to others, which may be another one @not_null
    s.linked_on as found_on -- Day from which the identifier speaks for them @not_null
from sides as s
inner join staging.identities as i on s.partner = i.partner and s.subject_id = i.subject_id
