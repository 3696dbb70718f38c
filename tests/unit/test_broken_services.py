"""What a service of a user's own does wrong costs it the message, and nothing else: rule 10 of the record.

The message becomes a dead letter that says what to mend, the messages beside it are processed, and nothing loops.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from math import inf, nan
from typing import Any
from unittest.mock import ANY

import pytest
from structlog.testing import capture_logs

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from contracts.router import RequestRouted
from hansard.codec import decode
from hansard.decider import CannotProcess, Context, Decider
from hansard.message import Event, Message
from hansard.service import Service
from hansard.tasks import PerformTask, TaskAnswered, TaskFailed
from hansard.testing import InMemory, given
from hansard.topics import Topic
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Appended, StoreRefused, Stream, StreamAppend
from shared.kafka.record import Record
from shared.runtime.inbound import InboundParser
from shared.runtime.loop import Loop
from shared.runtime.processor import Processor, StreamState
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

    def __init__(self, service: Service[Any], store: InMemoryEventStore | None = None, catalogue: Topics = topics) -> None:
        self.kinds = catalogue.kinds
        self.store = store or InMemoryEventStore(lambda: NOON)
        self.parser = InboundParser(service, catalogue, 2000)
        self.loop = Loop(Processor(service, catalogue, 9000), self.store, Publisher(self.store))

    async def process(self, *records: Record) -> None:
        inbounds = [inbound for inbound in map(self.parser.parse, records) if inbound is not None]
        async with asyncio.timeout(5):
            await self.loop.process(inbounds)

    async def stored(self, stream: Stream = STREAM) -> list[str]:
        """What each message of a stream says: the text of an answer, or the detail of a dead letter."""
        read = [decode(self.kinds[one.kind], one.data) for one in (await self.store.load([stream]))[stream].messages]
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


def strict(state: int, message: Message) -> int:
    match message:
        case RequestRouted():
            return state + 1
        case _:
            raise TypeError(f"unexpected {message.kind}")


def forgetful(state: int, message: Message) -> int:  # type: ignore[return]
    match message:
        case RequestRouted():
            return state + 1


def counted(state: Any, message: Message, context: Context) -> Iterable[Message]:
    assert isinstance(message, SubmitRequest)
    if message.text == "bad":
        raise ZeroDivisionError("asked for it")
    yield routed(f"{message.text} {state}")


@pytest.mark.parametrize("evolve", [strict, forgetful])
async def test_an_evolve_that_does_not_know_a_dead_letter_keeps_its_state_live_and_loaded(evolve: Any) -> None:
    process = Process(a_service(counted, evolve))
    await process.process(request("a", id="1"), request("bad", id="2"), request("b", id="3"))
    assert process.loop.cached(STREAM) == StreamState(2, 3, 3, NOON, ANY, ANY)
    later = Process(a_service(counted, evolve), process.store)
    await later.process(request("c", id="4"))
    assert await later.stored() == ["a 0", "poison: ZeroDivisionError: asked for it", "b 1", "c 2"]


def test_an_evolve_that_does_not_know_another_message_still_fails() -> None:
    with pytest.raises(TypeError, match="unexpected"):
        Decider(0, echo, strict).fold([SubmitRequest(text="?")])


@pytest.mark.parametrize("error", [SystemExit(3), pytest.fail.Exception("not an Exception either")])
@pytest.mark.parametrize("where", ["decide", "evolve"])
async def test_what_asks_to_end_the_process_in_a_decision_is_a_dead_letter(error: BaseException, where: str) -> None:
    def decide(state: Any, message: Message, context: Context) -> Iterable[Message]:
        assert isinstance(message, SubmitRequest)
        if message.text == "bad" and where == "decide":
            raise error
        yield routed(f"{message.text}")

    def evolve(state: int, message: Message) -> int:
        if message == routed("bad"):
            raise error
        return state

    process = Process(a_service(decide, evolve))
    await process.process(request("bad", id="1"), request("good", id="2"))
    assert await process.stored() == [f"poison: {type(error).__name__}: {error}", "good"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
async def test_a_stop_of_the_process_is_no_dead_letter(error: BaseException) -> None:
    process = Process(a_service(lambda *_: fail(error)))
    with pytest.raises(type(error)):
        await process.process(request())
    assert await process.stored() == []


@pytest.mark.parametrize(("reason", "detail"), [("because", "it is bad"), ("invalid", 5), (["invalid"], "it is bad")])
async def test_a_refusal_without_a_known_reason_and_a_text_is_poison(reason: Any, detail: Any) -> None:
    process = Process(a_service(lambda *_: fail(CannotProcess(reason, detail))))
    await process.process(request())
    assert await process.stored() == [f"poison: CannotProcess takes a DeadReason and a str, not {reason!r}, {detail!r}"]


async def test_a_refusal_may_have_a_detail_of_any_length() -> None:
    process = Process(a_service(lambda *_: fail(CannotProcess("invalid", "x" * 20_000))))
    await process.process(request())
    assert await process.stored() == ["invalid: " + "x" * 2000]


NO_TIMES = [NOON.replace(tzinfo=None), NOON.isoformat(), 5]


@pytest.mark.parametrize("no_time", NO_TIMES, ids=repr)
async def test_a_wake_at_that_gives_no_aware_time_is_a_dead_letter(no_time: Any) -> None:
    process = Process(a_service(wake_at=lambda state: no_time if state == 1 else None))
    await process.process(request("a", id="1"), request("b", id="2", workflow="w2"))
    sentence = f"poison: ValueError: wake_at must give an aware datetime or None, not {no_time!r}"
    assert await process.stored() == await process.stored(STREAM._replace(workflow="w2")) == [sentence]


@pytest.mark.parametrize("fails_for", [{0, 1}, {1}], ids=repr)
async def test_a_wake_at_that_raises_is_a_dead_letter(fails_for: set[int]) -> None:
    process = Process(a_service(wake_at=lambda state: fail(SystemExit(3)) if state in fails_for else None))
    await process.process(request("a", id="1"), request("b", id="2"))
    assert (await process.stored())[0] == "poison: SystemExit: 3"
    assert await process.store.claim_wake_ups("router", 10, 30) == ([], inf)


@pytest.mark.parametrize("no_time", NO_TIMES, ids=repr)
def test_a_spec_fails_for_a_wake_at_that_gives_no_aware_time(no_time: Any) -> None:
    service = a_service(wake_at=lambda state: no_time)
    with pytest.raises(ValueError, match="wake_at must give an aware datetime or None, not"):
        given(service).when(SubmitRequest(text="?"))
    with pytest.raises(ValueError, match="wake_at must give an aware datetime or None, not"):
        InMemory(service).send(SubmitRequest(text="?"))


async def test_a_wake_up_of_which_nothing_can_be_stored_is_tried_once_a_lease() -> None:
    process = Process(a_service(wake_at=lambda state: NOON if state else None))
    await process.process(request("a", workflow="hateful"))
    claimed, _ = await process.store.claim_wake_ups("router", 10, 30)
    refusing = Process(process.parser.service, Refusing(lambda: NOON))
    refusing.store.__dict__.update(process.store.__dict__)
    async with asyncio.timeout(5):
        await refusing.loop.process_wake_ups(claimed)
    assert [claim.stream.workflow for claim in claimed] == ["hateful"]


async def test_a_failed_decision_is_one_line_of_the_log_with_its_place_and_nothing_that_was_sent() -> None:
    process = Process(a_service(counted))
    with capture_logs() as logs:
        await process.process(request("bad", id="1"), request("good", id="2"))
    [line] = logs
    assert (line["event"], line["log_level"], line["service"]) == ("a decision failed", "warning", "router")
    assert (line["stream"], line["kind"], line["error"]) == (str(STREAM), SubmitRequest.kind, "ZeroDivisionError")
    assert re.fullmatch(r".*test_broken_services\.py:\d+", line["place"])
    assert "asked for it" not in repr(line)


class Measured(Event):
    kind = "own.measured.v1"
    value: float = 0.0
    seen: Any = None


OWN = Topic("own.facts", "What it measures.", (Measured, TaskAnswered, TaskFailed), ("own",), ("console",))
TASK = PerformTask(task="draft.1", role="writer", goal="?", deadline=NOON)


def own_process(*decided: Any) -> Process:
    """A process of a user's own service that receives requests, and decides this for each but a good one."""
    listening = Topic("requests", "", (), consumers=("own",))

    def decide(state: Any, message: Message, context: Context) -> Iterable[Any]:
        assert isinstance(message, SubmitRequest)
        return [Measured(value=1.0)] if message.text == "good" else list(decided)

    service = Service("own", Decider(0, decide, count), receives={SubmitRequest: lambda _: ""}, topics=(OWN, listening))
    return Process(service, catalogue=Topics(services=(service,)))


@pytest.mark.parametrize(
    ("decided", "sentence"),
    [
        ([{"kind": "own.measured.v1"}], "TypeError: decide must yield messages, not dict"),
        ([Measured(), "text"], "TypeError: decide must yield messages, not str"),
        ([TASK.answer("a"), TASK.answer("b")], "ValueError: TaskAnswered may be stored once in a stream"),
        ([TASK.answer("a"), TASK.failure("no-answer", "b")], "ValueError: TaskFailed may be stored once in a stream"),
        ([Measured(value=nan)], "ValueError: own.measured.v1 cannot be read again from its JSON: value: "),
        ([Measured(seen=(1, 2))], "ValueError: own.measured.v1 comes back from its JSON as another message"),
    ],
)  # fmt: skip
async def test_what_cannot_be_stored_is_a_dead_letter_that_says_what_to_mend(decided: list[Any], sentence: str) -> None:
    process, stream = own_process(*decided), STREAM._replace(name="own")
    await process.process(request("bad", id="1"), request("good", id="2"))
    letter, good = await process.stored(stream)
    assert letter.startswith(f"poison: {sentence}") and good == ""


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_message_that_was_stored_before_and_may_be_stored_once_is_a_dead_letter(loaded: bool) -> None:
    process, stream = own_process(TASK.answer("a")), STREAM._replace(name="own")
    await process.process(request("first", id="1"))
    if loaded:
        process.loop.drop_cache()
    await process.process(request("second", id="2"), request("good", id="3"))
    _, letter, good = await process.stored(stream)
    assert letter.startswith("poison: ValueError: TaskAnswered may be stored once in a stream") and good == ""
