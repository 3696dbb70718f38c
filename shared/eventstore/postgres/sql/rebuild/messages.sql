insert into :schema.messages (tenant, workflow, stream, at, :message_columns)
select distinct on (tenant, workflow, stream, version) tenant, workflow, stream, at, :message_columns
  from staged_messages
 order by tenant, workflow, stream, version, n
