-- Messages as Kafka has them, in a table of this connection's own: it lies on disk, however many there are.
create temp table staged_messages as
select 0::bigint as n, ''::text as place, m.tenant, m.workflow, m.stream, m.at, :message_columns(m)
  from :schema.messages m
  with no data
