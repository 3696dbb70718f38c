select :message(m)
  from :schema.messages m
 where (m.tenant, m.workflow, m.stream, m.version) > ($1, $2, $3, $4::int) and m.xact < $5::xid8
 order by m.tenant, m.workflow, m.stream, m.version
 limit $6
