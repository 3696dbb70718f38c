with old as (
    delete from :schema.answers a
     where a.ctid = any(array(
        select ctid from :schema.answers
          where at < now() - make_interval(secs => $5::float8) and key <> all($2) order by at limit 100))
)
insert into :schema.answers as a (at, tenant, key, workflow, stream)
select now(), g.* from unnest($1::text[], $2::bytea[], $3::text[], $4::text[]) as g(tenant, key, workflow, stream)
 order by 2, 3
    on conflict (tenant, key) do update set at = now(), workflow = excluded.workflow, stream = excluded.stream
