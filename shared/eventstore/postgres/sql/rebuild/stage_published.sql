-- Before Kafka is read: what brokers have acknowledged by now must be there, and so must the messages from outside stored by now.
create temp table published as
select tenant, workflow, stream, published from :schema.streams where published > 0
