"""The text of an answer while it is written: published, never recorded."""

import time

import pytest

from contracts.gateway import AttemptStarted, TokensStreamed
from hansard.codec import decode
from shared.eventstore.memory import InMemoryEventStore
from tests.edge.test_gateway_processes import NEVER, TOPICS, all_messages, chain, process, server
from tests.scripted import Scripted

__all__ = ["server"]


async def test_a_streamed_answer_is_published_in_pieces_and_recorded_as_a_whole(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.performer.token_stream.INTERVAL", 0)
    store = InMemoryEventStore()
    async with process(chain(server, "ok"), store, stream_tokens=True) as one:
        answer = await one.call("Why is the sky blue?")
        pieces = [decode(TOPICS.kinds[piece.kind], piece.data) for piece in one.producer.pieces]
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == answer.text == "Scripted answer to: Why is the sky blue?"  # type: ignore[attr-defined]
    assert [piece.piece for piece in pieces] == list(range(1, len(pieces) + 1))  # type: ignore[attr-defined]
    assert {piece.topic for piece in one.producer.pieces} == {"tokens"}
    assert (answer.input_tokens > 0, answer.output_tokens > 0, answer.estimated) == (True, True, False)
    assert not [message for message in await all_messages(store) if type(message).kind.endswith("tokens-streamed.v1")]


async def test_streamed_tokens_have_no_recorded_topic() -> None:
    with pytest.raises(LookupError):
        TOPICS.for_message("gateway", TokensStreamed(call="a/1", attempt=1, tier="first", piece=1, text="x"))


async def test_a_streamed_answer_has_the_same_deadline_and_errors_as_one_in_one_piece(server: Scripted) -> None:
    store = InMemoryEventStore()
    for script, reason in (
        ("500", "error"),
        ("429", "rate-limit"),
        ("timeout", "timeout"),
        ("garbage", "error"),
        ("half", "error"),
    ):
        table = chain(server, script, circuits=NEVER, endpoint={"timeout": 0.3})
        async with process(table, store, stream_tokens=True) as one:
            began = time.monotonic()
            assert (await one.call()).falls[0].reason == reason, script
            assert time.monotonic() - began < 5
    assert not any(isinstance(message, AttemptStarted) and message.tier == "cache" for message in await all_messages(store))
