-- check: campaigns.campaign_list
-- Nobody is on a campaign's list and among those left out of it. Plan the campaign again: its two tables come from
-- different plans.
select
    l.campaign_id,
    l.person_id,
    e.rule
from campaigns.campaign_list as l
inner join campaigns.exclusions as e on e.campaign_id = l.campaign_id and e.person_id = l.person_id
