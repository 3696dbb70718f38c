select d.tenant, d.workflow, i.causation_id, i.workflow, i.hash
  from unnest($1::text[], $2::text[]) as w(tenant, workflow) join :schema.door_messages d using (tenant, workflow)
  join :schema.door_identities i on i.tenant = d.tenant and i.causation_id = d.causation_id
