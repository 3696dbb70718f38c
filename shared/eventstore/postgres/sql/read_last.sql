select :message(m)
  from (select distinct unnest($1::text[]) collate "C" as kind) k
 cross join lateral (
       select *
         from :schema.messages
        where kind = k.kind and ($3::text = '' or tenant = $3::text)
        order by xact desc, position desc
        limit $2
       ) m
 order by m.xact, m.position
