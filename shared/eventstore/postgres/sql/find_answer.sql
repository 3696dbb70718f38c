select :message(m)
  from :schema.answers a
  join :schema.messages m on m.tenant = a.tenant and m.workflow = a.workflow and m.stream = a.stream
 where a.tenant = $1 and a.key = $2 and m.kind = $3
   and not exists (select from :schema.messages u
                    where u.tenant = a.tenant and u.workflow = a.workflow and u.stream = a.stream and u.kind = $4)
 order by m.version desc
 limit 1
