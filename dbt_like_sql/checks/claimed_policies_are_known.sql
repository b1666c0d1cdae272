-- check: segments.risk_examples
-- severity: warn
-- Every claim is on a policy of which an issue or a renewal arrived. Claims on policies never seen raise the claim rate
-- of people who seem uninsured. Ask the insurer for the policy's events; those before the sharing agreement count too.
select
    c.claim_id,
    c.policy_id,
    c.claimed_on
from staging.claims as c
where not exists (
    select 1
    from staging.policies as p
    where p.policy_id = c.policy_id and p.event in ('issued', 'renewed')
)
