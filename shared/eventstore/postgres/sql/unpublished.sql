with waiting as materialized (
    select at, tenant, workflow, stream, published
      from :schema.streams
     where split_part(stream, '/', 1) = $1::text and published < version
       and (at <= now() - make_interval(secs => $2::float8) or at > now())
     order by at
     limit $3
)
select :message(m)
  from waiting w join :schema.messages m using (tenant, workflow, stream)
 where m.version > w.published
 order by w.at, m.tenant, m.workflow, m.stream, m.version
 limit $3
