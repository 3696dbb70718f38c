select (select count(*) from :schema.messages), (select count(*) from :schema.door_messages), (select count(*) from :schema.streams)
