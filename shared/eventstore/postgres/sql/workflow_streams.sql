select :state(s), s.at, s.processed_before, s.version_before
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.streams s using (tenant, workflow)
 order by s.tenant, s.workflow, s.stream
