"""The least that a hop costs: bare aiokafka from one topic to another, with commits and headers. `… BROKERS IN OUT`."""

import sys

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main(brokers: str, source: str, target: str) -> None:
    consumer = AIOKafkaConsumer(
        source, bootstrap_servers=brokers, group_id=f"echo-{source}", auto_offset_reset="earliest", enable_auto_commit=True
    )
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True, linger_ms=0)
    await consumer.start()
    await producer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                await producer.send(target, record.value, record.key, headers=list(record.headers))


uvloop.run(main(*sys.argv[1:]))
