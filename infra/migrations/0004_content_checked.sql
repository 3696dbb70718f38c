-- A content is what its hash names, and was put when it was put: whoever may add to the content store may not put other bytes under a
-- hash that somebody will ask for, nor date a content so that a collector never takes it, or takes it too soon. A trigger, since what
-- a check constraint says holds for rows from before it, and may not ask for the time. The owner of the tables can switch it off.
create function content_checked() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' and new.sha256 <> sha256(new.data) then
        raise exception 'these bytes are not those of the hash %', encode(new.sha256, 'hex') using errcode = 'check_violation';
    end if;
    if new.at > now() or (tg_op = 'UPDATE' and new.at < old.at) then
        raise exception 'a content is dated ahead of now, or back' using errcode = 'check_violation';
    end if;
    return new;
end $$;
revoke execute on function content_checked() from public;

create trigger content_checked before insert or update of at on content for each row execute function content_checked();
