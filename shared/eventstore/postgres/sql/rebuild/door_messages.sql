-- Recorded when a stream first processed it: at the earliest time of the messages that answer it.
insert into :schema.door_messages (at, :door_columns)
select coalesce(m.at, r.broker_at), :door_columns(r)
  from received r
  left join (select tenant, workflow, causation_id, min(at) as at from :schema.messages group by tenant, workflow, causation_id) m
         on (m.tenant, m.workflow, m.causation_id) = (r.tenant, r.workflow, r.causation_id)
