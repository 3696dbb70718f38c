-- What Kafka has twice and not the same: a version of a stream, or an id of a workflow. At least one of each is forged.
with distinct_ones as materialized (
    select distinct on (tenant, workflow, stream, version, id, kind, topic, causation_id, at, hash, traceparent)
           tenant, workflow, stream, version, id, place, n
      from staged_messages
     order by tenant, workflow, stream, version, id, kind, topic, causation_id, at, hash, traceparent, n
)
select tenant, workflow, stream, 'version ' || version as what, array_agg(place order by n) as places
  from distinct_ones
 group by tenant, workflow, stream, version
having count(*) > 1
union all
select tenant, workflow, min(stream collate "C"), 'the id ' || id, array_agg(place order by n)
  from distinct_ones
 group by tenant, workflow, id
having count(distinct (stream, version)) > 1
 order by 1, 2, 3, 4
