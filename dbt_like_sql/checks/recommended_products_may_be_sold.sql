-- check: recommenders.product_recommendations
-- Every recommended product is one the person may buy, by recommenders.product_eligibility of the same day (suitability).
-- Rebuild the day named: its recommendations are older than its eligibility, or the model ignored it.
select
    r.as_of_on,
    r.person_id,
    r.item_id
from recommenders.product_recommendations as r
where r.as_of_on >= cast($start as date) and r.as_of_on < cast($end as date)
    and not exists (
        select 1
        from recommenders.product_eligibility as e
        where e.as_of_on = r.as_of_on and e.person_id = r.person_id and e.item_id = r.item_id
    )
