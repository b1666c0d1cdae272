-- grain: claim_id
-- partition: claimed_on
-- mapping: same day
-- One row per claim, as first reported. Sensitive: amounts serve the claim-risk model only.
select
    claim_id, -- Unique id of the claim
    policy_id, -- Policy claimed on @not_null
    customer_id, -- Claimant, by the insurer's id @not_null
    claimed_at, -- When the claim was reported (UTC) @not_null
    cast(claimed_at as date) as claimed_on, -- Day of the report (UTC) @not_null
    claimed_fen, -- Amount claimed @not_null
    paid_fen, -- Amount paid so far; empty while open
    status -- Where the claim stands @accepted(open, paid, rejected)
from raw.claims as r
where r.claimed_at >= $start and r.claimed_at < $end
    -- The same id delivered again: the day it first happened keeps it, of one day the newest delivery.
    -- Of other days the 31 before are looked at: a day costs the same after ten years as after one.
    and not exists (
        select 1
        from raw.claims as e
        where e.claim_id = r.claim_id
            and e.claimed_at >= $start - interval 31 day and e.claimed_at < $end
            and cast(e.claimed_at as date) >= cast(r.claimed_at as date) - interval 31 day
            and (
                cast(e.claimed_at as date) < cast(r.claimed_at as date)
                or (cast(e.claimed_at as date) = cast(r.claimed_at as date) and e.dt > r.dt)
            )
    )
