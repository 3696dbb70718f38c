-- From name to name by the index: a workflow costs the same whatever its number of messages.
with recursive named as (
    (select tenant, workflow from :schema.messages
      where (tenant, workflow) > ($1, $2) order by tenant, workflow limit 1)
     union all
    select n.tenant, n.workflow
      from named cross join lateral (
           select tenant, workflow from :schema.messages m
            where (m.tenant, m.workflow) > (named.tenant, named.workflow) order by m.tenant, m.workflow limit 1) n
),
page as materialized (select * from named limit $5)
select p.tenant, p.workflow, coalesce(sum(s.version), 0)::bigint, coalesce(sum(s.processed), 0)::bigint,
       exists (select from :schema.messages m
                where m.tenant = p.tenant and m.workflow = p.workflow and m.xact < $3::xid8
                  and ($4::timestamptz is null or m.at >= $4))
  from page p left join :schema.streams s using (tenant, workflow)
 group by p.tenant, p.workflow
 order by p.tenant, p.workflow
