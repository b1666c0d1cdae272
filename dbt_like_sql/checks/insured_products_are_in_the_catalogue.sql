-- check: segments.person_interests
-- severity: warn
-- Every product with a policy is in the catalogue. An unknown product has no topics and no limits, so its buyers'
-- interests miss it and nobody can be recommended it. Ask the insurer for the product in its products feed.
select
    p.product_id,
    count(*) as policy_events,
    max(p.occurred_on) as last_occurred_on
from staging.policies as p
where not exists (
    select 1
    from staging.products as c
    where c.product_id = p.product_id
)
group by p.product_id
