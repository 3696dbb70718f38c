"""Which task or request a dead letter is about, as far as its bytes can be read."""

import base64
import json

from pydantic import JsonValue

from contracts.approval import GiveMore, MoreAsked, WithdrawAction
from contracts.dead_letters import DeadLettered
from contracts.gateway import RejectReply
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.router import MoveDeadline

NOT_AWAITED = (RejectReply.kind, ExpireWorkflow.kind, MoveDeadline.kind, WithdrawAction.kind, GiveMore.kind, MoreAsked.kind)


def task_of(dead: DeadLettered) -> str | None:
    """The task that the dead letter belongs to: it is the task's own message, its check, or a model call for it."""
    data = _data(dead)
    for field in ("task", "check", "action_id"):
        if isinstance(name := data.get(field), str):
            return name
    call = data.get("call")
    return call.split("/")[1] if isinstance(call, str) and call.count("/") == 2 else None


def request_of(dead: DeadLettered, workflow: str) -> str:
    """The id of the request that the router's command names; where it cannot be read, that of the workflow, which is the same
    unless its sender chose a correlation id."""
    request = _data(dead).get("request")
    return request if isinstance(request, str) and request else workflow


def may_be_awaited(dead: DeadLettered) -> bool:
    """Whether a running plan may be waiting for a reply to this message. Not for its deadline: the plan's own wake-up ends it."""
    return not dead.door and dead.message_kind not in NOT_AWAITED


def prevents_end(dead: DeadLettered) -> bool:
    """Whether the dead letter was the plan or its deadline. If the planner ignored it, the workflow would never end."""
    return dead.message_kind == RunPlan.kind or dead.topic == "planner.commands"


def explanation(dead: DeadLettered) -> str:
    what = dead.message_kind or "a message"
    return f"{dead.service} could not process {what} on {dead.topic} ({dead.reason}): {dead.detail}"


def _data(dead: DeadLettered) -> dict[str, JsonValue]:
    try:
        data = json.loads(base64.b64decode(dead.body or ""))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
