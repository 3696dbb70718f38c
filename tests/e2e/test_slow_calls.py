"""A slow model call delays no other."""

from tests.house import QUESTION, House

SLOW = {"text": "Implement a function that counts words."}  # a coder's: the scripted model takes five seconds for it


async def test_twenty_quick_calls_pass_one_that_is_slow(house: House) -> None:
    slow, *quick = await house.ask(SLOW, *[QUESTION] * 20)
    await house.answered(quick)
    assert slow not in house.results
    result = (await house.answered([slow]))[slow]
    assert result.kind == "hansard.results.completed.v1"
