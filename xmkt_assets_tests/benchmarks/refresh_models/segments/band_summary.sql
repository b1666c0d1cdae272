-- grain: band, as_of_on
-- partition: as_of_on
-- One row per band: how many people, what they paid.
select
    b.band, -- Band @accepted(buyer, first_order, browser, passer_by)
    b.as_of_on, -- Day whose end the row describes
    count(*) as people, -- People in the band @not_null
    cast(sum(a.paid_fen) as bigint) as paid_fen, -- Money they paid @not_null
    cast(sum(a.views) as bigint) as views -- Pages they saw @not_null
from segments.person_bands as b
inner join segments.person_activity as a on a.person_id = b.person_id and a.as_of_on = b.as_of_on
where b.as_of_on = cast($start as date)
group by b.band, b.as_of_on
