-- grain: as_of_on, person_id, item_id
-- partition: as_of_on
-- One row per consenting person and product on sale whose limits the person provably meets on that day (suitability).
-- Strict on purpose: a limit that cannot be checked is not met. Of a birth we know the year only, so a person of
-- calendar age n may still be n - 1: the youngest possible age must reach min_age and the oldest possible stay within
-- max_age. Without a birth year only products without age limits remain, without a declared income only those without
-- an income limit. The income is read through the gate of sensitive_profiling, to leave people out and for nothing else:
-- without that consent it counts as not declared. Trap: a person who may buy nothing has no row.
with person as (
    select
        g.person_id,
        year(cast($start as date)) - max(g.birth_year) as age_at_most,
        year(cast($start as date)) - max(g.birth_year)
        - case when month(cast($start as date)) = 12 and day(cast($start as date)) = 31 then 0 else 1 end as age_at_least,
        max(s.annual_income_fen) as annual_income_fen
    from staging.gate_profiling as g
    left join staging.gate_sensitive_profiling as s
        on s.as_of_on = g.as_of_on and s.partner = g.partner and s.subject_id = g.subject_id
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
    and (p.min_age is null or person.age_at_least >= p.min_age)
    and (p.max_age is null or person.age_at_most <= p.max_age)
    and (p.min_annual_income_fen is null or person.annual_income_fen >= p.min_annual_income_fen)
