-- Messages from outside as Kafka has them. `reused_id`: their id where another body came first under the same one. `elsewhere_id`:
-- their id where the identity belongs to another workflow; `elsewhere_reused_id`: and another body came first.
create temp table staged_door_messages as
select 0::bigint as n, d.causation_id as reused_id, d.causation_id as elsewhere_id, d.causation_id as elsewhere_reused_id,
       m.hash, m.kind, :door_columns(d)
  from :schema.door_messages d, :schema.messages m
  with no data
