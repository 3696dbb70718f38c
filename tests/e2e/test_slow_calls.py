"""A slow model call delays no other."""

from tests.deployment import QUESTION, Deployment

SLOW = {"text": "Implement a function that counts words."}  # for a coder: the scripted model takes five seconds for it


async def test_twenty_quick_calls_overtake_a_slow_one(deployment: Deployment) -> None:
    slow, *quick = await deployment.ask(SLOW, *[QUESTION] * 20)
    await deployment.answered(quick)
    assert slow not in deployment.results
    result = (await deployment.answered([slow]))[slow]
    assert result.kind == "hansard.results.completed.v1"
