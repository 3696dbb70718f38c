"""The settings as aiokafka's arguments, and the names of topics, groups and clients in Kafka."""

import ssl
from functools import lru_cache
from typing import Any

from aiokafka.partitioner import murmur2

from shared.settings import Settings

CONSOLE, OUTSIDE = "console", "outside"  # principals that are no service


def connection(settings: Settings) -> dict[str, Any]:
    """The arguments by which every client of aiokafka reaches and trusts the brokers.

    Raises OSError or ssl.SSLError if a certificate cannot be read.
    """
    found: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.kafka.split(",") if server.strip()],
        "security_protocol": settings.kafka_security,
        "request_timeout_ms": 15_000,
        "retry_backoff_ms": 100,
        "metadata_max_age_ms": 30_000,
    }
    if settings.kafka_security.endswith("SSL"):
        found["ssl_context"] = _trust(settings)
    if settings.kafka_security.startswith("SASL"):
        found["sasl_mechanism"] = settings.kafka_mechanism
        found["sasl_plain_username"] = settings.kafka_username
        found["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return found


def _trust(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.kafka_ca)
    if settings.kafka_cert:
        context.load_cert_chain(settings.kafka_cert, settings.kafka_key)
    return context


def topic_name(settings: Settings, topic: str) -> str:
    """The topic's name at the brokers."""
    return settings.topic_prefix + topic


def group_name(settings: Settings, service: str) -> str:
    """The consumer group that all processes of one service share."""
    return f"{settings.topic_prefix}hansard.{service}"


def principal_name(settings: Settings, *services: str) -> str:
    """The user as whom a process of these services reaches Kafka. The console and whoever is outside have a name
    like a service's."""
    return f"{settings.topic_prefix}hansard-{'+'.join(sorted(services))}"


def outside_groups(settings: Settings) -> str:
    """What the names of all consumer groups of whoever is outside begin with."""
    return f"{settings.topic_prefix}{OUTSIDE}."


def client_name(settings: Settings, client: str, instance: str = "") -> str:
    """The client id, as brokers' logs, quotas and tools show it.

    It begins with the process: the Range assignor goes by the order of these names, so a process has the same partition
    numbers in each of its groups.
    """
    return f"{instance or settings.instance_id or settings.process}.hansard.{client}"


@lru_cache(1 << 16)
def partition_of(workflow: str, partitions: int) -> int:
    """The partition of a workflow: the one that Kafka's own clients choose by the key."""
    return int(murmur2(workflow.encode()) & 0x7FFFFFFF) % partitions
