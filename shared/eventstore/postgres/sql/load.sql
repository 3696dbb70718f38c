-- Streams as they are, in one snapshot and one round trip. A row is a stream (part 0), a message (1) or an inbox entry (2).
with asked as materialized (
    select * from :asked as a(tenant, workflow, stream, n)
)
select 0 as part, a.n::int as n, :part_stream(s)
  from asked a join :schema.streams s using (tenant, workflow, stream)
union all
select 1, a.n::int, :part_message(m)
  from asked a
 cross join lateral (
       select m.* from :schema.messages m
        where m.tenant = a.tenant and m.workflow = a.workflow and m.stream = a.stream
        order by m.version) m
union all
select 2, a.n::int, :part_entry(e)
  from asked a
 cross join lateral (
       select e.* from :schema.inbox e
        where e.tenant = a.tenant and e.workflow = a.workflow and e.stream = a.stream
        order by e.causation_id, e.attempt) e
