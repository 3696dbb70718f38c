-- name: stage
-- What Kafka tells, as it comes, in tables of this connection's own: they lie on disk, whatever there is of it.
create temp table said (
    n           bigint not null,
    version     int not null,
    id          uuid not null,
    causation_id       uuid not null,
    hash        bytea not null,
    at          timestamptz not null,
    tenant      text collate "C" not null,
    workflow    text collate "C" not null,
    stream      text collate "C" not null,
    kind        text collate "C" not null,
    topic       text collate "C" not null,
    traceparent text collate "C" not null,
    data        json not null
);
create temp table brought (
    n           bigint not null,
    causation_id       uuid not null,
    another     uuid not null, -- the cause where something else came before under this one
    hash        bytea not null,
    kind        text collate "C" not null,
    broker_at   timestamptz not null,
    "offset"    bigint not null,
    partition   int not null,
    tenant      text collate "C" not null,
    workflow    text collate "C" not null,
    topic       text collate "C" not null,
    key         bytea,
    headers     json not null,
    body        bytea
);

-- name: settle
set local work_mem = '64MB';
set local synchronous_commit = off;
analyze said;
analyze brought;

-- name: events
insert into :schema.messages (at, id, causation_id, version, hash, tenant, workflow, stream, kind, topic, traceparent, data)
select distinct on (tenant, workflow, stream, version)
       at, id, causation_id, version, hash, tenant, workflow, stream, kind, topic, traceparent, data
  from said
 order by tenant, workflow, stream, version, n

-- name: received
create temp table received on commit drop as
select distinct on (own) *
  from (select brought.*,
               case when hash = first_value(hash) over (partition by causation_id order by n) then causation_id else another end as own
          from brought) as b
 order by own, n;
analyze received;
analyze :schema.messages; -- else what follows is planned for empty tables

-- name: doors
-- Recorded when a stream first heard it: the earliest that Kafka tells of is the first that said something to it.
insert into :schema.door_messages
       (at, broker_at, "offset", causation_id, partition, tenant, workflow, topic, key, headers, body)
select coalesce(e.at, r.broker_at), r.broker_at, r."offset", r.own, r.partition, r.tenant, r.workflow, r.topic,
       r.key, r.headers, r.body
  from received r
  left join (select tenant, workflow, causation_id, min(at) as at from :schema.messages group by tenant, workflow, causation_id) e
         on (e.tenant, e.workflow, e.causation_id) = (r.tenant, r.workflow, r.own)

-- name: hearings
-- A hearing that spoke is a run of events with one cause; a dead letter is a run of its own.
with runs as (
    select at, causation_id, version, kind, tenant, workflow, stream
      from (select *, causation_id is distinct from lag(causation_id) over s or kind = $1 or lag(kind) over s = $1 as begins
              from (select at, causation_id, version, kind, tenant, workflow, stream from :schema.messages) as e
            window s as (partition by tenant, workflow, stream order by version)) as marked
     where begins
)
insert into :schema.inbox
       (at, tenant, workflow, stream, causation_id, sequence, version_before, kind, hash, code, policy, dead, attempt)
select r.at, r.tenant, r.workflow, r.stream, r.causation_id,
       row_number() over (partition by r.tenant, r.workflow, r.stream order by r.version),
       r.version - 1,
       coalesce(b.kind, e.kind, $2),
       coalesce(b.hash, e.hash, decode(repeat('00', 32), 'hex')),
       $2, $2, r.kind = $1,
       row_number() over (partition by r.tenant, r.workflow, r.stream, r.causation_id order by r.version)
  from runs r
  left join received b on b.own = r.causation_id
  left join lateral (
       select kind, at, hash from :schema.messages where id = r.causation_id
        order by (tenant, workflow) = (r.tenant, r.workflow) desc limit 1) e on true

-- name: heads
insert into :schema.streams (at, processed, version, processed_before, version_before, published, tenant, workflow, stream)
select e.at, h.processed, e.version, 0, 0, e.version, e.tenant, e.workflow, e.stream
  from (select tenant, workflow, stream, max(version) as version, max(at) as at from :schema.messages group by tenant, workflow, stream) e
  join (select tenant, workflow, stream, count(*) as processed from :schema.inbox group by tenant, workflow, stream) h
 using (tenant, workflow, stream)

-- name: counts
select (select count(*) from :schema.messages), (select count(*) from :schema.door_messages), (select count(*) from :schema.streams)

-- name: gaps
select tenant, workflow, stream, count(*), max(version)
  from :schema.messages
 group by tenant, workflow, stream
having count(*) <> max(version)
 order by tenant, workflow, stream
