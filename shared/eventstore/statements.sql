-- name: published
-- Waits for no disk: what a crash brings back is only said again. In the order in which appends take the same rows.
with hurried as materialized (select set_config('synchronous_commit', 'off', true)),
     taken as materialized (
    select h.tenant, h.workflow, h.stream, a.version
      from unnest($1::text[], $2::text[], $3::text[], $4::int[]) as a(tenant, workflow, stream, version), :schema.streams h, hurried
     where h.tenant = a.tenant and h.workflow = a.workflow and h.stream = a.stream and h.published < a.version
     order by h.tenant, h.workflow, h.stream
       for update of h
)
update :schema.streams h
   set published = greatest(h.published, t.version)
  from taken t
 where h.tenant = t.tenant and h.workflow = t.workflow and h.stream = t.stream

-- name: claim
with picked as materialized (
    select tenant, workflow, stream
      from :schema.wake_ups
     where service = $1 and at <= now()
     order by at
     limit $2
       for update skip locked
),
leased as (
    update :schema.wake_ups d
       set at = now() + make_interval(secs => $3::float8), holder = ''
      from picked p
     where d.tenant = p.tenant and d.workflow = p.workflow and d.stream = p.stream
    returning d.tenant, d.workflow, d.stream, d.wanted
)
select clock_timestamp(),
       (select extract(epoch from at - now())::float8
          from :schema.wake_ups where service = $1 and at > now() order by at limit 1),
       (select count(*) from (select from :schema.wake_ups where service = $1 and at <= now() limit $2) as overdue),
       leased.*, h.processed
  from (values (1)) as once left join leased on true left join :schema.streams h using (tenant, workflow, stream)
 order by leased.wanted

-- name: alive
-- Whoever was found silent and gives a sign all the same has not ended.
with mine as (
    insert into :schema.instances (service, instance, process, began, seen) values ($1, $2, $2, now(), now())
        on conflict (service, process) do update set seen = now(), ended = null
),
over as (
    update :schema.instances i
       set ended = now()
      from unnest($3::text[], $4::timestamptz[]) as silent(process, seen)
     where i.service = $1 and i.process = silent.process and i.seen = silent.seen and i.ended is null
    returning i.process
),
freed as (
    update :schema.wake_ups d
       set at = now(), holder = ''
     where d.service = $1 and d.holder <> '' and d.holder <> $2
       and (d.holder in (select process from over)
            or not exists (select from :schema.instances i
                            where i.service = $1 and i.process = d.holder and i.ended is null))
)
select clock_timestamp(), i.process, i.seen
  from (values (1)) as once
  left join :schema.instances i
         on i.service = $1 and i.process <> $2 and i.ended is null and i.process not in (select process from over)

-- name: attempts
insert into :schema.attempts as a (at, attempts, service, topic, partition, "offset")
select now(), 1, $1, r.* from unnest($2::text[], $3::int[], $4::bigint[]) as r(topic, partition, "offset") order by 4, 5, 6
    on conflict (service, topic, partition, "offset") do update set attempts = a.attempts + 1, at = now()
returning topic, partition, "offset", attempts

-- name: began
with earlier as materialized (
    select process from :schema.instances where service = $1 and instance = $2 and process <> $3 and ended is null
),
over as (
    update :schema.instances i
       set ended = now()
      from earlier e
     where i.service = $1 and i.process = e.process and ($4 or abs(extract(epoch from now() - i.seen)) > 60)
),
freed as (
    update :schema.wake_ups d set at = now(), holder = '' from earlier e where $4 and d.service = $1 and d.holder = e.process
),
forgotten as (
    delete from :schema.instances where service = $1 and ended < now() - interval '1 day'
),
noted as (
    insert into :schema.instances (service, instance, process, began, seen) values ($1, $2, $3, now(), now())
)
select exists (select from earlier)

-- name: ended
with over as (
    update :schema.instances set ended = now() where service = $1 and process = $2
)
update :schema.wake_ups set at = now(), holder = '' where service = $1 and holder = $2

-- name: unpublished
with waiting as materialized (
    select at, tenant, workflow, stream, published
      from :schema.streams
     where split_part(stream, '/', 1) = $1::text and published < version
       and (at <= now() - make_interval(secs => $2::float8) or at > now())
     order by at
     limit $3
)
select :message
  from waiting w join :schema.messages e using (tenant, workflow, stream)
 where e.version > w.published
 order by w.at, e.tenant, e.workflow, e.stream, e.version
 limit $3

-- name: hearings
select :entry from :schema.inbox h where tenant = $1 and workflow = $2 and stream = $3 order by sequence

-- name: doors
select :door
  from :schema.door_messages d where tenant = $1 and workflow = $2 and (causation_id = any($3::uuid[]) or $3::uuid[] = '{}')

-- name: events
select :message from :schema.messages e where id = any($1::uuid[])

-- name: last
select :message
  from (select * from :schema.messages order by xact desc, position desc limit $2) e
 where e.kind = any($1::text[])
 order by e.xact, e.position

-- name: keep_policy
insert into :schema.policies (service, version, data) values ($1, $2, $3) on conflict (service, version) do nothing

-- name: policies
select p.service, p.version, p.data
  from :schema.policies p join unnest($1::text[], $2::text[]) as w(service, version) using (service, version)

-- name: settled
select (select epoch from :schema.epochs order by number desc limit 1),
       pg_snapshot_xmin(pg_current_snapshot()),
       coalesce((select xact >= pg_snapshot_xmax(pg_current_snapshot())
                   from :schema.messages order by xact desc, position desc limit 1), false)

-- name: everything
select :message
  from :schema.messages e
 where (e.xact, e.position) > ($1::xid8, $2::bigint) and e.xact < $3::xid8
 order by e.xact, e.position
 limit $4

-- name: by_stream
select :message
  from :schema.messages e
 where (e.tenant, e.workflow, e.stream, e.version) > ($1, $2, $3, $4::int) and e.xact < $5::xid8
 order by e.tenant, e.workflow, e.stream, e.version
 limit $6

-- name: size
select greatest(pg_stat_get_live_tuples(oid), reltuples::bigint, 0) from pg_class where oid = to_regclass($1)

-- name: workflows
-- From name to name by the index: a workflow costs the same whatever its number of events.
with recursive named as (
    (select tenant, workflow from :schema.messages
      where (tenant, workflow) > ($1, $2) order by tenant, workflow limit 1)
     union all
    select n.tenant, n.workflow
      from named cross join lateral (
           select tenant, workflow from :schema.messages e
            where (e.tenant, e.workflow) > (named.tenant, named.workflow) order by e.tenant, e.workflow limit 1) n
),
page as materialized (select * from named limit $5)
select p.tenant, p.workflow, coalesce(sum(h.version), 0)::bigint, coalesce(sum(h.processed), 0)::bigint,
       exists (select from :schema.messages e
                where e.tenant = p.tenant and e.workflow = p.workflow and e.xact < $3::xid8
                  and ($4::timestamptz is null or e.at >= $4))
  from page p left join :schema.streams h using (tenant, workflow)
 group by p.tenant, p.workflow
 order by p.tenant, p.workflow

-- name: whole_heads
select h.tenant, h.workflow, h.stream, h.processed, h.version
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.streams h using (tenant, workflow)
 order by h.tenant, h.workflow, h.stream

-- name: whole_events
select :message
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.messages e using (tenant, workflow)
 order by e.tenant, e.workflow, e.stream, e.version

-- name: whole_hearings
select h.tenant, h.workflow, h.stream, :entry
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.inbox h using (tenant, workflow)
 order by h.tenant, h.workflow, h.stream, h.sequence

-- name: whole_doors
select :door
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.door_messages d using (tenant, workflow)
 order by d.tenant, d.workflow, d."offset"

-- name: reader_lag
select coalesce(extract(epoch from now() - least(
           (select min(xact_start) from pg_stat_activity where backend_xid is not null),
           (select min(prepared) from pg_prepared_xacts),
           (select at from :schema.messages where xact >= pg_snapshot_xmin(pg_current_snapshot())
             order by xact, position limit 1))), 0)::float8

-- name: outbox_age
select coalesce(extract(epoch from now() - (
           select at from :schema.streams
            where split_part(stream, '/', 1) = $1::text and published < version order by at limit 1)), 0)::float8

-- name: remember
with old as (
    delete from :schema.answers a
     where a.ctid = any(array(
        select ctid from :schema.answers
          where at < now() - make_interval(secs => $5::float8) and key <> all($2) order by at limit 100))
)
insert into :schema.answers as a (at, tenant, key, workflow, stream)
select now(), g.* from unnest($1::text[], $2::bytea[], $3::text[], $4::text[]) as g(tenant, key, workflow, stream)
 order by 2, 3
    on conflict (tenant, key) do update set at = now(), workflow = excluded.workflow, stream = excluded.stream

-- name: remembered
select :message
  from :schema.answers a
  join :schema.messages e on e.tenant = a.tenant and e.workflow = a.workflow and e.stream = a.stream
 where a.tenant = $1 and a.key = $2 and e.kind = $3
   and not exists (select from :schema.messages u
                    where u.tenant = a.tenant and u.workflow = a.workflow and u.stream = a.stream and u.kind = $4)
 order by e.version desc
 limit 1
