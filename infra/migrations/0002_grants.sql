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
    execute format('grant select, insert on messages, inbox, door_messages to %I', writer);
    execute format('grant select, insert, update on streams, attempts to %I', writer);
    execute format('grant select, insert, update, delete on wake_ups, instances to %I', writer);
    execute format('grant select on epochs, migrations to %I', writer);
end $$;
