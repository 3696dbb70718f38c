"""What a service of a user's own does wrong costs it the message, and nothing else: rule 10 of the record.

The message becomes a dead letter that says what to mend, the messages beside it are processed, and nothing loops.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from hansard.codec import decode
from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.service import Service
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, StoreRefused, Stream, StreamAppend
from shared.kafka.record import Record
from shared.runtime.inbound import InboundParser
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor
from tests.unit.loop_kit import Publisher
from tests.unit.toy import NOON, request, routed, topics

STREAM = Stream("default", "w1", "router")


def echo(state: Any, message: Message, context: Context) -> Iterable[Message]:
    assert isinstance(message, SubmitRequest)
    yield routed(f"{message.text}")


def count(state: int, message: Message) -> int:
    return state + 1


def a_service(
    decide: Callable[[Any, Message, Context], Iterable[Any]] = echo,
    evolve: Callable[[Any, Message], Any] = count,
    receive: Callable[[Any], Any] = lambda _: "",
    **more: Any,
) -> Service[Any]:
    return Service("router", Decider(0, decide, evolve, **more), receives={SubmitRequest: receive})


class Process:
    """A loop of this service on this store. It is given what it needs to finish, and no more."""

    def __init__(self, service: Service[Any], store: InMemoryEventStore | None = None) -> None:
        self.store = store or InMemoryEventStore(lambda: NOON)
        self.parser = InboundParser(service, topics, 2000)
        self.loop = Loop(Processor(service, topics, 9000), self.store, Publisher(self.store))

    async def process(self, *records: Record) -> None:
        inbounds = [inbound for inbound in map(self.parser.parse, records) if inbound is not None]
        async with asyncio.timeout(5):
            await self.loop.process(inbounds)

    async def stored(self, stream: Stream = STREAM) -> list[str]:
        """What each message of a stream says: the text of an answer, or the detail of a dead letter."""
        read = [decode(topics.kinds[one.kind], one.data) for one in (await self.store.load([stream]))[stream].messages]
        return [f"{one.reason}: {one.detail}" if isinstance(one, DeadLettered) else getattr(one, "reasoning", "") for one in read]


def for_bad(give: Callable[[], Any]) -> Callable[[SubmitRequest], Any]:
    return lambda message: give() if message.text == "bad" else ""


def fail(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "a\nb", "x" * 506, 5, b"part"], ids=repr)
async def test_a_stream_name_that_no_store_can_hold_is_a_dead_letter_on_the_services_own_stream(name: Any) -> None:
    process = Process(a_service(receive=for_bad(lambda: name)))
    await process.process(request("bad", id="1"), request("good", id="2"))
    bad, good = await process.stored()
    assert bad.startswith("poison: ValueError: receives gives ") and "names no stream" in bad and good == "good"


async def test_a_stream_name_may_have_any_letters_up_to_the_length_of_a_subject() -> None:
    name = "ü" * (512 - len("router/"))
    process = Process(a_service(receive=lambda _: name))
    await process.process(request("good"))
    assert await process.stored(STREAM._replace(name=f"router/{name}")) == ["good"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (KeyError("part"), "KeyError: 'part'"),
        (SystemExit(3), "SystemExit: 3"),
        (Unprintable(), "Unprintable: (its text cannot be shown)"),
    ],
)
async def test_what_receives_raises_is_a_dead_letter(error: BaseException, detail: str) -> None:
    process = Process(a_service(receive=for_bad(lambda: fail(error))))
    await process.process(request("bad", id="1"), request("good", id="2"))
    assert await process.stored() == [f"poison: {detail}", "good"]


class Refusing(InMemoryEventStore):
    """Refuses everything about one workflow, its dead letters too."""

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        await asyncio.sleep(0)  # so that a loop without end is cancelled
        good = [append for append in appends if append.stream.workflow != "hateful"]
        if not good:
            raise StoreRefused("this workflow is refused")
        return await super().append(good)


async def test_a_message_of_which_nothing_can_be_stored_is_skipped_and_logged_with_its_place() -> None:
    process = Process(a_service(), Refusing(lambda: NOON))
    with capture_logs() as logs:
        await process.process(request("bad", workflow="hateful", offset=7), request("good", id="2"))
    assert await process.stored() == ["good"]
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert line["event"].startswith("a message is skipped") and line["place"] == "requests[0]@7"
