"""What an answer costs. Pure: the list of prices is a library's data."""

import json
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import genai_prices

from contracts.gateway import CallModel
from services.gateway.config import Chain, Endpoint
from services.gateway.openai_wire.answer import Answer
from services.gateway.openai_wire.usage import estimated_tokens

_MILLION = Decimal(1_000_000)


class Spent(NamedTuple):
    """Tokens of an attempt. `cached`: of the input. `estimated`: the endpoint does not report all of them."""

    input: int
    cached: int
    output: int
    estimated: bool


def spent_on(call: CallModel, answer: Answer) -> Spent:
    """As the endpoint reports them; the rest is estimated from the texts, with reasoning where it was to be seen."""
    told = answer.tokens
    sent = told.input or _sent(call)
    known = told.output is not None or (told.input is not None and not answer.received)
    output = told.output or answer.received
    if not known and told.total is not None:
        output = max(output, told.total - sent)
    return Spent(sent, told.cached, output, not (known and told.input))


def _sent(call: CallModel) -> int:
    texts = [message.content for message in call.messages]
    texts += [tool.arguments for message in call.messages for tool in message.tool_calls]
    texts += [json.dumps(part, ensure_ascii=False) for part in (*call.tools, *filter(None, (call.response_schema,)))]
    return estimated_tokens("".join(texts))


def cost_of(chain: Chain, endpoint: Endpoint, call: CallModel, answer: Answer) -> tuple[Decimal, bool]:
    """US dollars, and whether they are an estimate."""
    sent, cached, received, estimated = spent_on(call, answer)
    if endpoint.free:
        return Decimal(0), False
    price = endpoint.price
    if price is None or isinstance(price, str):
        usage = genai_prices.Usage(input_tokens=sent, cache_read_tokens=cached, output_tokens=received)
        if listed := _listed(endpoint.url, endpoint.model, answer.model):
            return genai_prices.calc_price(usage, listed[0], provider_api_url=listed[1]).total_price, estimated
        estimated, price = True, chain.unknown_price
    return (sent * price.input + received * price.output) / _MILLION, estimated


@lru_cache(1024)  # the search for a model that is not listed takes long
def _listed(url: str, *models: str) -> tuple[str, str | None] | None:
    """The model and the address under which a price is listed."""
    for model in dict.fromkeys(models):
        for address in (url, None):
            try:
                genai_prices.calc_price(genai_prices.Usage(input_tokens=1, output_tokens=1), model, provider_api_url=address)
            except (LookupError, ValueError):
                continue
            return model, address
    return None
