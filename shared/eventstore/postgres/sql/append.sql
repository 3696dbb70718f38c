-- The append: one statement, one round trip, one transaction (rules 1, 2, 5, 6 and 8 in
-- infra/decisions/0014-rules-of-the-record.md).
-- The appends are numbered; their inbox entries, messages and door messages carry that number and are joined to what was
-- accepted, so nothing of a refused append is stored. One that has a claim which is not on the record is refused. One whose proposed time is ahead of what it may be, or too old, is
-- refused like one whose stream has moved on: it is decided again.
with appends as materialized (
    select *
      from unnest(:append_arrays) with ordinality as a(:append_columns, n)
     where a.at <= greatest(now(), a.not_before) and a.at >= now() - make_interval(secs => :stale)
),
-- if claims
forged as materialized ( -- claims that are not on the record: this sees what was committed before
    select c.n, c.o
      from unnest(:claim_arrays) with ordinality as c(n, :claim_columns, o)
     where not :has_claim(c)
),
-- end if
-- if door messages
received as materialized (
    select *, sha256(coalesce(body, '')) as hash from unnest(:door_arrays) as d(n, :door_columns)
),
taken as materialized ( -- another message from outside has this identity: in another workflow, or with another body
    select r.n, r.causation_id, i.workflow, i.hash
      from received r join :schema.door_identities i on i.tenant = r.tenant and i.causation_id = r.causation_id
     where i.workflow <> r.workflow or i.hash <> r.hash
),
-- end if
upserted as ( -- in the order of their names, so that two appends never wait for each other in a ring
    insert into :schema.streams as s
           (at, tenant, workflow, stream, processed_before, version_before, processed, version, published)
    select a.at, a.tenant, a.workflow, a.stream, a.processed_before, a.version_before, a.processed, a.version, a.published
      from appends a
     where (a.processed_before = 0 and a.version_before = 0
            -- not `exists`: the planner may hash that, and read every stream there is
            or (select true from :schema.streams s
                 where s.tenant = a.tenant and s.workflow = a.workflow and s.stream = a.stream))
       -- if door messages
       and a.n not in (select n from taken)
       -- end if
       -- if claims
       and a.n <> all (array(select n from forged))
       -- end if
     order by a.tenant, a.workflow, a.stream
        on conflict (tenant, workflow, stream) do update
       set processed_before = excluded.processed_before, version_before = excluded.version_before,
           processed = excluded.processed, version = excluded.version, at = excluded.at,
           published = greatest(s.published, excluded.published)
     where s.processed = excluded.processed_before and s.version = excluded.version_before
    returning s.tenant, s.workflow, s.stream, s.published as published_now
),
accepted as materialized (
    select a.n, a.tenant, a.workflow, a.stream, a.at, a.wake_at, a.holder, a.keep_wake_up, a.version_before, published_now
      from appends a join upserted using (tenant, workflow, stream)
),
into_inbox as (
    insert into :schema.inbox (at, tenant, workflow, stream, :entry_columns)
    select a.at, a.tenant, a.workflow, a.stream, :entry_columns(e)
      from unnest(:entry_arrays) as e(n, :entry_columns) join accepted a using (n)
),
into_messages as (
    insert into :schema.messages (at, tenant, workflow, stream, :message_columns)
    select a.at, a.tenant, a.workflow, a.stream, :message_columns(m)
      from unnest(:message_arrays) as m(n, :message_columns) join accepted a using (n)
),
-- if door messages
into_door_identities as ( -- where two processes store the same message at once, one fails here and tries again
    insert into :schema.door_identities (tenant, causation_id, hash, workflow)
    select distinct on (r.tenant, r.causation_id) r.tenant, r.causation_id, r.hash, r.workflow
      from received r join accepted a using (n)
     where not exists (select from :schema.door_identities i where i.tenant = r.tenant and i.causation_id = r.causation_id)
     order by r.tenant, r.causation_id
    returning tenant, causation_id
),
into_door_messages as (
    insert into :schema.door_messages (at, :door_columns)
    select distinct on (r.tenant, r.causation_id) a.at, :door_columns(r)
      from received r join accepted a using (n)
      join into_door_identities i on i.tenant = r.tenant and i.causation_id = r.causation_id
     order by r.tenant, r.causation_id
),
-- end if
into_wake_ups as (
    insert into :schema.wake_ups as w (at, wanted, tenant, workflow, stream, service, holder)
    select wake_at, wake_at, tenant, workflow, stream, split_part(stream, '/', 1), holder
      from accepted
     where wake_at is not null and not keep_wake_up
        on conflict (tenant, workflow, stream) do update
       set at = excluded.at, wanted = excluded.wanted, holder = excluded.holder
),
out_of_wake_ups as (
    delete from :schema.wake_ups w using accepted a
     where a.wake_at is null and not a.keep_wake_up
       and w.tenant = a.tenant and w.workflow = a.workflow and w.stream = a.stream
),
unpublished as ( -- messages of these streams from before this append: they are published first
    select a.tenant, a.workflow, a.stream, :message_only(m)
      from accepted a
     cross join lateral (
           select * from :schema.messages m
            where m.tenant = a.tenant and m.workflow = a.workflow and m.stream = a.stream
              and m.version > a.published_now and m.version <= a.version_before
            offset 0) m
     where a.published_now < a.version_before
     order by a.n, m.version
)
select clock_timestamp(),
       (select array_agg(n) from accepted),
       -- if door messages
       (select array_agg(causation_id) from taken),
       (select array_agg(workflow) from taken),
       (select array_agg(hash) from taken),
       -- end if
       -- if no door messages
       null::uuid[],
       null::text[],
       null::bytea[],
       -- end if
       -- if claims
       (select array_agg(o) from forged),
       -- end if
       -- if no claims
       null::bigint[],
       -- end if
       unpublished.*
  from (values (1)) as once left join unpublished on true
