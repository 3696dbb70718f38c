with picked as materialized (
    select tenant, workflow, stream
      from :schema.wake_ups
     where service = $1 and at <= now()
     order by at
     limit $2
       for update skip locked
),
leased as (
    update :schema.wake_ups w
       set at = now() + make_interval(secs => $3::float8), holder = ''
      from picked p
     where w.tenant = p.tenant and w.workflow = p.workflow and w.stream = p.stream
    returning w.tenant, w.workflow, w.stream, w.wanted
)
select clock_timestamp() as now,
       (select extract(epoch from at - now())::float8
          from :schema.wake_ups where service = $1 and at > now() order by at limit 1) as until_next,
       (select count(*) from (select from :schema.wake_ups where service = $1 and at <= now() limit $2) as due) as due,
       leased.*, s.processed
  from (values (1)) as once left join leased on true left join :schema.streams s using (tenant, workflow, stream)
 order by leased.wanted
