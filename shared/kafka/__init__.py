"""Kafka: the only place of contracts, shared, services and infra that imports aiokafka."""
