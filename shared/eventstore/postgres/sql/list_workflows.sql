-- From name to name by the index: a workflow costs the same whatever its number of messages. Each table is asked, so that a row
-- without its others is found.
with recursive named as (
    (select * from (
        (select tenant, workflow from :schema.messages where (tenant, workflow) > ($1, $2) order by tenant, workflow limit 1)
         union all
        (select tenant, workflow from :schema.inbox where (tenant, workflow) > ($1, $2) order by tenant, workflow limit 1)
         union all
        (select tenant, workflow from :schema.door_messages where (tenant, workflow) > ($1, $2) order by tenant, workflow limit 1)
         union all
        (select tenant, workflow from :schema.streams where (tenant, workflow) > ($1, $2) order by tenant, workflow limit 1)) first
      order by tenant, workflow limit 1)
     union all
    select n.tenant, n.workflow
      from named cross join lateral (
           select * from (
              (select tenant, workflow from :schema.messages t
                where (t.tenant, t.workflow) > (named.tenant, named.workflow) order by tenant, workflow limit 1)
               union all
              (select tenant, workflow from :schema.inbox t
                where (t.tenant, t.workflow) > (named.tenant, named.workflow) order by tenant, workflow limit 1)
               union all
              (select tenant, workflow from :schema.door_messages t
                where (t.tenant, t.workflow) > (named.tenant, named.workflow) order by tenant, workflow limit 1)
               union all
              (select tenant, workflow from :schema.streams t
                where (t.tenant, t.workflow) > (named.tenant, named.workflow) order by tenant, workflow limit 1)) next
            order by tenant, workflow limit 1) n
),
page as materialized (select * from named limit $4)
select p.tenant, p.workflow, coalesce(sum(s.version), 0)::bigint, coalesce(sum(s.processed), 0)::bigint,
       $3::timestamptz is null
       or exists (select from :schema.messages t where t.tenant = p.tenant and t.workflow = p.workflow and t.at >= $3)
       or exists (select from :schema.inbox t where t.tenant = p.tenant and t.workflow = p.workflow and t.at >= $3)
       or exists (select from :schema.door_messages t where t.tenant = p.tenant and t.workflow = p.workflow and t.at >= $3)
       or exists (select from :schema.streams t where t.tenant = p.tenant and t.workflow = p.workflow and t.at >= $3)
  from page p left join :schema.streams s using (tenant, workflow)
 group by p.tenant, p.workflow
 order by p.tenant, p.workflow
