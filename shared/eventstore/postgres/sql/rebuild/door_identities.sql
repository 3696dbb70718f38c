insert into :schema.door_identities (tenant, causation_id, hash, workflow)
select tenant, causation_id, sha256(coalesce(body, '')), workflow from received
