"""What the specs of gates and waits share: a step that pays, messages of approval, and what the planner decides."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.approval import ActionApproved, ActionRejected, MoreAsked, ProposeAction, QuestionAnswered, QuestionExpired
from contracts.control import SignalWorkflow
from contracts.planner import RunPlan
from contracts.plans import Gate, Plan, Step, Wait
from hansard.actions import Action, action_bytes, action_reference
from hansard.decider import WakeUp
from hansard.message import Message
from services.planner.decider import planner
from services.planner.state import WorkflowState
from tests.decisions import HERE, NOON, decided
from tests.spec.planner_kit import DEADLINE, at, step

WORKERS = {"writer": "specialists", "analyst": "specialists", "ledger": "ledger"}
decider = planner(WORKERS, "p1")
REFUND: dict[str, Any] = {"tool": "ledger", "about": "Refund $50", "amount": "50", "recipient": "acct-9"}
OTHER: dict[str, Any] = REFUND | {"amount": "5000"}


def pay(*needs: str, gate: dict[str, Any] | None = None, **more: Any) -> Step:
    return step("pay", *needs, worker="ledger", gate=Gate(**{"action": REFUND} | (gate or {})), **more)


def wait(name: str, *needs: str, for_: dict[str, Any], **more: Any) -> Step:
    return step(name, *needs, worker="wait", wait=Wait(**for_), **more)


def run(*steps: Step, budget: Decimal | None = None, **more: Any) -> RunPlan:
    return RunPlan(request="r", goal="Rain.", plan=Plan(name="p", steps=steps), deadline=DEADLINE, budget=budget, **more)


def bytes_of(fields: dict[str, Any]) -> bytes:
    return action_bytes(Action.model_validate(fields))


def approved(fields: dict[str, Any] = REFUND, action_id: str = "pay.1", **more: Any) -> ActionApproved:
    reference = action_reference(bytes_of(fields))
    given = {"action_id": action_id, "sha256": reference.sha256, "action": bytes_of(fields).decode(), "action_ref": reference}
    return ActionApproved.model_validate(
        given | {"status": "human_approved", "by": ("alice",), "policy": "a1", "rule": "r"} | more
    )


def edited(fields: dict[str, Any] = OTHER, of: dict[str, Any] = REFUND, **more: Any) -> ActionApproved:
    return approved(fields, proposed=action_reference(bytes_of(of)).sha256, **more)


def rejected(because: Any = "reviewed", **more: Any) -> ActionRejected:
    given = {"action_id": "pay.1", "sha256": "0" * 64, "by": ("alice",), "notes": "Too much.", "policy": "a1"}
    status = "human_rejected" if because == "reviewed" else because
    return ActionRejected.model_validate(given | {"because": because, "status": status} | more)


def asks_more(question: int = 1, text: str = "Why?", action_id: str = "pay.1") -> MoreAsked:
    return MoreAsked(action_id=action_id, question=question, text=text, by="alice", at=NOON, expires_at=NOON + timedelta(days=1))


def answers(answer: Any, step: str = "asked") -> QuestionAnswered:
    return QuestionAnswered(action_id=f"{step}.1", answer=answer, by="alice")


def expired(step: str = "asked") -> QuestionExpired:
    return QuestionExpired(action_id=f"{step}.1", because="expired")


def signal(name: str = "paid", data: Any = None) -> SignalWorkflow:
    return SignalWorkflow(name=name, data=data, by="shop")


class Workflow:
    """A workflow of the planner: receives one message after the other, each decided twice, at seconds after noon."""

    def __init__(self, asked: RunPlan, *before: Message) -> None:
        self.messages: list[Message] = []
        for message in (*before, asked):
            self.receives(message)

    def receives(self, message: Message, seconds: float = 0) -> list[Message]:
        more = decided(decider, self.messages, message, at(seconds))
        self.messages += more
        return more

    def wakes(self, seconds: float | None = None) -> list[Message]:
        """At the time for which it asked, or so many seconds after noon."""
        due = self.wakes_at
        assert due is not None
        return self.receives(WakeUp(), due if seconds is None else seconds)

    @property
    def state(self) -> WorkflowState:
        return decider.fold(self.messages)

    @property
    def wakes_at(self) -> float | None:
        time = decider.wake_at(self.state)
        return None if time is None else (time - NOON).total_seconds()

    def stored(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def proposed(self) -> ProposeAction:
        [proposal] = self.stored(ProposeAction)
        assert isinstance(proposal, ProposeAction)
        return proposal


def seconds_of(time: datetime) -> float:
    return (time - NOON).total_seconds()


DECISION = str(HERE.causation_id)
