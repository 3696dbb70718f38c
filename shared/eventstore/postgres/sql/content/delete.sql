delete from :schema.content where tenant = $1 and sha256 = $2 and at < $3 returning 1
