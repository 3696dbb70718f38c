-- Streams as they are, in one snapshot and one round trip. A row is a head (part 0), an event (1) or a hearing (2).
with wanted as materialized (
    select * from :wanted as w(tenant, workflow, stream, n)
)
select 0 as part, w.n::int as n, w.tenant, w.workflow, w.stream, h.processed, h.version,
       null::uuid, null::text, null::text, null::uuid, null::json, null::bytea, null::text,
       null::timestamptz, null::bigint, null::xid8, null::bool, h.published
  from wanted w join :schema.streams h using (tenant, workflow, stream)
union all
select 1, w.n::int, null, null, null, null, e.version,
       e.id, e.kind, e.topic, e.causation_id, e.data, e.hash, e.traceparent,
       e.at, e.position, e.xact, null, null
  from wanted w
 cross join lateral (
       select e.* from :schema.messages e
        where e.tenant = w.tenant and e.workflow = w.workflow and e.stream = w.stream
        order by e.version) e
union all
select 2, w.n::int, null, null, null, h.sequence, h.version_before,
       h.causation_id, h.kind, h.code, null, null, h.hash, h.policy,
       h.at, null, null, h.dead, h.attempt
  from wanted w
 cross join lateral (
       select h.* from :schema.inbox h
        where h.tenant = w.tenant and h.workflow = w.workflow and h.stream = w.stream
        order by h.causation_id, h.attempt) h
