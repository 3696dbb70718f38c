insert into :schema.api_keys (id, hash, tenant, name, kinds, created_by) values ($1, $2, $3, $4, $5, $6)
