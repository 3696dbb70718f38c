-- Where the record and Kafka's copy of it differ. What retention may have removed is left out; so is what Kafka has and the
-- record has not: that is forged, unless a message was deleted.
with distinct_ones as (
    select distinct on (tenant, workflow, stream, version, id, kind, topic, causation_id, at, hash, traceparent) *
      from staged_messages
     order by tenant, workflow, stream, version, id, kind, topic, causation_id, at, hash, traceparent, n
)
(select k.tenant, k.workflow, k.stream, k.version::bigint, k.place,
        'Kafka has another message at this version' as what,
        concat_ws(' ', m.kind, m.id, m.causation_id, m.topic, m.at at time zone 'UTC', encode(m.hash, 'hex'), m.traceparent) as here,
        concat_ws(' ', k.kind, k.id, k.causation_id, k.topic, k.at at time zone 'UTC', encode(k.hash, 'hex'), k.traceparent) as there
   from distinct_ones k join :schema.messages m using (tenant, workflow, stream, version)
  where not exists ( -- beside the message itself, another one is forged
        select from staged_messages s
         where s.tenant = m.tenant and s.workflow = m.workflow and s.stream = m.stream and s.version = m.version
           and (s.id, s.kind, s.topic, s.causation_id, s.at, s.hash, s.traceparent)
             = (m.id, m.kind, m.topic, m.causation_id, m.at, m.hash, m.traceparent))
  limit $1)
union all
(select m.tenant, m.workflow, m.stream, m.version, m.topic, 'Kafka lacks a message that brokers acknowledged', m.kind || ' ' || m.id, ''
   from :schema.messages m join published p using (tenant, workflow, stream)
   left join (select topic, max(at) as at from kept group by topic) c on c.topic = m.topic
  where m.version <= p.published and (c.at is null or m.at > c.at)
    and not exists (select from staged_messages k
                     where k.tenant = m.tenant and k.workflow = m.workflow and k.stream = m.stream and k.version = m.version)
  limit $1)
union all
(select d.tenant, d.workflow, '', 0, concat_ws('/', d.topic, d.partition, d."offset"),
        case when k.n is null then 'Kafka lacks this message from outside' else 'Kafka has another message from outside here' end,
        concat_ws(' ', d.broker_at at time zone 'UTC', encode(d.key, 'escape'), d.headers, encode(sha256(d.body), 'hex')),
        concat_ws(' ', k.broker_at at time zone 'UTC', encode(k.key, 'escape'), k.headers, encode(sha256(k.body), 'hex'))
   from :schema.door_messages d left join staged_door_messages k using (topic, partition, "offset")
   left join kept c on c.topic = d.topic and c.partition = d.partition
  where (k.n is null and (c.first_offset is null or d."offset" >= c.first_offset) and d.xact < (select xact from bound))
     or (k.n is not null and (d.broker_at, d.key, d.headers::text, d.body) is distinct from (k.broker_at, k.key, k.headers::text, k.body))
  limit $1)
