"""What an attempt costs."""

from decimal import Decimal

from contracts.gateway import AttemptFailed, ModelReplied
from tests.edge.test_gateway_openai_client import SCHEMA, answer, asks, at, failed, once, replied, server, tiers
from tests.scripted import Scripted

__all__ = ["server"]


async def test_a_model_in_a_private_network_costs_nothing(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "ok")), asks()))
    assert (reply.cost, reply.estimated) == (Decimal(0), False)


async def test_a_listed_model_costs_the_listed_price(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "gpt-4o", price="listed")), asks()))
    assert reply.cost == (Decimal("2.5") * reply.input_tokens + 10 * reply.output_tokens) / 1_000_000
    assert not reply.estimated


async def test_a_configured_price_takes_precedence_over_the_list(server: Scripted) -> None:
    price = {"input": 1.5, "output": "3"}
    reply = replied(await once(tiers(at(server, "gpt-4o", price=price)), asks()))
    assert reply.cost == (Decimal("1.5") * reply.input_tokens + 3 * reply.output_tokens) / 1_000_000


async def test_the_cost_of_a_model_without_a_known_price_is_marked_as_an_estimate(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "ok", price="listed")), asks()))
    assert reply.cost > 0
    assert reply.estimated


async def test_the_cost_of_an_answer_without_reported_tokens_is_marked_as_an_estimate(server: Scripted) -> None:
    reply = replied(await once(tiers(at(server, "unpriced", price={"input": "1", "output": "1"})), asks()))
    assert reply.estimated
    assert reply.input_tokens == len("Be brief.Why is the sky blue?") // 4 + 1


async def test_an_unusable_answer_is_paid_for(server: Scripted) -> None:
    price = {"input": "1", "output": "1"}
    stored = await answer(tiers(at(server, "invalid+ok", price=price)), asks(response_schema=SCHEMA))
    receipt, reply = stored[1], stored[-1]
    assert isinstance(receipt, AttemptFailed)
    assert isinstance(reply, ModelReplied)
    assert 0 < receipt.cost < reply.cost


async def test_an_attempt_that_broke_off_after_it_was_sent_has_an_estimated_cost(server: Scripted) -> None:
    for script in ("reset", "timeout", "half", "garbage"):
        patience = 0.2 if script == "timeout" else 20
        assert failed(await once(tiers(at(server, script, timeout=patience, price="listed")), asks())).estimated
