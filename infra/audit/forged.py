"""Which of Kafka's records on internal topics are not on the record."""

from collections.abc import Sequence

from contracts.catalog import Topics
from hansard.envelope import Unreadable, read
from shared.eventstore.model import Claim
from shared.eventstore.ports import MessageReader
from shared.kafka.record import Record
from shared.runtime.claims import claim_of


async def forged(records: Sequence[Record], topics: Topics, store: MessageReader) -> list[Record]:
    """Those that came on an internal topic, and of which the record does not hold exactly the same of one of its producers.

    One question.
    """
    claims = [(record, _claim(record, topics)) for record in records if is_internal(record.topic, topics)]
    asked = [claim for _, claim in claims if claim is not None]
    missing = await store.not_on_record(asked) if asked else set()
    return [record for record, claim in claims if claim is None or claim in missing]


def is_internal(name: str, topics: Topics) -> bool:
    """Whether all that is published there is on the record."""
    topic = topics.by_name.get(name)
    return topic is not None and topic.recorded and not topic.door


def _claim(record: Record, topics: Topics) -> Claim | None:
    try:
        return (
            None if record.fault else claim_of(record, read(record.value, record.headers), topics.by_name[record.topic].producers)
        )
    except Unreadable:
        return None
