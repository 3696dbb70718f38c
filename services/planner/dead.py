"""What a dead letter was about, as far as its bytes can be read."""

import base64
import json

from contracts.dead_letters import DeadLettered
from contracts.gateway import RejectReply
from contracts.planner import RunPlan
from shared.service import mine


def task_of(dead: DeadLettered) -> str | None:
    """The task that a message of ours was about: itself, its check, a call on its behalf, its timer."""
    try:
        data = json.loads(base64.b64decode(dead.body or ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    for field in ("task", "check"):
        if isinstance(name := data.get(field), str):
            return name
    call, timer = data.get("call"), data.get("timer")
    if isinstance(call, str):
        return call.split("/")[1] if call.count("/") == 2 else None
    if isinstance(timer, str) and timer != DEADLINE and mine("planner", timer) is not None:
        return timer.rpartition("/")[2]
    return None


def is_waited_for(dead: DeadLettered) -> bool:
    """Whether a step may wait for what it would have led to."""
    return not dead.door and dead.message_kind != RejectReply.kind


def ends_unheard(dead: DeadLettered) -> bool:
    """Whether it can keep a plan that was not heard yet from ever ending: the plan itself, or its deadline."""
    return dead.message_kind == RunPlan.kind or dead.topic in ("planner.commands", "timers.commands", "timers.events")


def told(dead: DeadLettered) -> str:
    what = dead.message_kind or "a message"
    return f"{dead.service} could not hear {what} on {dead.topic} ({dead.reason}): {dead.detail}"


DEADLINE = "planner/deadline"
