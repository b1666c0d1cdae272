-- grain: as_of_on, person_id, item_id
-- partition: as_of_on
-- One row per consenting person and product on sale whose limits the person provably meets on that day (suitability).
-- Strict on purpose: a limit that cannot be checked is not met. Of a birth we know the year only, so a person of
-- calendar age n may still be n - 1: the youngest possible age must reach min_age and the oldest possible stay within
-- max_age. Without a birth year only products without age limits remain, without a declared income only those without
-- an income limit. Trap: a person who may buy nothing has no row.
with person as (
    select
        g.person_id,
        year(cast($start as date)) - max(g.birth_year) as age_at_most,
        max(g.annual_income_fen) as annual_income_fen
    from staging.gate_profiling as g
    where g.as_of_on = cast($start as date)
    group by g.person_id
)

select
    cast($start as date) as as_of_on, -- Day on which the limits are met
    person.person_id, -- Who may buy
    p.product_id as item_id -- What may be offered @references(recommenders.product_items.item_id)
from person
cross join staging.products as p
where
    p.is_on_sale
    and (p.min_age is null or person.age_at_most - 1 >= p.min_age)
    and (p.max_age is null or person.age_at_most <= p.max_age)
    and (p.min_annual_income_fen is null or person.annual_income_fen >= p.min_annual_income_fen)
