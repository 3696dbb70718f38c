"""One stream per task: one model call, then one outcome."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from contracts.gateway import CallModel, CancelCall, ModelFailed, ModelReplied
from contracts.specialists import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from hansard.decider import Context, Decider
from hansard.identity import call_id, mine
from hansard.message import Message
from hansard.values import Answer, Attribution, Passage, Usage, carried
from services.specialists.prompts import call_for
from shared.citations import citations
from shared.roles import Role


@dataclass(frozen=True, slots=True)
class AwaitingTask: ...


@dataclass(frozen=True, slots=True)
class AwaitingReply:
    """The model was called."""

    call: str
    role: str
    passages: tuple[Passage, ...]

    @property
    def task(self) -> str:
        return mine("specialists", self.call) or ""


@dataclass(frozen=True, slots=True)
class Settled: ...


TaskState = AwaitingTask | AwaitingReply | Settled


def specialists(roles: Mapping[str, Role], policy: str) -> Decider[TaskState]:
    def decide(state: TaskState, message: Message, _: Context) -> Iterable[Message]:
        match state:
            case AwaitingTask():
                match message:
                    case PerformTask(task=task, role=name) if name in roles:
                        yield call_for(message, roles[name], call_id("specialists", task, 1))
                    case PerformTask(task=task, role=name):
                        detail = f"no role is named {name!r}; there are {', '.join(sorted(roles))}"
                        yield TaskFailed(task=task, role=name, reason="unknown-role", detail=detail)
                    case CancelTask(task=task):
                        yield TaskCancelled(task=task)
                    case _:
                        pass

            case AwaitingReply(call=call):
                match message:
                    case ModelReplied() if message.call == call:
                        yield answer(state, message)
                    case ModelFailed() if message.call == call:
                        yield failure(state, message)
                    case CancelTask(task=task):
                        yield TaskCancelled(task=task)
                        yield CancelCall(call=call)
                    case _:
                        pass

            case Settled():
                pass

            case _:
                assert_never(state)

    return Decider(AwaitingTask(), decide, evolve, policy=policy)


def evolve(state: TaskState, message: Message) -> TaskState:
    match message:
        case CallModel(call=call, role=role, passages=passages):
            return AwaitingReply(call, role, passages)
        case TaskAnswered() | TaskFailed() | TaskCancelled():
            return Settled()
        case _:
            return state


def answer(state: AwaitingReply, reply: ModelReplied) -> TaskAnswered:
    return TaskAnswered(
        task=state.task,
        role=state.role,
        call=reply.call,
        **carried(reply, Answer, Attribution, Usage)
        | {"text": reply.text.strip(), "sources": reply.sources or citations(reply.text, state.passages).sources},
    )


def failure(state: AwaitingReply, failed: ModelFailed) -> TaskFailed:
    falls = "; ".join(f"{fall.tier}: {fall.reason}" for fall in failed.falls)
    return TaskFailed(
        task=state.task,
        role=state.role,
        reason="deadline" if failed.reason == "deadline" else "no-answer",
        detail=" | ".join(part for part in (failed.reason, failed.detail, falls) if part),
        cost=failed.cost,
    )
