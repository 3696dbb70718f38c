"""All code that reaches inside aiokafka, since it has no public way. Check an upgrade of aiokafka here first.

Each function names the public way that is missing, and the test that fails when aiokafka changes.
"""

import asyncio
from contextlib import suppress

import aiokafka.consumer.fetcher
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.kafka.record_batches import Records
from shared.tasks import within


def survive_any_record() -> None:
    """Makes aiokafka's consumers in this process read record batches through `Records` from now on.

    Why: a consumer takes deserializers for keys and values, and none for headers or batches.
    Test: test_kafka_consumer.test_a_header_that_is_not_utf8_blocks_nobody.
    """
    aiokafka.consumer.fetcher.MemoryRecords = Records


def request_rejoin(consumer: AIOKafkaConsumer) -> None:
    """Makes this member join its group again, so that the group assigns its partitions again.

    Why: the public way, to subscribe again, drops the assignment before the done offsets are committed.
    Test: test_kafka_consumer.test_partitions_that_are_added_get_a_reader_after_a_restart_too.
    """
    consumer._coordinator.request_rejoin()


def leave_group_on_stop(consumer: AIOKafkaConsumer) -> None:
    """Makes `stop` tell the group that this member leaves, even if it is a static member.

    Why: aiokafka sends no LeaveGroup for a static member, and its admin client cannot remove one.
    Test: test_kafka_consumer.test_a_member_that_leaves_for_good_is_replaced_at_once.
    """
    if consumer._coordinator is not None:
        consumer._coordinator._group_instance_id = None


async def stop_consumer(consumer: AIOKafkaConsumer, seconds: float) -> BaseException | None:
    """Stops it, and closes its connections even if that fails. Returns the failure, if there was one.

    Why: `stop` may raise or wait for brokers that do not answer, and does nothing when it is called again.
    Test: test_kafka_consumer.test_a_consumer_stops_although_the_broker_does_not_answer.
    """
    try:  # gathered, since aiokafka may raise the CancelledError of a fetch of its own
        [failed] = await within(seconds, asyncio.gather(consumer.stop(), return_exceptions=True))
    except TimeoutError as late:
        failed = late
    if failed is not None:
        await consumer._client.close()
    return failed


async def abandon_producer(producer: AIOKafkaProducer) -> None:
    """Ends a producer in any state, without sending the messages that it still holds.

    Why: `stop` waits for ever for messages that cannot be delivered.
    Test: test_kafka_producer.test_it_stops_in_time_although_the_broker_does_not_answer.
    """
    producer._message_accumulator.fail_all(KafkaError("the producer was replaced"))
    with suppress(Exception):  # any error of its last requests: nobody waits for them any more
        await within(5, producer._sender.close())
    with suppress(Exception):  # any error of `stop` after the sender was closed, or TimeoutError: it is replaced anyway
        await within(5, producer.stop())
    await producer.client.close()
