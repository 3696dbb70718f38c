"""Submit a request, wait for its result, and see what was published on the way.

The client speaks Kafka alone. It finds the brokers in HANSARD_KAFKA, or is given them: Client("localhost:9092").
"""

import pytest

from hansard.client import Client, NoResult
from tests.deployment import Deployment


async def tax_on(amount: str) -> str:
    """A typed request: a rule answers it, and no model is asked."""
    async with Client() as client:
        id = await client.submit(type="calculate_tax", data={"amount": amount}, deadline=60)
        result = await client.result(id, timeout=60)
        if not result.ok:
            raise RuntimeError(f"{result.status}: {result.reason}: {result.detail}")
        return result.text


async def test_a_request_is_answered(deployment: Deployment) -> None:
    assert "99.99" in await tax_on("99.99")


async def test_a_workflow_can_be_followed_to_its_end(deployment: Deployment) -> None:
    async with Client() as client:
        id = await client.submit(type="calculate_tax", data={"amount": "10"})
        names = [message.name async for message in client.follow(id, timeout=60)]
    assert set(names) == {"request-routed", "completed"}


async def test_the_same_id_is_the_same_request_and_has_the_same_result(deployment: Deployment) -> None:
    async with Client() as client:
        for _ in range(2):
            await client.submit(type="calculate_tax", data={"amount": "5"}, id="order-4711")
    async with Client() as later:
        first, second = [await later.result("order-4711", timeout=60) for _ in range(2)]
    assert first == second and first.ok


async def test_a_request_that_cannot_be_served_says_what_to_mend(deployment: Deployment) -> None:
    async with Client() as client:
        result = await client.ask(type="calculate_tax", data={"amount": "much"}, timeout=60)
        assert result.status == "refused" and "amount" in result.detail
        with pytest.raises(NoResult, match="hansard audit show nobody-asked"):
            await client.result("nobody-asked", timeout=0.5)
