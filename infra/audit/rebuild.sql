-- name: stage
-- What Kafka tells, as it comes, in tables of this connection's own: they lie on disk, whatever there is of it.
create temp table said (
    n           bigint not null,
    version     int not null,
    id          uuid not null,
    cause       uuid not null,
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
    cause       uuid not null,
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
insert into :schema.events (at, id, cause, version, hash, tenant, workflow, stream, kind, topic, traceparent, data)
select distinct on (tenant, workflow, stream, version)
       at, id, cause, version, hash, tenant, workflow, stream, kind, topic, traceparent, data
  from said
 order by tenant, workflow, stream, version, n

-- name: received
create temp table received on commit drop as
select distinct on (own) *
  from (select brought.*,
               case when hash = first_value(hash) over (partition by cause order by n) then cause else another end as own
          from brought) as b
 order by own, n;
analyze received;
analyze :schema.events; -- else what follows is planned for empty tables

-- name: doors
-- Recorded when a stream first heard it: the earliest that Kafka tells of is the first that said something to it.
insert into :schema.doors
       (at, broker_at, "offset", cause, partition, tenant, workflow, topic, key, headers, body)
select coalesce(e.at, r.broker_at), r.broker_at, r."offset", r.own, r.partition, r.tenant, r.workflow, r.topic,
       r.key, r.headers, r.body
  from received r
  left join (select tenant, workflow, cause, min(at) as at from :schema.events group by tenant, workflow, cause) e
         on (e.tenant, e.workflow, e.cause) = (r.tenant, r.workflow, r.own)

-- name: hearings
-- A hearing that spoke is a run of events with one cause; a dead letter is a run of its own.
with runs as (
    select at, cause, version, kind, tenant, workflow, stream
      from (select *, cause is distinct from lag(cause) over s or kind = $1 or lag(kind) over s = $1 as begins
              from (select at, cause, version, kind, tenant, workflow, stream from :schema.events) as e
            window s as (partition by tenant, workflow, stream order by version)) as marked
     where begins
)
insert into :schema.hearings
       (at, tenant, workflow, stream, cause, sequence, before, kind, hash, code, policy, dead, attempt)
select r.at, r.tenant, r.workflow, r.stream, r.cause,
       row_number() over (partition by r.tenant, r.workflow, r.stream order by r.version),
       r.version - 1,
       coalesce(b.kind, e.kind, $2),
       coalesce(b.hash, e.hash, decode(repeat('00', 32), 'hex')),
       $2, $2, r.kind = $1,
       row_number() over (partition by r.tenant, r.workflow, r.stream, r.cause order by r.version)
  from runs r
  left join received b on b.own = r.cause
  left join lateral (
       select kind, at, hash from :schema.events where id = r.cause
        order by (tenant, workflow) = (r.tenant, r.workflow) desc limit 1) e on true

-- name: heads
insert into :schema.heads (at, heard, version, heard_before, version_before, published, tenant, workflow, stream)
select e.at, h.heard, e.version, 0, 0, e.version, e.tenant, e.workflow, e.stream
  from (select tenant, workflow, stream, max(version) as version, max(at) as at from :schema.events group by tenant, workflow, stream) e
  join (select tenant, workflow, stream, count(*) as heard from :schema.hearings group by tenant, workflow, stream) h
 using (tenant, workflow, stream)

-- name: counts
select (select count(*) from :schema.events), (select count(*) from :schema.doors), (select count(*) from :schema.heads)

-- name: gaps
select tenant, workflow, stream, count(*), max(version)
  from :schema.events
 group by tenant, workflow, stream
having count(*) <> max(version)
 order by tenant, workflow, stream
