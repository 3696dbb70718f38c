"""The tokens of an answer: as the endpoint reports them, or estimated. Pure."""

from collections import Counter
from typing import NamedTuple

from services.gateway.openai_wire.tolerant import Json, listed, mapping, whole


class Tokens(NamedTuple):
    """What an endpoint reports. None: it is not told, and 0 where there cannot be none counts as not told."""

    input: int | None = None
    cached: int = 0  # of the input
    output: int | None = None  # with reasoning
    total: int | None = None


def read_usage(body: Json) -> Tokens:
    """From `usage`, wherever an endpoint puts it: beside the answer, in its choice, or (Groq, streamed) in `x_groq`."""
    choice = mapping(next(iter(listed(body.get("choices"))), None))
    places = (body.get("usage"), mapping(body.get("x_groq")).get("usage"), choice.get("usage"))
    return next((tokens for place in places if (tokens := _tokens(mapping(place))) != Tokens()), Tokens())


def _tokens(usage: Json) -> Tokens:
    given = _first(usage, "prompt_tokens", "input_tokens")
    output = _first(usage, "completion_tokens", "output_tokens")
    total = whole(usage.get("total_tokens")) or None
    reasoning = _first(_details(usage, "completion", "output"), "reasoning_tokens") or _first(usage, "reasoning_tokens") or 0
    if given and total:
        output = max(output or 0, total - given)  # xAI and Gemini count reasoning in the total alone, and bill it as output
    elif output is not None and reasoning > output:
        output += reasoning
    cached = _first(_details(usage, "prompt", "input"), "cached_tokens")
    cached = cached or _first(usage, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens") or 0
    return Tokens(given or None, min(cached, given or 0), output or None, total)


def _details(usage: Json, *sides: str) -> Json:
    return next((found for side in sides if (found := mapping(usage.get(f"{side}_tokens_details")))), {})


def _first(given: Json, *names: str) -> int | None:
    """The first that is told and not 0; else 0 if one is told."""
    told = [number for name in names if (number := whole(given.get(name))) is not None]
    return next((number for number in told if number), told[0] if told else None)


def estimated_tokens(*texts: str) -> int:
    """Four ASCII characters a token, two of another alphabet of Europe or the Near East, one of any other script; two tokens an
    emoji. See decision 0021."""
    return whole_tokens(sum(map(quarters, texts)))


def whole_tokens(quarter_tokens: int) -> int:
    return -(-quarter_tokens // 4)


def quarters(text: str) -> int:
    """Quarters of a token, so that the pieces of a text have as many as the text."""
    if text.isascii():
        return len(text)
    return sum(_quarters(ord(character)) * number for character, number in Counter(text).items())


def _quarters(character: int) -> int:
    return 1 if character < 0x80 else 2 if character < 0x800 else 4 if character < 0x10000 else 8
