-- grain: partner, consent_id, recipient
-- One row per decision and firm it speaks of, as an interval: from when it held, until when, what ended it, and whether
-- it counts. Nothing is ever taken out or changed but the end of the interval, which a later decision or the grant's own
-- last day sets; a file the firm corrects replaces its rows. Personal, by the firms' own ids: the compliance officer and
-- the firms' analysts read it; marketing reads the gates.
-- Whom a decision speaks of: the firm its recipient names, or both. Without a recipient a grant speaks of the firms that
-- its notice names, a withdrawal of both. A withdrawal always counts. A grant counts only under a notice of the sharing
-- agreement (staging.notices) that covers the purpose and the firm and was in use on that day; `fault` says what is
-- wrong otherwise. A grant with a fault still ends the one before it: the person was asked again, and the newest
-- decision is the one that stands.
with firms as (
    select unnest(['course_platform', 'insurer']) as firm
),

versions as (
    select notice_version, min(valid_from_on) as valid_from_on, max(valid_until_on) as valid_until_on
    from staging.notices
    group by notice_version
),

named_firms as (
    select distinct notice_version, recipient from staging.notices
),

named_purposes as (
    select distinct notice_version, purpose from staging.notices
),

decisions as (
    select
        c.partner,
        c.consent_id,
        f.firm as recipient,
        c.subject_id,
        c.purpose,
        c.decision,
        c.notice_version,
        c.source,
        c.decided_at,
        c.expires_on,
        case
            when c.decision = 'withdrawn' then null
            when v.notice_version is null then 'unknown notice'
            when p.notice_version is null then 'notice without this purpose'
            when n.notice_version is null then 'notice without this firm'
            when c.decided_on < v.valid_from_on or c.decided_on > coalesce(v.valid_until_on, date '9999-12-31')
                then 'notice not in use'
        end as fault,
        case when c.decision = 'granted' and c.expires_on is not null
            then greatest(cast(c.expires_on as timestamp) + interval 1 day, c.decided_at) end as expires_at
    from staging.consents as c
    cross join firms as f
    left join versions as v on v.notice_version = c.notice_version
    left join named_purposes as p on p.notice_version = c.notice_version and p.purpose = c.purpose
    left join named_firms as n on n.notice_version = c.notice_version and n.recipient = f.firm
    where c.recipient in ('both', f.firm)
        or (
            c.recipient is null
            and (c.decision = 'withdrawn' or v.notice_version is null or n.notice_version is not null)
        )
),

followed as (
    select
        d.*,
        lead(d.decided_at) over following as next_at,
        lead(d.decision) over following as next_decision
    from decisions as d
    window following as (
        partition by d.partner, d.subject_id, d.purpose, d.recipient
        order by d.decided_at, case when d.decision = 'withdrawn' then 1 else 0 end, d.consent_id
    )
)

select
    partner, -- Firm that asked @accepted(course_platform, insurer)
    consent_id, -- Unique id of the decision within the partner
    recipient, -- Firm that may (or may not) use the data @accepted(course_platform, insurer)
    subject_id, -- The person, by the partner's own id @not_null
    purpose, -- What the person was asked about @accepted(profiling, joint_marketing, measurement, sensitive_profiling)
    decision, -- What the person decided @accepted(granted, withdrawn)
    notice_version, -- Version of the notice the person saw @not_null
    source, -- Where the decision was taken
    decided_at, -- When the person decided; the interval begins (UTC) @not_null
    expires_on, -- Last day the grant holds by its own words; empty = until withdrawn
    least(expires_at, next_at) as ended_at, -- First moment at which it no longer holds (UTC); empty = holds
    case
        when expires_at <= next_at or (expires_at is not null and next_at is null) then 'expiry'
        when next_decision = 'withdrawn' then 'withdrawal'
        when next_decision = 'granted' then 'new grant'
    end as ended_by, -- What ended it; empty = holds @accepted(expiry, withdrawal, new grant)
    next_at is null as is_newest, -- Whether it is the newest decision on file of this account, purpose and firm @not_null
    fault -- Why a grant counts for nothing; empty = it counts @accepted(unknown notice, notice without this purpose, notice without this firm, notice not in use)
from followed
