-- grain: as_of_on, person_id
-- partition: as_of_on
-- One row per person who consented to profiling and, separately, to the use of sensitive data for it, as of the end of
-- the day: claims, claim risk, declared income. Apart from segments.person_profile so that nothing sensitive reaches
-- recommenders, campaigns or the published file. Behaviour is everything that happened strictly before $end.
-- Trap: somebody without a row may well have claims; they did not consent. claim_risk_band 'unknown' (insured, but the
-- risk could not be estimated: see segments.claim_risk.reason) is not 'uninsured'.
with person as (
    select g.person_id, max(g.annual_income_fen) as annual_income_fen
    from staging.gate_sensitive_profiling as g
    where g.as_of_on = cast($start as date)
    group by g.person_id
),
claims as (
    select
        g.person_id,
        count(*) as claims,
        sum(c.claimed_fen) as claimed_fen,
        max(c.claimed_at) as last_at
    from staging.claims as c
    inner join staging.gate_sensitive_profiling as g
        on g.partner = 'insurer' and g.subject_id = c.customer_id and g.as_of_on = cast($start as date)
    where c.claimed_at < $end
    group by g.person_id
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    p.person_id, -- Person who consented to the use of sensitive data @not_null
    cast(coalesce(c.claims, 0) as bigint) as claim_count, -- Claims reported @not_null
    cast(coalesce(c.claimed_fen, 0) as bigint) as claimed_fen, -- Amount claimed @not_null
    date_diff('day', cast(c.last_at as date), cast($start as date)) as days_since_claim, -- Days since the last claim; empty = never
    k.claim_risk_share, -- Probability of at least one claim in the next 60 days; empty where unknown or uninsured
    coalesce(k.claim_risk_band, 'uninsured') as claim_risk_band, -- The probability against that of all insured people @not_null @accepted(low, medium, high, unknown, uninsured)
    p.annual_income_fen -- Declared yearly income; empty where not declared
from person as p
left join claims as c on c.person_id = p.person_id
left join segments.claim_risk as k on k.as_of_on = cast($start as date) and k.person_id = p.person_id
