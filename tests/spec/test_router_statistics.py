from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted
from contracts.router import RequestRouted
from hansard.codec import encode
from hansard.message import Message
from services.router.app import build, measured_in
from services.router.decider import router
from services.router.policy import Policy
from services.router.rules.choice import Keywords, route_by_keyword
from services.router.rules.rule import Rule
from services.router.statistics import patterns, prices, routed_workflows, rule_for, summary
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoredMessage, Stream, StreamAppend
from shared.settings import Settings
from tests.decisions import decided

decider = router(Policy())


def events_of(name: str, asked: SubmitRequest, cost: str | None = None, text: str = "so it is") -> list[tuple[str, Message]]:
    result = [WorkflowCompleted(text=text, answered_by="plan", cost=Decimal(cost))] if cost else []
    return [(name, message) for message in (asked, *decided(decider, [], asked), *result)]


def free(text: str) -> SubmitRequest:
    return SubmitRequest(text=text)


def typed(type_: str, **data: Any) -> SubmitRequest:
    return SubmitRequest(type=type_, data=data)


def test_the_summary_of_no_workflows_is_all_zeros() -> None:
    none = summary([])
    assert (none.total_requests, none.deterministic_pct, none.avg_cost_per_request) == (0, Decimal(0), Decimal(0))


def test_the_cost_of_a_result_replaces_the_estimate() -> None:
    seen = summary(routed_workflows([*events_of("a", free("Rain"), "0.02"), *events_of("b", free("Snow"))]))
    assert (seen.total_cost, seen.estimated_cost) == (Decimal("0.025"), Decimal("0.010"))


def test_the_order_of_the_events_does_not_matter() -> None:
    events = [*events_of("a", free("Rain"), "0.02"), *events_of("b", typed("check_business_hours", hour=3))]
    assert summary(routed_workflows(events)) == summary(routed_workflows(events[::-1]))


def test_the_answer_of_a_model_is_wasteful_where_a_rule_would_have_answered() -> None:
    events = [
        *events_of("a", free("Is ada@example.com a valid address?"), "0.02"),
        *events_of("b", free("Write a poem"), "0.01"),
        *events_of("c", typed("check_business_hours", hour=3)),
    ]
    seen = summary(routed_workflows(events))
    assert seen.verdicts == {"wasteful": 1, "justified": 1, "rule": 1}
    assert seen.wasted_cost == Decimal("0.02")


def test_without_the_request_it_is_unknown_whether_an_answer_was_wasteful() -> None:
    assert summary(routed_workflows(events_of("a", free("Rain"), "0.02")[1:])).verdicts == {"unknown": 1}


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (typed("checkEmail", email="a@b.example"), "validate_email"),
        (typed("tax-calculation", amount=5), "calculate_tax"),
        (typed("tax-calculation", money=5), None),
        (typed("newsletter", email="a@b.example"), None),
        (typed("classify_intent", text="hello"), None),
        (free("How many km are 26.2 miles?"), "convert_units"),
        (free("What is the tax on $99.99?"), "calculate_tax"),
        (free("Turn this JSON into CSV: []"), "json_to_csv"),
        (free("Write to ada@example.com that the train is late"), None),
    ],
)
def test_the_rule_that_would_have_answered_is_found(asked: SubmitRequest, rule: str | None) -> None:
    assert rule_for(asked) == rule


def test_a_type_that_needs_a_model_is_never_wasteful() -> None:
    near = Rule("text_routing", Keywords, route_by_keyword, lambda d: d["route"])
    assert rule_for(typed("summarize_text", text="hello"), {near.name: near}) is None
    assert rule_for(typed("some_text", text="hello"), {near.name: near}) == near.name


def test_requests_of_one_shape_are_a_pattern_that_could_become_a_rule() -> None:
    events = [
        *events_of("1", free("Where is order 4711?"), "0.01", text="at the depot"),
        *events_of("2", free("where is order 15"), "0.01", text="at the depot"),
        *events_of("3", free("Where is  order 99?"), "0.01", text="on its way"),
        *events_of("4", free("Write a poem"), "0.09"),
    ]
    (pattern,) = patterns(routed_workflows(events))
    assert (pattern.shape, pattern.requests, pattern.cost) == ("where is order <number>", 3, Decimal("0.03"))
    assert (pattern.completed, pattern.answers, pattern.rule) == (3, 2, None)


def test_the_most_expensive_pattern_comes_first() -> None:
    events = [
        pair
        for n in range(3)
        for pair in [*events_of(f"a{n}", free(f"Say {n}"), "0.01"), *events_of(f"b{n}", typed("odd", x=n), "0.02")]
    ]
    assert [pattern.shape for pattern in patterns(routed_workflows(events))] == ["odd(x)", "say <number>"]


def test_a_price_is_measured_from_enough_requests_only() -> None:
    events = [pair for n in range(4) for pair in events_of(str(n), typed("classify_intent", text="hi"), f"0.00{n}")]
    assert prices(routed_workflows(events), enough=4) == {"classify_intent": Decimal("0.0015")}
    assert prices(routed_workflows(events), enough=5) == {}


def test_a_price_is_rounded_to_two_digits_so_that_it_does_not_change_with_every_request() -> None:
    events = [pair for n in range(3) for pair in events_of(str(n), typed("classify_intent", text="hi"), f"0.01234{n}")]
    assert prices(routed_workflows(events), enough=3) == {"classify_intent": Decimal("0.012")}


async def record(store: InMemoryEventStore, *messages: Message, workflow: str) -> None:
    stream = Stream("default", workflow, "router")
    stored = [
        StoredMessage(stream, n, uuid4(), message.kind, "router.events", uuid4(), encode(message), b"")
        for n, message in enumerate(messages, 1)
    ]
    assert (await store.append([StreamAppend(stream, 0, 0, store.now(), messages=stored)])).accepted


async def test_a_router_that_starts_measures_prices_from_the_record() -> None:
    store = InMemoryEventStore()
    service = build(Settings())
    assert service.prepare is not None
    assert (await service.prepare(store)).decider.policy == service.decider.policy, "an empty record changes no price"
    for n in range(20):
        _, *events = (message for _, message in events_of(str(n), typed("classify_intent", text="hi"), "0.0007"))
        await record(store, *events, workflow=str(n))
    prepared = await service.prepare(store)
    routed = decided(prepared.decider, [], typed("classify_intent", text="hi"))[0]
    assert isinstance(routed, RequestRouted)
    assert (routed.cost_estimate, routed.policy) == (Decimal("0.0007"), prepared.decider.policy)
    assert routed.policy != service.decider.policy
    assert routed.reasoning.endswith("measured cost")
    assert (await prepared.prepare(store)).decider.policy == prepared.decider.policy  # type: ignore[misc]


async def test_prices_are_measured_from_the_newest_events_and_unreadable_ones_are_skipped() -> None:
    store = InMemoryEventStore()
    for n in range(40):
        _, *events = (message for _, message in events_of(str(n), typed("classify_intent", text="hi"), "9" if n < 20 else "1"))
        await record(store, *events, workflow=str(n))
    known, unreadable = Stream("default", "0", "router"), Stream("default", "odd", "router")
    first = (await store.load([known]))[known].messages[0]
    await store.append(
        [
            StreamAppend(
                unreadable, 0, 0, store.now(), messages=[replace(first, stream=unreadable, id=uuid4(), data=b'{"path": 1}')]
            )
        ]
    )
    assert await measured_in(store, 20 + 1) == {"classify_intent": Decimal(1)}
    assert await measured_in(store) == {"classify_intent": Decimal(5)}
