-- Does not wait for the disk: what a crash loses here is only published again. Takes the rows in the order in which
-- appends take them.
with unsynced as materialized (select set_config('synchronous_commit', 'off', true)),
     taken as materialized (
    select s.tenant, s.workflow, s.stream, a.version
      from unnest($1::text[], $2::text[], $3::text[], $4::int[]) as a(tenant, workflow, stream, version), :schema.streams s, unsynced
     where s.tenant = a.tenant and s.workflow = a.workflow and s.stream = a.stream and s.published < a.version
     order by s.tenant, s.workflow, s.stream
       for update of s
)
update :schema.streams s
   set published = greatest(s.published, t.version)
  from taken t
 where s.tenant = t.tenant and s.workflow = t.workflow and s.stream = t.stream
