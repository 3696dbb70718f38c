"""What the gateway may receive, for its diagrams: the outcomes of an attempt, and its performer's reports of an endpoint."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from contracts.gateway import AttemptFailed, CallModel, CancelCall, ChatMessage, Fall, FallReason, ModelReplied
from hansard.decider import Context, WakeUp
from hansard.message import Message
from infra.diagrams import HERE, NOON, Machine, at
from services.gateway.call import Attempting, Call, NoCall, Settled, Waiting, call_decider, wake_at
from services.gateway.circuit import Circuit, circuit_decider
from services.gateway.config import Answers, Chain, Endpoint, Fixed
from services.gateway.facts import AttemptReturned, EndpointFailed, ProbeAsked, ProbeReturned

CALL = "specialists/draft.1/1"
DEADLINE = NOON + timedelta(minutes=1)
ENDPOINT = Endpoint(name="first", url="http://model/v1", model="model", max_retries=1)
ANSWERS = Answers(fixed=(Fixed(answer="answer"),))
CHAINS = (  # with an answer where no endpoint gives one, and without
    Chain(endpoints=(ENDPOINT,), order=("first", "rules"), answers=ANSWERS),
    Chain(endpoints=(ENDPOINT,), order=("first",)),
)


def received_by_call(state: Call) -> Iterator[tuple[Message, Context]]:
    match state:
        case NoCall():
            call = CallModel(call=CALL, messages=(ChatMessage(role="user", content="question"),), deadline=DEADLINE)
            for context in (HERE, replace(HERE, may_perform=False), at(DEADLINE)):
                yield call, context
            yield CancelCall(call=CALL), HERE
        case Waiting() | Attempting():
            if isinstance(state, Attempting):
                for outcome in outcomes(state.intent.attempt):
                    for context in (HERE, replace(HERE, may_perform=False)):
                        yield outcome, context
            for time in filter(None, (wake_at(state), DEADLINE)):
                yield WakeUp(), at(time)
            yield CancelCall(call=CALL), HERE
        case Settled():
            pass


def outcomes(attempt: int) -> Iterator[AttemptReturned]:
    given = {"tier": "first", "provider": "provider", "model": "model"}
    reply = ModelReplied(call=CALL, attempt=attempt, text="text", latency_ms=1, cost=Decimal(0), **given)
    yield AttemptReturned(attempt=attempt, call=CALL, reply=reply)
    reasons: tuple[FallReason, ...] = ("error", "refused", "rate-limit")
    for reason in reasons:
        retry_at = NOON + timedelta(seconds=1) if reason == "rate-limit" else None
        failed = AttemptFailed(call=CALL, fall=Fall(reason=reason, **given), latency_ms=1, retry_at=retry_at)
        yield AttemptReturned(attempt=attempt, call=CALL, failure=failed)


def of_call(state: Call) -> Mapping[str, str]:
    return {"call": type(state).__name__}


def key_of_call(state: Call) -> Hashable:
    match state:
        case Waiting() as waiting:
            pass
        case Attempting(before=waiting):
            pass
        case _:
            return type(state).__name__
    return type(state).__name__, waiting.attempts, waiting.wake_at, tuple(failed.fall.reason for failed in waiting.failures)


def phase(state: Circuit) -> str:
    return "closed" if state.until is None else "probing" if state.probe else "open"


def received_by_circuit(state: Circuit) -> Iterator[tuple[Message, Context]]:
    """What the performer reports: failures while calls are made, then what became of the one probe."""
    match phase(state):
        case "closed":
            yield EndpointFailed(endpoint="first", attempt=state.change + 1, failures=5, of=5, reason="error"), HERE
        case "open":
            asked = ProbeAsked(endpoint="first", attempt=state.change + 1, by=f"{CALL}/1", until=DEADLINE)
            yield asked, HERE
            yield asked, at(state.until or NOON)
        case _:
            for good in (True, False):
                yield ProbeReturned(endpoint="first", attempt=state.change + 1, by=state.probe, good=good), HERE


MACHINES = (
    Machine("A model call", tuple(map(call_decider, CHAINS)), received_by_call, of_call, key_of_call),
    Machine(
        "The circuit of an endpoint",
        (circuit_decider(CHAINS[0]),),
        received_by_circuit,
        lambda state: {"circuit": phase(state)},
        phase,
    ),
)
