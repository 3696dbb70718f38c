select :door(d)
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.door_messages d using (tenant, workflow)
 order by d.tenant, d.workflow, d."offset"
