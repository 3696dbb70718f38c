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
from shared.falling_back import degraded_by, some, why
from shared.roles import Role


@dataclass(frozen=True, slots=True)
class AwaitingTask: ...


@dataclass(frozen=True, slots=True)
class AwaitingReply:
    """The model was called. `data`: the answer must be data, in the form that the task asks for."""

    call: str
    role: str
    passages: tuple[Passage, ...]
    data: bool = False

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
                    case ModelReplied(data=None, data_ref=None) if message.call == call and state.data:
                        yield without_data(state, message)
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
        case CallModel(call=call, role=role, passages=passages, response_schema=schema):
            return AwaitingReply(call, role, passages, data=schema is not None)
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
        | {
            "text": reply.text.strip(),
            "sources": reply.sources or citations(reply.text, state.passages).sources,
            "degraded": degraded_by(reply),
        },
    )


def without_data(state: AwaitingReply, reply: ModelReplied) -> TaskFailed:
    """A text in place of data is no answer."""
    promise = f"the task promises data, and {reply.tier} gave a text"
    detail = " | ".join((promise, *degraded_by(reply)))
    return TaskFailed(task=state.task, role=state.role, reason="no-answer", detail=detail, cost=reply.cost)


def failure(state: AwaitingReply, failed: ModelFailed) -> TaskFailed:
    falls = "; ".join(some(map(why, failed.falls)))
    return TaskFailed(
        task=state.task,
        role=state.role,
        reason="deadline" if failed.reason == "deadline" else "no-answer",
        detail=" | ".join(part for part in (failed.reason, falls or failed.detail) if part),
        cost=failed.cost,
    )
