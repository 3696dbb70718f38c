-- The record. The schema comes from the search path, which the migrator sets.
-- Names are compared byte by byte (collate "C"): the order of streams is the same everywhere. Every unique key holds
-- tenant and workflow, so each table can be partitioned or sharded by them without a redesign.

-- One row a stream. `heard` counts its hearings, silent ones too, and is what an append is checked against.
-- The two `..._before` are what the last append built upon; the check reads them out of the row that is proposed.
-- It is the outbox, too: all up to `published` was acknowledged by a broker, what was said after that waits.
create table streams (
    at                timestamptz not null,
    processed         int not null,
    version           int not null,
    processed_before  int not null,
    version_before    int not null,
    published         int not null,
    tenant            text collate "C" not null,
    workflow          text collate "C" not null,
    stream            text collate "C" not null,
    primary key (tenant, workflow, stream)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index streams_unpublished on streams (split_part(stream, '/', 1), at) where published < version;

-- That a stream heard something; `at` is the one recorded time, that of all that was said to it. A redrive is heard as the next attempt of the same cause.
create table inbox (
    at              timestamptz not null,
    causation_id    uuid not null,
    sequence        int not null,
    version_before  int not null,
    attempt         int not null,
    dead            bool not null,
    hash            bytea not null,
    tenant          text collate "C" not null,
    workflow        text collate "C" not null,
    stream          text collate "C" not null,
    kind            text collate "C" not null,
    code            text collate "C" not null,
    policy          text collate "C" not null,
    primary key (tenant, workflow, stream, causation_id, attempt)
);

-- All that was said. `json`, not `jsonb`: the bytes stored are the bytes published.
create table messages (
    position      bigint generated always as identity,
    xact          xid8 not null default pg_current_xact_id(),
    at            timestamptz not null,
    id            uuid not null,
    causation_id  uuid not null,
    version       int not null,
    hash          bytea not null,
    tenant        text collate "C" not null,
    workflow      text collate "C" not null,
    stream        text collate "C" not null,
    kind          text collate "C" not null,
    topic         text collate "C" not null,
    traceparent   text collate "C" not null,
    data          json not null,
    primary key (tenant, workflow, stream, version),
    unique (id, tenant, workflow)
);
create index messages_settled on messages (xact, position);

-- What came from outside, as it was heard.
create table door_messages (
    at            timestamptz not null,
    broker_at     timestamptz not null,
    "offset"      bigint not null,
    causation_id  uuid not null,
    partition     int not null,
    tenant        text collate "C" not null,
    workflow      text collate "C" not null,
    topic         text collate "C" not null,
    key           bytea,
    headers       json not null,
    body          bytea,
    primary key (tenant, workflow, causation_id)
);

-- Streams that want to be woken. `at`: when anyone may claim it, moved on by a claim; `wanted`: what the stream asked for;
-- `holder`: the process that works on it, or ''.
create table wake_ups (
    at        timestamptz not null,
    wanted    timestamptz not null,
    tenant    text collate "C" not null,
    workflow  text collate "C" not null,
    stream    text collate "C" not null,
    service   text collate "C" not null,
    holder    text collate "C" not null,
    primary key (tenant, workflow, stream)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);
create index wake_ups_next on wake_ups (service, at);
create index wake_ups_held on wake_ups (service, holder) where holder <> '';

-- How often a message was tried, counted after an unclean end.
create table attempts (
    "offset"   bigint not null,
    partition  int not null,
    attempts   int not null,
    at         timestamptz not null,
    service    text collate "C" not null,
    topic      text collate "C" not null,
    primary key (service, topic, partition, "offset")
);

-- Processes. One that has no `ended` runs, or ended uncleanly; one that holds streams is `seen` every second or so.
create table instances (
    began     timestamptz not null,
    seen      timestamptz not null,
    ended     timestamptz,
    service   text collate "C" not null,
    instance  text collate "C" not null,
    process   text collate "C" not null,
    primary key (service, process)
) with (fillfactor = 50);

-- A cursor over everything is good within one epoch. After a restore a new one begins.
create table epochs (
    number  int generated always as identity primary key,
    epoch   text not null unique,
    began   timestamptz not null default now()
);
insert into epochs (epoch) values (gen_random_uuid()::text);

-- Where the last good answer to a question stands on the record. An index for the cache, no part of the record: it may be
-- lost, and what is found by it is read from the events. Of a tenant's own, by a hash of what was asked.
create table answers (
    at        timestamptz not null,
    tenant    text collate "C" not null,
    key       bytea not null,
    workflow  text collate "C" not null,
    stream    text collate "C" not null,
    primary key (tenant, key)
) with (fillfactor = 80);
create index answers_oldest on answers (at);

-- What stood behind a policy's version, so that an audit can decide again by the policy of then. Once a version: which data
-- these are follows from its name. No key holds a workflow: there are few rows, and a shard would hold them all.
create table policies (
    at       timestamptz not null default now(),
    service  text collate "C" not null,
    version  text collate "C" not null,
    data     json not null,
    primary key (service, version)
);

-- Append-only, by trigger: for the owner of the tables too.
create function append_only() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, lower(tg_op) using errcode = 'insufficient_privilege';
end $$;

do $$
declare
    name text;
begin
    foreach name in array array['messages', 'inbox', 'door_messages', 'policies'] loop
        execute format('create trigger append_only before update or delete or truncate on %I'
                       ' for each statement execute function append_only()', name);
        execute format('alter table %I enable always trigger append_only', name);
    end loop;
end $$;

-- Append-only, by grants: services connect as members of this role. It is named after the schema: hansard_writer.
do $$
declare
    writer text := left(current_schema(), 56) || '_writer';
begin
    if not exists (select from pg_roles where rolname = writer) then
        begin
            execute format('create role %I nologin', writer);
        exception
            when insufficient_privilege then
                raise notice 'no right to create the role %: services connect as the owner of the tables', writer;
                return;
            when duplicate_object or unique_violation then
                null; -- somebody else was faster
        end;
    end if;
    execute format('grant usage on schema %I to %I', current_schema(), writer);
    execute format('grant select, insert on messages, inbox, door_messages, policies to %I', writer);
    execute format('grant select, insert, update on streams, attempts to %I', writer);
    execute format('grant select, insert, update, delete on wake_ups, instances, answers to %I', writer);
    execute format('grant select on epochs, migrations to %I', writer);
end $$;
