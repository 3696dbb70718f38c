"""The gateway counts what models answer, use and cost, of the messages that it stores."""

from decimal import Decimal

from prometheus_client import REGISTRY

from contracts.gateway import CallCancelled, ModelReplied
from services.gateway.app import build
from shared.settings import Settings

REPLY = ModelReplied(
    call="specialists/draft.1/1", attempt=1, tier="primary", provider="local", model="counted", text="An answer.",
    cost=Decimal("0.25"), input_tokens=12, output_tokens=3, latency_ms=1.0,
)  # fmt: skip


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"tier": "primary", "model": "counted", **labels}) or 0.0


def test_each_stored_reply_counts_once_with_its_tokens_and_cost() -> None:
    observe = build(Settings(model_url="http://127.0.0.1:1/v1", model_name="toy")).observe
    assert observe is not None
    observe([REPLY, CallCancelled(call=REPLY.call)])
    assert counted("hansard_model_calls_total") == 1
    assert counted("hansard_model_cost_dollars_total") == 0.25
    assert counted("hansard_model_tokens_total", direction="input") == 12
    assert counted("hansard_model_tokens_total", direction="output") == 3
