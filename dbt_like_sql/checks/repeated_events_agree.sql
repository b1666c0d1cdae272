-- check: staging.duplicate_events
-- severity: warn
-- An event delivered twice says the same both times. Where it does not, staging keeps the day it first happened, and of
-- one day the newest delivery; only the partner knows which is right. Ask it to withdraw the other.
select
    d.table_name,
    d.event_id,
    d.kept_on,
    d.happened_on,
    d.delivered_on
from staging.duplicate_events as d
where not d.is_identical
