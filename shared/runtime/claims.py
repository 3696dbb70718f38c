"""What a Kafka record on an internal topic claims to be, and the dead letter about those that the record does not hold.

Pure. Whoever may publish on an internal topic may write any header: nothing of it counts unless the event store holds exactly it.
"""

import base64
import hashlib
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from contracts.dead_letters import DeadLettered
from hansard.envelope import TENANT, Envelope
from hansard.identity import place_of, source_of, stream_name
from shared.eventstore.model import Claim, Stream
from shared.kafka.record import Record

LETTERS_OF = 500  # offsets of one partition whose dead letters are in one stream
BODIES, MAX_BODY = 3, 16 * 1024  # bodies that a dead letter carries, and bytes of each at most
REST = 12 * 1024  # bytes of a dead letter without bodies, at most
_LAST_VERSION = 2**31


def claim_of(record: Record, envelope: Envelope, producers: Collection[str]) -> Claim | None:
    """What a record on an internal topic claims to be. None: nothing on the record is published like this.

    `producers`: of the topic. A service can store a message for any topic, and only these are believed there.
    """
    stream = Stream(envelope.tenant, envelope.correlation_id, envelope.subject)
    digest = hashlib.sha256(envelope.data)
    id, causation_id = _uuid(envelope.id), _uuid(envelope.causation_id)
    if (
        id is None
        or causation_id is None
        or envelope.time is None
        or not 0 < envelope.sequence < _LAST_VERSION
        or stream.service not in producers
        or envelope.source != source_of(stream.service)
        or envelope.datahash != digest.hexdigest()
        or envelope.replayed
        or record.key != stream.workflow.encode()
    ):
        return None
    return Claim(
        stream,
        envelope.sequence,
        id,
        envelope.type,
        record.topic,
        causation_id,
        digest.digest(),
        envelope.traceparent,
        envelope.time,
    )


def _uuid(text: str) -> UUID | None:
    """The UUID that is written like this, in the one way in which we write it."""
    try:
        made = UUID(text)
    except ValueError:
        return None
    return made if str(made) == text else None


def forged_stream(service: str, topic: str, partition: int, offset: int) -> Stream:
    """The stream in which a service stores its dead letters about forged messages near this place. It follows from the place
    alone: not from what they pretend, nor from the batch in which they were received."""
    place = place_of(topic, partition, offset - offset % LETTERS_OF)
    return Stream(TENANT, place, stream_name(service, "not-on-the-record"))


def by_stream(service: str, records: Iterable[Record]) -> dict[Stream, list[Record]]:
    """Forged records by the stream of their dead letter, each once, in order."""
    found: dict[Stream, dict[int, Record]] = {}
    for record in records:
        found.setdefault(forged_stream(service, record.topic, record.partition, record.offset), {})[record.offset] = record
    return {stream: [record for _, record in sorted(mine.items())] for stream, mine in found.items()}


def forged_letter(service: str, records: Sequence[Record], causation_id: UUID, max_bytes: int) -> DeadLettered:
    """One dead letter about all of these, which lie on one partition. It carries nothing of what they pretend to be but the
    first bodies. `max_bytes`: of the dead letter as JSON, at least `shared.settings.SMALLEST_MESSAGE`."""
    first, most = records[0], min(MAX_BODY, (max_bytes - REST) // BODIES * 3 // 4 - 4)
    count = "1 message" if len(records) == 1 else f"{len(records)} messages"
    return DeadLettered(
        service=service,
        reason="not-on-the-record",
        detail=f"{count} on {first.topic}, partition {first.partition}: the record does not hold exactly this",
        attempts=1,
        door=False,
        causation_id=str(causation_id),
        topic=first.topic,
        partition=first.partition,
        offset=first.offset,
        timestamp=first.timestamp,
        hash=hashlib.sha256(first.value or b"").hexdigest(),
        offsets=tuple(record.offset for record in records),
        bodies=tuple(base64.b64encode((record.value or b"")[:most]).decode() for record in records[:BODIES]),
    )
