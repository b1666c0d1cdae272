-- check: staging.identity_links
-- severity: warn
-- Every identifier is of a kind and under a key of the sharing agreement. Others join nobody: add the kind or the key to
-- the agreement, or ask the partner for the agreed ones.
select i.partner, i.kind, i.key_version, count(*) as identifiers
from staging.identifiers as i
left join staging.hash_keys as k on i.key_version = k.version
left join staging.identifier_rules as r on i.kind = r.kind
where k.version is null or r.kind is null
group by i.partner, i.kind, i.key_version
