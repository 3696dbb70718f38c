"""Brokers: whether one answers, how many there are, and which versions of Kafka's protocol they speak."""

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from pydantic import SecretStr

from shared.kafka.connection import connection
from shared.settings import Settings
from shared.tasks import within


async def describe_brokers(settings: Settings) -> tuple[int, dict[int, tuple[int, int]]]:
    """Returns the number of brokers, and by API key the oldest and newest version that one of them speaks.

    Raises KafkaError or OSError.
    """
    client = AIOKafkaClient(**connection(settings) | {"request_timeout_ms": 5000})
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), ApiVersionRequest())
        return len(client.cluster.brokers()), {key: (oldest, newest) for key, oldest, newest in answer.api_versions}
    finally:
        await client.close()


async def is_member(address: str, login: Mapping[str, str]) -> bool:
    """Whether the broker at this address tells a client that it is part of its cluster. `login`: the settings of security."""
    given: dict[str, Any] = {**login, "kafka": address, "kafka_password": SecretStr(login.get("kafka_password", ""))}
    settings = Settings.model_construct(**given)
    client = AIOKafkaClient(**connection(settings) | {"request_timeout_ms": 3000})
    try:
        await client.bootstrap()
        return any(f"{broker.host}:{broker.port}" == address for broker in client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()


async def exercise(address: str) -> bool:
    """Makes a topic, produces, consumes and commits once, as clients do. Returns True when all of it worked."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic("warm", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait("warm", b"warm")
    async with AIOKafkaConsumer("warm", bootstrap_servers=address, group_id="w", auto_offset_reset="earliest") as consumer:
        await within(30, consumer.getone())
        await consumer.commit()
    return True
