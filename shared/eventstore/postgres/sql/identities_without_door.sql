select i.tenant, i.causation_id, i.workflow
  from :schema.door_identities i
 where not exists (select from :schema.door_messages d
                    where d.tenant = i.tenant and d.workflow = i.workflow and d.causation_id = i.causation_id)
 order by i.tenant, i.causation_id
 limit $1
