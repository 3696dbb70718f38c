select :state(s)
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.streams s using (tenant, workflow)
 order by s.tenant, s.workflow, s.stream
