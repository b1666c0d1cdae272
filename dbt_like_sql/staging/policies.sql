-- grain: policy_event_id
-- partition: occurred_on
-- mapping: same day
-- One row per event in the life of a policy: issued, renewed for a further term, cancelled. One policy has several rows.
select
    policy_event_id, -- Unique id of the event
    policy_id, -- Id of the policy @not_null
    order_id, -- Id of the purchase occasion; policies bought together share it @not_null
    customer_id, -- Policy holder, by the insurer's id @not_null
    product_id, -- What was bought @not_null
    event, -- What happened @accepted(issued, renewed, cancelled)
    occurred_at, -- When it happened (UTC) @not_null
    cast(occurred_at as date) as occurred_on, -- Day it happened (UTC) @not_null
    term_start_on, -- First day covered by this term
    term_end_on, -- Last day covered by this term
    premium_fen, -- Premium of this term; empty where not shared
    sum_insured_fen -- Sum insured; empty where not shared
from raw.policies as r
where r.occurred_at >= $start and r.occurred_at < $end
    -- The same id delivered again: the day it first happened keeps it, of one day the newest delivery.
    -- Of other days the 31 before are looked at: a day costs the same after ten years as after one.
    and not exists (
        select 1
        from raw.policies as e
        where e.policy_event_id = r.policy_event_id
            and e.occurred_at >= $start - interval 31 day and e.occurred_at < $end
            and cast(e.occurred_at as date) >= cast(r.occurred_at as date) - interval 31 day
            and (
                cast(e.occurred_at as date) < cast(r.occurred_at as date)
                or (cast(e.occurred_at as date) = cast(r.occurred_at as date) and e.dt > r.dt)
            )
    )
