-- A process that was found silent and sends a heartbeat all the same has not ended.
with mine as (
    insert into :schema.instances (service, instance, process, began, seen) values ($1, $2, $2, now(), now())
        on conflict (service, process) do update set seen = now(), ended = null
),
over as (
    update :schema.instances i
       set ended = now()
      from unnest($3::text[], $4::timestamptz[]) as silent(process, seen)
     where i.service = $1 and i.process = silent.process and i.seen = silent.seen and i.ended is null
    returning i.process
),
freed as (
    update :schema.wake_ups w
       set at = now(), holder = ''
     where w.service = $1 and w.holder <> '' and w.holder <> $2
       and (w.holder in (select process from over)
            or not exists (select from :schema.instances i
                            where i.service = $1 and i.process = w.holder and i.ended is null))
)
select clock_timestamp(), i.process, i.seen
  from (values (1)) as once
  left join :schema.instances i
         on i.service = $1 and i.process <> $2 and i.ended is null and i.process not in (select process from over)
