select :message(m)
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.messages m using (tenant, workflow)
 order by m.tenant, m.workflow, m.stream, m.version
