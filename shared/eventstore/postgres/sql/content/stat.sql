select tenant, sha256, octet_length(data), at, media_type from :schema.content where tenant = $1 and sha256 = $2
