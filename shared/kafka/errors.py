"""The errors of aiokafka that callers outside of this room tell apart."""

from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

__all__ = ["KafkaConnectionError", "KafkaError", "UnknownTopicOrPartitionError"]
