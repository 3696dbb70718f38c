"""A request and its result, with a Kafka client and nothing of ours: python client.py BROKERS "A question?"."""

import asyncio
import json
import sys
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def ask(brokers: str, text: str) -> dict[str, object]:
    id = str(uuid.uuid4())
    event = {"ce_specversion": "1.0", "ce_id": id, "ce_source": "/python", "ce_type": "hansard.requests.submit.v1"}
    async with AIOKafkaConsumer("results", bootstrap_servers=brokers) as results:
        await asyncio.gather(*map(results.position, results.assignment()))  # from here on
        async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
            headers = [(name, value.encode()) for name, value in event.items()]
            await producer.send_and_wait("requests", json.dumps({"text": text}).encode(), id.encode(), headers=headers)
        async for result in results:
            if result.key == id.encode():
                return {"type": dict(result.headers)["ce_type"].decode(), **json.loads(result.value)}
    raise ConnectionError("the broker went away")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(*sys.argv[1:3])), indent=2))
