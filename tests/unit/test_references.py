"""Long texts, data and lists by reference: what a message too long for its limit becomes, and how it is made whole again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalog import Topics
from contracts.gateway import CallModel, ChatMessage
from contracts.plans import Plan, Step
from contracts.requests import SubmitRequest
from contracts.results import Contribution, WorkflowCompleted
from contracts.specialists import Given, PerformTask
from hansard.codec import Invalid, decode, encode
from hansard.message import Message, Value
from hansard.references import by_reference, is_whole, references, whole
from hansard.values import ContentReference
from tests.decisions import NOON

LIMIT = 20_000


def task(**more: Any) -> PerformTask:
    return PerformTask(**{"task": "join.1", "role": "writer", "goal": "Join.", "deadline": NOON, **more})


def answers(count: int, text: str, data: Any = None) -> tuple[Given, ...]:
    return tuple(Given(step=f"s{n}", worker="writer", text=f"{n}{text}", data=data) for n in range(count))


def completed(**more: Any) -> WorkflowCompleted:
    return WorkflowCompleted(**{"text": "Done.", "answered_by": "plan", "cost": 0, **more})


def request(**more: Any) -> SubmitRequest:
    return SubmitRequest(**more)


CASES: list[Message] = [
    task(context=answers(4, "x" * 250_000)),
    task(context=answers(4, "é\n\x01" * 50_000, {"k": "v" * 250_000})),
    task(goal="g" * 30_000, instructions="i" * 30_000, input={"text": "t" * 30_000, "n": 1}),
    completed(text="t" * 300_000, data=[1] * 100_000, sources=tuple(f"source {n}" for n in range(5_000))),
    completed(contributions=tuple(Contribution(step=f"s{n}", worker="w", tier="t") for n in range(3_000))),
    request(text="words " * 500_000),
    request(type="summarize_text", data={"text": "words " * 50_000, "max_words": 10}),
    request(text="go", plan=Plan(steps=(Step(id="a", worker="w", instructions="do " * 20_000, input={"x": "y" * 20_000}),))),
    CallModel(call="a/b/1", messages=(ChatMessage(role="user", content="why " * 40_000),), deadline=NOON),
]


@pytest.mark.parametrize("message", CASES, ids=lambda message: type(message).__name__)
async def test_a_message_over_the_limit_fits_and_is_whole_again_with_its_contents(message: Message) -> None:
    assert len(encode(message)) > LIMIT
    small, wholes = by_reference(message, LIMIT)
    assert len(encode(small)) <= LIMIT
    assert decode(type(message), encode(small)) == small
    assert {one.sha256 for one in references(small)} == {one.sha256 for one in wholes}
    assert all(is_whole(reference, data) for reference, data in wholes.items())

    async def read(reference: ContentReference) -> bytes:
        return wholes[reference]

    assert encode(await whole(small, read)) == encode(message)


@pytest.mark.parametrize("message", CASES, ids=lambda message: type(message).__name__)
def test_the_same_message_gives_the_same_bytes_and_a_small_one_stays_as_it_is(message: Message) -> None:
    small, wholes = by_reference(message, LIMIT)
    again, twice = by_reference(decode(type(message), encode(message)), LIMIT)
    assert (encode(again), twice) == (encode(small), wholes)
    assert by_reference(small, LIMIT) == (small, {})
    assert by_reference(message, 10_000_000) == (message, {})


def test_an_excerpt_that_is_shortened_again_keeps_its_reference_and_needs_no_content() -> None:
    small, wholes = by_reference(task(context=answers(4, "x" * 250_000)), LIMIT)
    smaller, nothing = by_reference(small, 5_000)
    assert (len(encode(smaller)) <= 5_000, nothing) == (True, {})
    assert list(references(smaller)) == list(references(small)) == list(wholes)


def test_texts_are_shortened_to_one_length_and_say_how_much_is_missing() -> None:
    message, _ = by_reference(task(context=(*answers(3, "x" * 250_000), *answers(1, "short"))), LIMIT)
    lengths = {len(given.text) for given in message.context[:3]}
    assert len(lengths) == 1 and lengths.pop() > 5_000
    assert message.context[0].text.endswith("more characters left out]")
    assert (message.context[3].text, message.context[3].text_ref) == ("0short", None)


def test_an_excerpt_of_a_list_is_its_first_items() -> None:
    parts = tuple(Contribution(step=f"s{n}", worker="w", tier="t") for n in range(3_000))
    small, _ = by_reference(completed(contributions=parts), LIMIT)
    assert 0 < len(small.contributions) < 3_000
    assert small.contributions == parts[: len(small.contributions)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=3_000), min_size=1, max_size=8), st.integers(6_000, 40_000))
def test_whatever_the_texts_are_the_message_fits_or_nothing_more_can_be_left_out(texts: list[str], limit: int) -> None:
    message = task(context=tuple(Given(step="s", worker="w", text=text * 9) for text in texts))
    small, _ = by_reference(message, limit)
    assert len(encode(small)) <= max(limit, len(encode(task(context=tuple(Given(step="s", worker="w", text="") for _ in texts)))))
    assert decode(PerformTask, encode(small)) == small


def values(kind: type[Value]) -> set[type[Value]]:
    found = {kind}
    for field in kind.model_fields.values():
        for part in str(field.annotation).replace("[", " ").replace("]", " ").replace(",", " ").split():
            found |= {sub for sub in Value.__subclasses__() if part.endswith(f".{sub.__name__}")}
    return found


def test_each_reference_stands_beside_the_field_whose_whole_it_names() -> None:
    kinds: set[type[Value]] = {Given, Step, ChatMessage}
    kinds |= {value for kind in Topics().kinds.values() for value in values(kind)}
    named = [(kind, name) for kind in kinds for name in kind.model_fields if name.endswith(("_ref", "_refs"))]
    assert len(named) > 20
    assert [(kind, name) for kind, name in named if name.removesuffix("s").removesuffix("_ref") not in kind.model_fields] == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "t", "text_ref": {"sha256": "%s", "size": 1}}' % (b"0" * 64),
        b'{"text": "t", "text_ref": {"sha256": "../../etc/passwd", "size": 1}}',
        b'{"text": "t", "text_ref": {"sha256": "%s", "size": -1}}' % (b"0" * 64),
        b'{"type": "t", "data": {"n": 1}, "data_refs": {"n": {"sha256": "%s", "size": 1}}}' % (b"0" * 64),
    ],
)
def test_a_request_whose_reference_cannot_be_meant_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode(SubmitRequest, body)
