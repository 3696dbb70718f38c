"""A dead letter always fits, and there is none about a dead letter: rule 10 of the record."""

import base64
import json
from uuid import UUID

import pytest

from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from contracts.results import WorkflowFailed
from hansard.codec import decode, encode
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.service import Service
from shared.eventstore.model import Stream
from shared.kafka.record import Record
from shared.runtime.dead_letters import content, dead_letter
from shared.runtime.inbound import DeadCause, Inbound, InboundParser
from shared.runtime.processor import PendingAppend, Processor, StreamState
from shared.settings import SMALLEST_MESSAGE
from tests.unit.toy import NOON, parser, request, service, topics

MB = 1 << 20
WORST = "\x01" * 5000  # six bytes a character in JSON


def inbound(record: Record) -> Inbound:
    return Inbound(
        Stream("default", "w1", "router"),
        causation_id=UUID(int=1),
        kind=WORST,
        hash=b"h" * 32,
        message_id=WORST,
        record=record,
    )


@pytest.mark.parametrize("limit", [SMALLEST_MESSAGE, 900 * 1024])
@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k" * MB, b"{}", ()),
        (b"k", b"v" * MB, ()),
        (b"k", b"{}", (("ce_id", b"h" * MB),)),
        (b"k", b"{}", tuple((f"h{n}", b"") for n in range(100_000))),
        (b"k", b"{}", ((WORST * 40, b""),)),
        (b"k", b"{}", ((b"\xff" * MB, b"\xff"),)),
        (b"k" * 300_000, b"v" * 300_000, (("h", b"h" * 300_000),)),
        (None, None, ()),
    ],
)
def test_it_fits_whatever_the_message_is_and_names_what_it_leaves_out(
    limit: int, key: bytes | None, value: bytes | None, headers: tuple[tuple[str | bytes, bytes], ...]
) -> None:
    record = Record("requests", 1, 2, 3, key, value, headers)
    letter = dead_letter("router", inbound(record), DeadCause("poison", WORST), limit)

    assert len(encode(letter)) <= limit
    whole = content(record)
    for part in ("key", "headers", "body"):
        assert (getattr(letter, part) == whole[part]) != (part in letter.omitted)
    assert (letter.topic, letter.partition, letter.offset) == ("requests", 1, 2)


def test_small_parts_are_carried_beside_a_large_one() -> None:
    record = Record("requests", 0, 0, 0, b"k" * MB, b"{}", (("ce_id", b"1"),))
    letter = dead_letter("router", inbound(record), DeadCause("poison", ""), 900 * 1024)
    assert (letter.omitted, letter.body, letter.headers) == (("key",), "e30=", (("ce_id", "MQ=="),))


def test_headers_and_key_count_toward_the_limit_of_a_request() -> None:
    """The toy's limit is 2,000 bytes."""
    for record in (request(big="x" * 2000), request()._replace(key=b"k" * 2000), request("x" * 2000)):
        found = parser.parse(record)
        assert found is not None
        assert found.dead is not None
        assert found.dead.reason == "too-large"
    assert (fits := parser.parse(request("x" * 1500))) is not None
    assert fits.dead is None


# A service whose every answer is too large what it receives, dead letters included.


def answers_too_much(_: object, message: Message, context: Context) -> list[Message]:
    return [WorkflowFailed(request="r", reason="internal", detail="x" * MB)]


mute = Service(
    "router",
    Decider(0, answers_too_much, lambda count, _: count + 1),
    receives={SubmitRequest: lambda _: "", DeadLettered: lambda _: ""},
)


def decided(record: Record) -> PendingAppend[int]:
    processor = Processor(mute, topics, 900 * 1024)
    pending = processor.begin(Stream("default", "w1", "router"), StreamState(0), NOON)
    found = InboundParser(mute, topics, 2000).parse(record)
    assert found is not None
    processor.process(pending, found)
    return pending


def test_there_is_no_dead_letter_about_a_dead_letter() -> None:
    first = decided(request())
    [letter] = first.messages
    assert first.entries[0].dead
    assert letter.kind == DeadLettered.kind

    about = request(id=str(letter.id), ce_type=letter.kind, ce_source="/hansard/router", body=letter.data)
    second = decided(about._replace(topic="dead-letters"))
    [entry] = second.entries
    assert (entry.dead, second.messages) == (True, [])
    assert second.state == 0, "and nothing has changed"


def test_a_failing_dead_letter_is_in_the_log_of_failed_decisions() -> None:
    [letter] = decided(request()).messages
    body = decode(DeadLettered, letter.data).model_copy(update={"body": base64.b64encode(b"{}").decode()})
    again = request(id=str(letter.id), ce_type=letter.kind, body=json.dumps(body.model_dump(mode="json")).encode())
    assert [kind for kind, _ in decided(again._replace(topic="dead-letters")).failures] == [DeadLettered.kind]


def test_the_toy_is_dead_lettered_in_full() -> None:
    record = request("poison")
    letter = dead_letter(service.name, inbound(record), DeadCause("poison", "because"), 900 * 1024)
    assert (letter.omitted, letter.body) == ((), content(record)["body"])
