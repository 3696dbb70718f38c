-- Messages from outside as Kafka has them. `reused_id`: their id where another body came first under the same one.
create temp table staged_door_messages as
select 0::bigint as n, d.causation_id as reused_id, m.hash, m.kind, :door_columns(d)
  from :schema.door_messages d, :schema.messages m
  with no data
