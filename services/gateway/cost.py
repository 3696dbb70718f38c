"""What an answer costs. Pure: the list of prices is a library's data."""

from decimal import Decimal
from functools import lru_cache

import genai_prices

from contracts.gateway import CallModel
from services.gateway.config import Chain, Endpoint
from services.gateway.openai_wire.answer import Answer

_MILLION = Decimal(1_000_000)


def tokens_of(call: CallModel, answer: Answer) -> tuple[int, int, int]:
    """Input, cached input among them, output. If the endpoint did not report them: one token for every four characters."""
    if answer.tokens is not None:
        return answer.tokens
    sent = sum(len(message.content) for message in call.messages)
    received = len(answer.text) + sum(len(tool.name) + len(tool.arguments) for tool in answer.tool_calls)
    return -(-sent // 4), 0, -(-received // 4)


def cost_of(chain: Chain, endpoint: Endpoint, call: CallModel, answer: Answer) -> tuple[Decimal, bool]:
    """US dollars, and whether they are an estimate."""
    sent, cached, received = tokens_of(call, answer)
    estimated = answer.tokens is None
    price = endpoint.price
    if endpoint.free:
        return Decimal(0), False
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
