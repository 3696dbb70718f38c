-- The append: one statement, one round trip, one transaction (design, section 6, rules 1, 2, 5 and 6).
-- Turns are numbered; their hearings, events and doors name the number. Nothing joins a turn that was not accepted. A turn
-- whose proposed time is ahead of what it may be, or long past, is none: it is decided anew.
with turns as materialized (
    select *
      from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[], $7::int[],
                  $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::bool[], $13::int[])
           with ordinality
        as t(tenant, workflow, stream, heard_before, version_before, heard, version, at, floor, due, holder, keep, published, n)
     where t.at <= greatest(now(), t.floor) and t.at >= now() - make_interval(secs => :stale)
),
--doors
brought as materialized (
    select *
      from unnest($33::int[], $34::text[], $35::text[], $36::uuid[], $37::text[], $38::int[], $39::bigint[],
                  $40::timestamptz[], $41::bytea[], $42::json[], $43::bytea[])
        as d(n, tenant, workflow, cause, topic, partition, "offset", broker_at, key, headers, body)
),
foul as materialized ( -- the id of something else that came from outside
    select distinct b.n
      from brought b join :schema.doors d using (tenant, workflow, cause)
     where (d.topic, d.body) is distinct from (b.topic, b.body)
),
--/doors
accepted as ( -- in the order of their names, so that two appends never wait for each other in a ring
    insert into :schema.heads as head
           (at, tenant, workflow, stream, heard_before, version_before, heard, version, published)
    select t.at, t.tenant, t.workflow, t.stream, t.heard_before, t.version_before, t.heard, t.version, t.published
      from turns t
     where (t.heard_before = 0 and t.version_before = 0
            -- not `exists`: the planner may hash that, and read every head there is
            or (select true from :schema.heads h
                 where h.tenant = t.tenant and h.workflow = t.workflow and h.stream = t.stream))
       --doors
       and t.n not in (select n from foul)
       --/doors
     order by t.tenant, t.workflow, t.stream
        on conflict (tenant, workflow, stream) do update
       set heard_before = excluded.heard_before, version_before = excluded.version_before,
           heard = excluded.heard, version = excluded.version, at = excluded.at,
           published = greatest(head.published, excluded.published)
     where head.heard = excluded.heard_before and head.version = excluded.version_before
    returning head.tenant, head.workflow, head.stream, head.published as marked
),
chosen as materialized (
    select t.n, t.tenant, t.workflow, t.stream, t.at, t.due, t.holder, t.keep, t.version_before, marked
      from turns t join accepted using (tenant, workflow, stream)
),
into_hearings as (
    insert into :schema.hearings
           (at, tenant, workflow, stream, cause, sequence, before, kind, hash, code, policy, dead, attempt)
    select c.at, c.tenant, c.workflow, c.stream,
           h.cause, h.sequence, h.before, h.kind, h.hash, h.code, h.policy, h.dead, h.attempt
      from unnest($14::int[], $15::uuid[], $16::int[], $17::int[], $18::text[],
                  $19::bytea[], $20::text[], $21::text[], $22::bool[], $23::int[])
        as h(n, cause, sequence, before, kind, hash, code, policy, dead, attempt)
      join chosen c using (n)
),
into_events as (
    insert into :schema.events
           (at, tenant, workflow, stream, version, id, kind, topic, cause, data, hash, traceparent)
    select c.at, c.tenant, c.workflow, c.stream, e.version, e.id, e.kind, e.topic, e.cause, e.data, e.hash, e.traceparent
      from unnest($24::int[], $25::int[], $26::uuid[], $27::text[], $28::text[], $29::uuid[], $30::json[],
                  $31::bytea[], $32::text[])
        as e(n, version, id, kind, topic, cause, data, hash, traceparent)
      join chosen c using (n)
),
--doors
into_doors as ( -- where two hearers bring the same at once, one fails here and comes again
    insert into :schema.doors
           (at, tenant, workflow, cause, topic, partition, "offset", broker_at, key, headers, body)
    select distinct on (b.tenant, b.workflow, b.cause)
           c.at, b.tenant, b.workflow, b.cause, b.topic, b.partition, b."offset", b.broker_at, b.key, b.headers, b.body
      from brought b join chosen c using (n)
     where not exists (select from :schema.doors d
                        where d.tenant = b.tenant and d.workflow = b.workflow and d.cause = b.cause)
     order by b.tenant, b.workflow, b.cause
),
--/doors
into_due as (
    insert into :schema.due as d (at, wanted, tenant, workflow, stream, service, holder)
    select due, due, tenant, workflow, stream, split_part(stream, '/', 1), holder from chosen where due is not null and not keep
        on conflict (tenant, workflow, stream) do update
       set at = excluded.at, wanted = excluded.wanted, holder = excluded.holder
),
out_of_due as (
    delete from :schema.due d using chosen c
     where c.due is null and not c.keep and d.tenant = c.tenant and d.workflow = c.workflow and d.stream = c.stream
),
earlier as ( -- said before by these streams and not yet published: goes first
    select c.tenant, c.workflow, c.stream, e.version, e.id, e.kind, e.topic, e.cause, e.data, e.hash, e.traceparent,
           e.at, e.position, e.xact
      from chosen c
     cross join lateral (
           select * from :schema.events e
            where e.tenant = c.tenant and e.workflow = c.workflow and e.stream = c.stream
              and e.version > c.marked and e.version <= c.version_before
            offset 0) e
     where c.marked < c.version_before
     order by c.n, e.version
)
select clock_timestamp(), (select array_agg(n) from chosen), :foul, earlier.*
  from (values (1)) as once left join earlier on true
