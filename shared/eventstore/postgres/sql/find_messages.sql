select :message(m) from :schema.messages m where id = any($1::uuid[])
