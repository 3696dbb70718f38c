-- A page of all messages, the newest first, and of each whether a broker has acknowledged it.
select :message(m), m.version <= s.published as published
  from (select * from :schema.messages m
         where (m.xact, m.position) < ($1::xid8, $2::bigint) order by m.xact desc, m.position desc limit $3) m
  join :schema.streams s using (tenant, workflow, stream)
 order by m.xact desc, m.position desc
