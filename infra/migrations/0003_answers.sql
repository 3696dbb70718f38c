-- Where the last good answer to a question stands on the record. An index for the cache, no part of the record: it may be
-- lost, and what is found by it is read from the events. Of a tenant's own, by a hash of what was asked.
create table answers (
    at          timestamptz not null,
    tenant      text collate "C" not null,
    key         bytea not null,
    workflow    text collate "C" not null,
    stream      text collate "C" not null,
    primary key (tenant, key)
) with (fillfactor = 80);
create index answers_oldest on answers (at);

do $$
declare
    writer text := left(current_schema(), 56) || '_writer';
begin
    if exists (select from pg_roles where rolname = writer) then
        execute format('grant select, insert, update, delete on answers to %I', writer);
    end if;
exception
    when insufficient_privilege then
        null; -- services connect as the owner of the tables
end $$;
