select tenant, workflow, stream, count(*), max(version)
  from :schema.messages
 group by tenant, workflow, stream
having count(*) <> max(version)
 order by tenant, workflow, stream
