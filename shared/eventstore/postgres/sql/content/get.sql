select data from :schema.content where tenant = $1 and sha256 = $2
