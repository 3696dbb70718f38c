"""The Kafka room: the only one that imports aiokafka."""
