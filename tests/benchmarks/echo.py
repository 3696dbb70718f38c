"""The floor of a hop: bare aiokafka from one topic to another, with what every honest consumer does. `… IN OUT GROUP`."""

import sys

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main(kafka: str, into: str, out: str) -> None:
    consumer = AIOKafkaConsumer(
        into, bootstrap_servers=kafka, group_id=f"echo-{into}", auto_offset_reset="earliest", enable_auto_commit=True
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=0)
    await consumer.start()
    await producer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                await producer.send(out, record.value, record.key, headers=list(record.headers))


uvloop.run(main(*sys.argv[1:]))
