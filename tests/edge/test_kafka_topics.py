"""Topics are created as the catalogue says, once; a service does not start behind a door whose time senders can choose."""

import asyncio
import secrets

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.kafka.admin import Change, DoorError, apply, check_doors, plan
from shared.kafka.connection import topic_name
from shared.settings import Settings
from tests.edge.kafka_kit import settings_for


async def admin(settings: Settings) -> AIOKafkaAdminClient:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await client.start()
    return client


async def created_by_hand(settings: Settings, topic: str, partitions: int = 2, **configs: str) -> None:
    client = await admin(settings)
    named = {key.replace("_", "."): value for key, value in configs.items()}
    await client.create_topics([NewTopic(topic_name(settings, topic), partitions, 1, topic_configs=named)])
    await client.close()


async def values(settings: Settings, topic: str) -> dict[str, str]:
    client = await admin(settings)
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic_name(settings, topic))]
    (answer,) = await client.describe_configs(asked)
    await client.close()
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def test_provisioning_twice_changes_nothing(kafka: str) -> None:
    settings = settings_for(kafka, partitions=3, workers=("legal",))
    planned = await plan(settings)
    names = [topic_name(settings, topic.name) for topic in settings.topics.all]
    assert [(change.topic, change.kind, change.partitions) for change in planned] == [(name, "create", 3) for name in names]
    assert await apply(settings, dry_run=True) == planned
    assert await plan(settings) == planned
    assert not [change for change in await apply(settings, planned) if change.error]
    assert await plan(settings) == []
    assert await apply(settings) == []


async def test_no_topic_is_compacted_or_limited_in_size_and_doors_have_the_brokers_time(kafka: str) -> None:
    settings = settings_for(kafka)
    await apply(settings)
    for topic in settings.topics.all:
        found = await values(settings, topic.name)
        assert found["cleanup.policy"] == "delete"
        assert (found["retention.ms"], found["retention.bytes"]) == (str(topic.retention_ms), "-1")
        assert int(found["max.message.bytes"]) > settings.max_message_bytes
        assert (found["message.timestamp.type"] == "LogAppendTime") is topic.door
        assert found["compression.type"] == "uncompressed"


async def test_a_config_that_differs_is_corrected_and_one_that_others_set_stays(kafka: str) -> None:
    settings = settings_for(kafka)
    await apply(settings)
    client = await admin(settings)
    name = topic_name(settings, "results")
    configs = {"retention.ms": "1000", "segment.ms": "123456", "cleanup.policy": "compact"}
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])
    await client.close()
    (change,) = [change for change in await apply(settings) if not change.error]
    assert change.kind == "configure"
    assert "retention.ms 1000 → -1" in change.detail
    found = await values(settings, "results")
    assert (found["retention.ms"], found["cleanup.policy"], found["segment.ms"]) == ("-1", "delete", "123456")


async def test_partitions_are_added_where_there_are_too_few(kafka: str) -> None:
    settings = settings_for(kafka)
    await apply(settings)
    more = settings.model_copy(update={"partitions": 3})
    planned = await plan(more)
    assert {change.kind for change in planned} == {"partitions"}
    await apply(more)
    assert await plan(more) == []
    assert await plan(settings) == []  # more than asked for is no harm


async def test_without_a_setting_all_topics_get_as_many_partitions_as_the_largest_existing_topic(kafka: str) -> None:
    unset = Settings(kafka=kafka, topic_prefix=f"t{secrets.token_hex(4)}.")
    name = topic_name(unset, "requests")
    await created_by_hand(unset, "requests", 7, **{"message.timestamp.type": "LogAppendTime"})
    await created_by_hand(unset, "results", 2)
    planned = [change for change in await plan(unset) if change.kind in ("create", "partitions")]
    assert {change.partitions for change in planned} == {7}
    assert name not in {change.topic for change in planned}
    await apply(unset)
    assert [change for change in await plan(unset) if change.kind in ("create", "partitions")] == []


async def test_a_refused_change_has_its_error_and_stops_no_other(kafka: str) -> None:
    settings = settings_for(kafka, replication=3)
    planned = await plan(settings)
    assert all("replication" in change.error.lower() for change in planned)
    assert all(change.error for change in await apply(settings))


async def test_a_service_does_not_start_behind_a_door_without_the_brokers_time(kafka: str) -> None:
    settings = settings_for(kafka)
    await created_by_hand(settings, "requests")
    for door in (topic.name for topic in settings.topics.all if topic.door and topic.name != "requests"):
        await created_by_hand(settings, door, message_timestamp_type="LogAppendTime")
    with pytest.raises(DoorError, match=r"requests has message\.timestamp\.type=CreateTime"):
        await asyncio.wait_for(check_doors(settings), 30)
    await apply(settings)
    await asyncio.wait_for(check_doors(settings), 30)


async def test_a_door_that_does_not_exist_yet_is_waited_for(kafka: str) -> None:
    settings = settings_for(kafka)
    waiting = asyncio.create_task(check_doors(settings))
    done, _ = await asyncio.wait([waiting], timeout=0.5)
    assert not done
    await apply(settings)
    await asyncio.wait_for(waiting, 30)


def test_a_change_reads_as_a_line() -> None:
    assert str(Change("a", "create", "2 partitions", error="no")) == "a: create 2 partitions (refused: no)"
