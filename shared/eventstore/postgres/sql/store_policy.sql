insert into :schema.policies (service, version, data) values ($1, $2, $3) on conflict (service, version) do nothing
