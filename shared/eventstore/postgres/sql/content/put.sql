-- Put again, a content counts as new for a collector; within the hour nothing is written.
insert into :schema.content as kept (tenant, sha256, media_type, data) values ($1, $2, $3, $4)
on conflict (tenant, sha256) do update set at = now() where kept.at < now() - interval '1 hour'
