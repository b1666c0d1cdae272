-- grain: partner, event_id
-- partition: occurred_on
-- mapping: same day
-- One row per thing that happened to a person in a campaign, also for experiments run elsewhere and imported (event assignment).
select
    partner, -- Firm that saw it @accepted(course_platform, insurer)
    event_id, -- Unique id of the event within the partner
    campaign_id, -- Campaign or experiment @not_null
    subject_id, -- The person, by the partner's own id @not_null
    event, -- What happened @accepted(assignment, exposure, click, visit, conversion)
    arm, -- Arm the person was assigned to; on assignment events
    assignment_share, -- Probability with which the arm was assigned; on assignment events
    channel, -- Channel of the contact
    item_id, -- Course or product shown or bought
    occurred_at, -- When it happened (UTC) @not_null
    cast(occurred_at as date) as occurred_on, -- Day it happened (UTC) @not_null
    amount_fen, -- Money of a conversion in the smallest unit of its currency
    coalesce(currency, 'CNY') as currency, -- Currency of amount_fen @accepted(CNY, USD, TWD)
    score, -- Score by which the sender ranked the person before assignment
    covariates -- What was known of the person before assignment, as a JSON object
from raw.campaign_events as r
where r.occurred_at >= $start and r.occurred_at < $end
    -- The same id delivered again: the day it first happened keeps it, of one day the newest delivery.
    -- Of other days the 31 before are looked at: a day costs the same after ten years as after one.
    and not exists (
        select 1
        from raw.campaign_events as e
        where e.partner = r.partner and e.event_id = r.event_id
            and e.occurred_at >= $start - interval 31 day and e.occurred_at < $end
            and cast(e.occurred_at as date) >= cast(r.occurred_at as date) - interval 31 day
            and (
                cast(e.occurred_at as date) < cast(r.occurred_at as date)
                or (cast(e.occurred_at as date) = cast(r.occurred_at as date) and e.dt > r.dt)
            )
    )
