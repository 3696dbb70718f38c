"""Publishes what Kafka has lost again, so that every consumer reads it."""

import asyncio
from collections.abc import Iterator, Sequence

from contracts.catalog import OURS
from shared.eventstore.model import StoredMessage
from shared.kafka.direct import DirectProducer
from shared.kafka.groups import committed_offsets
from shared.kafka.producer import headers
from shared.kafka.tail import Place, open_tail
from shared.settings import Settings
from shared.task_tokens import NO_TOKENS, TaskTokens

PAGE = 1000  # messages that are sent before the brokers must acknowledge them


async def publish_again(settings: Settings, messages: Sequence[StoredMessage], tokens: TaskTokens = NO_TOKENS) -> None:
    """Returns when the brokers have acknowledged all of them. Raises KafkaError, OSError.

    A partition that has lost its tail ends before the offsets that its consumers have committed: what is published there first
    is passed over. So it is repeated until the last copy lies behind them. A repeat changes nothing.
    """
    topics = list(dict.fromkeys(message.topic for message in messages))
    consumers = {name for topic in topics for name in settings.topics.by_name[topic].consumers}
    committed = await committed_offsets(settings, consumers & {*OURS, *settings.topics.added})
    by_place: dict[Place, list[StoredMessage]] = {}
    async with open_tail(settings, topics) as tail:
        ends = await tail.ends()
        for message in messages:
            by_place.setdefault(tail.place(message.topic, message.stream.workflow) or (message.topic, 0), []).append(message)
    again = [
        message
        for place, mine in by_place.items()
        for _ in range(_times(len(mine), ends.get(place, 0), committed.get(place, 0)))
        for message in mine
    ]
    producer = DirectProducer(settings)
    try:
        for part in _pages(again):
            sent = [await producer.send(one.topic, one.stream.workflow.encode(), one.data, headers(one, tokens)) for one in part]
            await asyncio.gather(*sent)
    finally:
        await producer.close()


def _times(messages: int, end: int, committed: int) -> int:
    """How often so many messages are published at the end of a partition, until a whole copy lies behind this offset."""
    return 1 + max(0, -(-(committed - end) // messages))


def _pages(messages: Sequence[StoredMessage]) -> Iterator[Sequence[StoredMessage]]:
    return (messages[first : first + PAGE] for first in range(0, len(messages), PAGE))
