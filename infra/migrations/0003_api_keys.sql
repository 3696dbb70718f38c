-- API keys, by which programs submit requests over HTTP. Not part of the record: what a key was used for is, under its id. A key is
-- random and has 256 bits, so the SHA-256 that is kept of it tells nothing; the key itself is kept nowhere. `kinds`: the kinds of
-- message that may be submitted by it. `last_used_at` moves on at most once a minute. The primary key holds no tenant: whoever shows a
-- key does not name one.
create table api_keys (
    created_at    timestamptz not null default now(),
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    id            text collate "C" not null primary key,
    tenant        text collate "C" not null,
    name          text collate "C" not null,
    created_by    text collate "C" not null,
    kinds         text[] not null,
    hash          bytea not null check (length(hash) = 32)
);

-- Services see keys and note their use. Only the owner of the tables makes keys and revokes them.
do $$
declare
    writer text := left(current_schema(), 56) || '_writer';
begin
    if exists (select from pg_roles where rolname = writer) then
        execute format('grant select, update (last_used_at) on api_keys to %I', writer);
    end if;
end $$;
