select tenant, sha256, octet_length(data), at, media_type from :schema.content
where (tenant, sha256) > ($1, $2) order by tenant, sha256 limit $3
