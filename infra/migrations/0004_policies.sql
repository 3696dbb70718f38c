-- What stood behind a policy's version, so that an audit can decide again by the policy of then. Once a version: which data
-- these are follows from its name. No key holds a workflow: there are few rows, and a shard would hold them all.
create table policies (
    at          timestamptz not null default now(),
    service     text collate "C" not null,
    version     text collate "C" not null,
    data        json not null,
    primary key (service, version)
);
create trigger append_only before update or delete or truncate on policies
    for each statement execute function append_only();
alter table policies enable always trigger append_only;

do $$
declare
    writer text := left(current_schema(), 56) || '_writer';
begin
    if exists (select from pg_roles where rolname = writer) then
        execute format('grant select, insert on policies to %I', writer);
    end if;
exception
    when insufficient_privilege then
        null; -- services connect as the owner of the tables
end $$;
