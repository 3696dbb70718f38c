-- The event store. The schema comes from the search path, which the migrator sets.
-- Names are compared byte by byte (collate "C"), so the order of streams is the same everywhere. Every unique key holds
-- tenant and workflow, so each table can be partitioned or sharded by them without a redesign.

-- One row a stream. `processed` counts its inbox entries, also those that stored no message; an append is checked against
-- it. The two columns `..._before` are what the last append built upon; the check reads them out of the row that is proposed.
-- This is also the outbox: a broker has acknowledged every message up to `published`, the later ones wait.
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

-- That a stream has processed a message, once. `at` is the recorded time, shared with the messages that the entry stored.
-- A redrive of a dead entry is the next attempt under the same causation id.
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

-- All stored messages. `json`, not `jsonb`: the bytes stored are the bytes published.
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

-- Messages from outside, exactly as they were received. `at` is the recorded time, `broker_at` the broker's.
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

-- The next wake-up of each stream that asked for one. `at`: when any process may claim it, moved on by a claim; `wanted`: the
-- time that the stream asked for; `holder`: the process that works on the stream, or ''.
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

-- How often a Kafka record was tried, counted after an unclean end.
create table attempts (
    "offset"   bigint not null,
    partition  int not null,
    attempts   int not null,
    at         timestamptz not null,
    service    text collate "C" not null,
    topic      text collate "C" not null,
    primary key (service, topic, partition, "offset")
);

-- Processes of services. Without `ended` a process runs, or ended uncleanly; while it holds wake-ups, `seen` moves on every
-- second or so.
create table instances (
    began     timestamptz not null,
    seen      timestamptz not null,
    ended     timestamptz,
    service   text collate "C" not null,
    instance  text collate "C" not null,
    process   text collate "C" not null,
    primary key (service, process)
) with (fillfactor = 50);

-- The cursor of a reader of all messages is good within one epoch. A restore begins a new one. `identity`: the server, timeline
-- and table on which it began, '' until the first service starts; `compared`: Kafka's tail was compared since.
create table epochs (
    number    int generated always as identity primary key,
    epoch     text not null unique,
    identity  text not null default '',
    compared  bool not null default false,
    began     timestamptz not null default now()
);
insert into epochs (epoch, compared) values (gen_random_uuid()::text, true);

-- The gateway's answer index: which stream holds the last good answer to a question, by a hash of the question, for each
-- tenant. Not part of the record: it may be lost, and the answer itself is read from the messages.
create table answers (
    at        timestamptz not null,
    tenant    text collate "C" not null,
    key       bytea not null,
    workflow  text collate "C" not null,
    stream    text collate "C" not null,
    primary key (tenant, key)
) with (fillfactor = 80);
create index answers_oldest on answers (at);

-- The data behind each version of a policy, stored once, so that an audit can decide again by the policy of then. The
-- version follows from the data. No key holds a workflow: there are few rows, and every shard would hold them all.
create table policies (
    at       timestamptz not null default now(),
    service  text collate "C" not null,
    version  text collate "C" not null,
    data     json not null,
    primary key (service, version)
);

-- The key of the tokens of tasks that are given to workers outside: random, one row.
create table task_key (
    key  bytea not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
);
insert into task_key default values;

-- Append-only, by trigger: also for the owner of the tables.
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

-- Append-only, by grants: services connect as members of this role. It is named after the schema: hansard_writer. It owns
-- nothing: it can change no table, no trigger and nothing that was recorded.
do $$
declare
    writer text := left(current_schema(), 56) || '_writer';
begin
    if not exists (select from pg_roles where rolname = writer) then
        begin
            execute format('create role %I nologin', writer);
        exception
            when insufficient_privilege then
                raise notice 'no right to create the role %: an administrator makes it before this migration', writer;
                return;
            when duplicate_object or unique_violation then
                null; -- another migrator has just created it
        end;
    end if;
    execute format('grant usage on schema %I to %I', current_schema(), writer);
    execute format('grant select, insert on messages, inbox, door_messages, policies to %I', writer);
    execute format('grant select, insert, update on streams, attempts to %I', writer);
    execute format('grant select, insert, update, delete on wake_ups, instances, answers to %I', writer);
    execute format('grant select, insert, update on epochs to %I', writer);
    execute format('grant select on migrations, task_key to %I', writer);
    begin
        execute format('grant pg_read_all_stats to %I', writer); -- an old transaction of anybody stalls readers
    exception
        when insufficient_privilege then
            raise notice 'no right to grant pg_read_all_stats: readers see the age of transactions of services only';
    end;
end $$;
