select id, hash, tenant, name, kinds, created_by, created_at, last_used_at, revoked_at from :schema.api_keys where id = $1
