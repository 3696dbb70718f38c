-- Before Kafka is read: what brokers have acknowledged by now must be there.
create temp table published as
select tenant, workflow, stream, published from :schema.streams where published > 0
