select e.tenant, e.workflow, e.stream, :entry(e)
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.inbox e using (tenant, workflow)
 order by e.tenant, e.workflow, e.stream, e.sequence
