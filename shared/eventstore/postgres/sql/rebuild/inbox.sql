-- An inbox entry that stored something is a run of messages with one causation id; a dead letter ($1) is a run of its own.
-- $2 stands for what Kafka does not carry.
with runs as (
    select at, causation_id, version, kind, tenant, workflow, stream
      from (select *, causation_id is distinct from lag(causation_id) over s or kind = $1 or lag(kind) over s = $1 as begins
              from (select at, causation_id, version, kind, tenant, workflow, stream from :schema.messages) as m
            window s as (partition by tenant, workflow, stream order by version)) as marked
     where begins
)
insert into :schema.inbox
       (at, tenant, workflow, stream, causation_id, sequence, version_before, kind, hash, code, policy, dead, attempt)
select r.at, r.tenant, r.workflow, r.stream, r.causation_id,
       row_number() over (partition by r.tenant, r.workflow, r.stream order by r.version),
       r.version - 1,
       coalesce(d.kind, m.kind, $2),
       coalesce(d.hash, m.hash, decode(repeat('00', 32), 'hex')),
       $2, $2, r.kind = $1,
       row_number() over (partition by r.tenant, r.workflow, r.stream, r.causation_id order by r.version)
  from runs r
  left join received d on d.causation_id = r.causation_id
  left join lateral (
       select kind, at, hash from :schema.messages where id = r.causation_id
        order by (tenant, workflow) = (r.tenant, r.workflow) desc limit 1) m on true
