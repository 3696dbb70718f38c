with earlier as materialized (
    select process from :schema.instances where service = $1 and instance = $2 and process <> $3 and ended is null
),
over as (
    update :schema.instances i
       set ended = now()
      from earlier e
     where i.service = $1 and i.process = e.process and ($4 or abs(extract(epoch from now() - i.seen)) > 60)
),
freed as (
    update :schema.wake_ups w set at = now(), holder = '' from earlier e where $4 and w.service = $1 and w.holder = e.process
),
forgotten as (
    delete from :schema.instances where service = $1 and ended < now() - interval '1 day'
),
noted as (
    insert into :schema.instances (service, instance, process, began, seen) values ($1, $2, $3, now(), now())
)
select exists (select from earlier)
