-- A recorded time lies within seconds of the append's own, so the times follow the transactions, but for these seconds.
with ordered as (
    select 'messages' as "table", xact, at, tenant, workflow, stream,
           max(at) over (order by xact groups between unbounded preceding and 1 preceding) as after
      from :schema.messages
     union all
    select 'inbox', xact, at, tenant, workflow, stream,
           max(at) over (order by xact groups between unbounded preceding and 1 preceding)
      from :schema.inbox
     union all
    select 'door_messages', xact, at, tenant, workflow, '',
           max(at) over (order by xact groups between unbounded preceding and 1 preceding)
      from :schema.door_messages
)
select "table", tenant, workflow, stream, at, after
  from ordered
 where at < after - make_interval(secs => $1::float8)
 order by xact, "table"
 limit $2
