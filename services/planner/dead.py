"""What a dead letter was about, as far as its bytes can be read."""

import base64
import json
from typing import Any

from contracts.dead_letters import DeadLettered
from contracts.gateway import RejectReply
from contracts.planner import ExpireWorkflow, RunPlan


def task_of(dead: DeadLettered) -> str | None:
    """The task that a message of ours was about: itself, its check, a call on its behalf."""
    data = _data(dead)
    for field in ("task", "check"):
        if isinstance(name := data.get(field), str):
            return name
    call = data.get("call")
    return call.split("/")[1] if isinstance(call, str) and call.count("/") == 2 else None


def request_of(dead: DeadLettered) -> str:
    """The id of the request that a command of the router names; "" where it cannot be read."""
    request = _data(dead).get("request")
    return request if isinstance(request, str) else ""


def is_waited_for(dead: DeadLettered) -> bool:
    """Whether a plan that runs may wait for what it would have led to: it knows its deadline itself."""
    return not dead.door and dead.message_kind not in (RejectReply.kind, ExpireWorkflow.kind)


def ends_unheard(dead: DeadLettered) -> bool:
    """Whether it can keep a plan that was not heard yet from ever ending: the plan itself, or its deadline."""
    return dead.message_kind == RunPlan.kind or dead.topic == "planner.commands"


def told(dead: DeadLettered) -> str:
    what = dead.message_kind or "a message"
    return f"{dead.service} could not hear {what} on {dead.topic} ({dead.reason}): {dead.detail}"


def _data(dead: DeadLettered) -> dict[str, Any]:
    try:
        data = json.loads(base64.b64decode(dead.body or ""))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
