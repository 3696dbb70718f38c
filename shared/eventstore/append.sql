-- The append: one statement, one round trip, one transaction (design, section 6, rules 1, 2, 5 and 6).
-- Turns are numbered; their hearings, events and doors name the number. Nothing joins a turn that was not accepted. A turn
-- whose proposed time is ahead of what it may be, or long past, is none: it is decided anew.
with appends as materialized (
    select *
      from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[], $7::int[],
                  $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::bool[], $13::int[])
           with ordinality
        as t(tenant, workflow, stream, processed_before, version_before, processed, version, at, not_before, wake_at, holder, keep_wake_up, published, n)
     where t.at <= greatest(now(), t.not_before) and t.at >= now() - make_interval(secs => :stale)
),
--doors
brought as materialized (
    select *
      from unnest($33::int[], $34::text[], $35::text[], $36::uuid[], $37::text[], $38::int[], $39::bigint[],
                  $40::timestamptz[], $41::bytea[], $42::json[], $43::bytea[])
        as d(n, tenant, workflow, causation_id, topic, partition, "offset", broker_at, key, headers, body)
),
foul as materialized ( -- the id of something else that came from outside
    select distinct b.n
      from brought b join :schema.door_messages d using (tenant, workflow, causation_id)
     where (d.topic, d.body) is distinct from (b.topic, b.body)
),
--/doors
upserted as ( -- in the order of their names, so that two appends never wait for each other in a ring
    insert into :schema.streams as s
           (at, tenant, workflow, stream, processed_before, version_before, processed, version, published)
    select t.at, t.tenant, t.workflow, t.stream, t.processed_before, t.version_before, t.processed, t.version, t.published
      from appends t
     where (t.processed_before = 0 and t.version_before = 0
            -- not `exists`: the planner may hash that, and read every head there is
            or (select true from :schema.streams h
                 where h.tenant = t.tenant and h.workflow = t.workflow and h.stream = t.stream))
       --doors
       and t.n not in (select n from foul)
       --/doors
     order by t.tenant, t.workflow, t.stream
        on conflict (tenant, workflow, stream) do update
       set processed_before = excluded.processed_before, version_before = excluded.version_before,
           processed = excluded.processed, version = excluded.version, at = excluded.at,
           published = greatest(s.published, excluded.published)
     where s.processed = excluded.processed_before and s.version = excluded.version_before
    returning s.tenant, s.workflow, s.stream, s.published as marked
),
accepted as materialized (
    select t.n, t.tenant, t.workflow, t.stream, t.at, t.wake_at, t.holder, t.keep_wake_up, t.version_before, marked
      from appends t join upserted using (tenant, workflow, stream)
),
into_inbox as (
    insert into :schema.inbox
           (at, tenant, workflow, stream, causation_id, sequence, version_before, kind, hash, code, policy, dead, attempt)
    select c.at, c.tenant, c.workflow, c.stream,
           h.causation_id, h.sequence, h.version_before, h.kind, h.hash, h.code, h.policy, h.dead, h.attempt
      from unnest($14::int[], $15::uuid[], $16::int[], $17::int[], $18::text[],
                  $19::bytea[], $20::text[], $21::text[], $22::bool[], $23::int[])
        as h(n, causation_id, sequence, version_before, kind, hash, code, policy, dead, attempt)
      join accepted c using (n)
),
into_messages as (
    insert into :schema.messages
           (at, tenant, workflow, stream, version, id, kind, topic, causation_id, data, hash, traceparent)
    select c.at, c.tenant, c.workflow, c.stream, e.version, e.id, e.kind, e.topic, e.causation_id, e.data, e.hash, e.traceparent
      from unnest($24::int[], $25::int[], $26::uuid[], $27::text[], $28::text[], $29::uuid[], $30::json[],
                  $31::bytea[], $32::text[])
        as e(n, version, id, kind, topic, causation_id, data, hash, traceparent)
      join accepted c using (n)
),
--doors
into_door_messages as ( -- where two hearers bring the same at once, one fails here and comes again
    insert into :schema.door_messages
           (at, tenant, workflow, causation_id, topic, partition, "offset", broker_at, key, headers, body)
    select distinct on (b.tenant, b.workflow, b.causation_id)
           c.at, b.tenant, b.workflow, b.causation_id, b.topic, b.partition, b."offset", b.broker_at, b.key, b.headers, b.body
      from brought b join accepted c using (n)
     where not exists (select from :schema.door_messages d
                        where d.tenant = b.tenant and d.workflow = b.workflow and d.causation_id = b.causation_id)
     order by b.tenant, b.workflow, b.causation_id
),
--/doors
into_wake_ups as (
    insert into :schema.wake_ups as d (at, wanted, tenant, workflow, stream, service, holder)
    select wake_at, wake_at, tenant, workflow, stream, split_part(stream, '/', 1), holder from accepted where wake_at is not null and not keep_wake_up
        on conflict (tenant, workflow, stream) do update
       set at = excluded.at, wanted = excluded.wanted, holder = excluded.holder
),
out_of_wake_ups as (
    delete from :schema.wake_ups d using accepted c
     where c.wake_at is null and not c.keep_wake_up and d.tenant = c.tenant and d.workflow = c.workflow and d.stream = c.stream
),
earlier as ( -- said before by these streams and not yet published: goes first
    select c.tenant, c.workflow, c.stream, e.version, e.id, e.kind, e.topic, e.causation_id, e.data, e.hash, e.traceparent,
           e.at, e.position, e.xact
      from accepted c
     cross join lateral (
           select * from :schema.messages e
            where e.tenant = c.tenant and e.workflow = c.workflow and e.stream = c.stream
              and e.version > c.marked and e.version <= c.version_before
            offset 0) e
     where c.marked < c.version_before
     order by c.n, e.version
)
select clock_timestamp(), (select array_agg(n) from accepted), :foul, earlier.*
  from (values (1)) as once left join earlier on true
