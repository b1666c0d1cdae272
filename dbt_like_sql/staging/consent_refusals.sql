-- grain: person_id, purpose
-- One row per person and purpose the person refuses as of the newest decision on file, whatever day that was. What was
-- made for earlier days may then no longer be used either: the gates of earlier days honour it, and
-- staging.withdrawals_applied takes the person out of what was made. Who refused and granted again later is not here.
-- Personal: only staging reads it.
select
    i.person_id, -- The person
    l.purpose, -- What the person refuses @accepted(profiling, joint_marketing, measurement, sensitive_profiling)
    max(l.decided_at) as refused_at, -- When the newest of the refusals was spoken (UTC) @not_null
    min(l.partner || ':' || l.consent_id) as consent_id -- One of the refusals, as partner:consent_id @not_null
from staging.consent_ledger as l
inner join staging.identities as i on i.partner = l.partner and i.subject_id = l.subject_id
where l.decision = 'withdrawn' and l.is_newest
group by i.person_id, l.purpose
