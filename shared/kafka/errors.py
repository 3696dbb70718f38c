"""The errors of aiokafka that callers outside of this room tell apart."""

from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

__all__ = ["KafkaConnectionError", "KafkaError", "NotAllReadable", "UnknownTopicOrPartitionError"]


class NotAllReadable(KafkaError):  # type: ignore[misc]
    """Topics that are not there, or that this user may not read."""

    def __str__(self) -> str:
        return (
            f"there is no topic {self.args[0]}, or this user may not read it. `hansard topics` makes topics; `hansard epoch"
            " compare`, run by people who operate it, compares them all"
        )
