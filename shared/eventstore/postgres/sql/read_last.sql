select :message(m)
  from (select * from :schema.messages order by xact desc, position desc limit $2) m
 where m.kind = any($1::text[])
 order by m.xact, m.position
