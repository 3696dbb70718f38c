-- The present epoch. A store that was restored is on another server, timeline or database than its last epoch was: then a new
-- one begins, whose tail is not compared yet.
with here as (
    select (select system_identifier from pg_control_system())
           || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
           || '/' || ':schema.messages'::regclass::oid as identity
), last as (
    select number, epoch, identity, compared from :schema.epochs order by number desc limit 1
), named as (
    update :schema.epochs e set identity = here.identity from here, last where e.number = last.number and last.identity = ''
), begun as (
    insert into :schema.epochs (epoch, identity)
    select gen_random_uuid()::text, here.identity from here, last where last.identity not in ('', here.identity)
    returning epoch, compared
)
select epoch, compared from begun union all select epoch, compared from last where not exists (select from begun)
