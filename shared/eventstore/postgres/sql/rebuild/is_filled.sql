select exists (select from :schema.messages)
