-- One role a service: none can write rows of another's streams, outbox or wake-ups (decision 0025). Roles, grants and the policy of each
-- role follow from the catalogue, which grows, so `infra.migrations.roles` makes them whenever `hansard migrate` runs; here is what
-- they rest on. Who may read a table reads all of it. SCHEMA_writer keeps the rights of all services, for processes of release 0.2.0
-- and for those who do not separate.

do $$
declare
    name text;
    writer text := left(current_schema(), 56) || '_writer';
begin
    foreach name in array array['streams', 'inbox', 'messages', 'wake_ups', 'attempts', 'instances', 'policies', 'door_messages'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy reading on %I for select using (true)', name);
        if exists (select from pg_roles where rolname = writer) then
            execute format('create policy "all services" on %I to %I using (true) with check (true)', name, writer);
            execute format('comment on policy "all services" on %I is %L', name, 'true');
        end if;
    end loop;
end $$;

-- When the oldest transaction began that can still commit, whoever began it: an old one stalls readers. It shows that and nothing
-- else of what the owner may see; pg_read_all_stats, which SCHEMA_writer has, shows every statement in the cluster.
create function oldest_transaction() returns timestamptz
    language sql stable security definer set search_path = pg_catalog, pg_temp
    as $$ select min(xact_start) from pg_stat_activity where backend_xid is not null $$;
revoke execute on function oldest_transaction() from public;

do $$
declare
    writer text := left(current_schema(), 56) || '_writer';
begin
    if exists (select from pg_roles where rolname = writer) then
        execute format('grant execute on function oldest_transaction() to %I', writer);
    end if;
end $$;
