select :message(m)
  from :schema.messages m
 where (m.xact, m.position) > ($1::xid8, $2::bigint) and m.xact < $3::xid8
 order by m.xact, m.position
 limit $4
