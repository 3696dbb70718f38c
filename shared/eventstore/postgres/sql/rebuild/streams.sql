insert into :schema.streams (at, processed, version, processed_before, version_before, published, tenant, workflow, stream)
select m.at, e.processed, m.version, 0, 0, m.version, m.tenant, m.workflow, m.stream
  from (select tenant, workflow, stream, max(version) as version, max(at) as at from :schema.messages group by tenant, workflow, stream) m
  join (select tenant, workflow, stream, count(*) as processed from :schema.inbox group by tenant, workflow, stream) e
 using (tenant, workflow, stream)
