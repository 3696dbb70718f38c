"""The gateway's three deciders as the one decider of the service.

`circuit` decides on `EndpointFailed`, `ProbeAsked`, `ProbeReturned` and `FieldRefusalFound`: one stream an endpoint and day.
`retry_budget` decides on `RetriesAsked`: one stream an endpoint and hour.
`call` decides on all other messages: one stream a model call.
"""

from collections.abc import Iterable
from datetime import datetime

from contracts.gateway import CircuitClosed, CircuitOpened, FieldRefused, ProbeGranted, RetriesGranted
from hansard.decider import Context, Decider
from hansard.message import Message
from services.gateway.call import Call, call_decider
from services.gateway.circuit import Circuit, circuit_decider
from services.gateway.config import Chain
from services.gateway.facts import EndpointFact, RetriesAsked
from services.gateway.retry_budget import RetryBudget, retry_budget_decider

State = Call | Circuit | RetryBudget


def gateway(chain: Chain) -> Decider[State]:
    """The configuration is the policy: what was decided under another one is not decided again under this one."""
    return composed(call_decider(chain), circuit_decider(chain), retry_budget_decider(chain))


def composed(call: Decider[Call], circuit: Decider[Circuit], budget: Decider[RetryBudget]) -> Decider[State]:
    """The kind of a message shows which decider it is for. A stream belongs to one of them, by its name: see `circuit_stream`
    and `retry_budget_stream`. Every empty stream has the state `call.initial`."""

    def decide(state: State, message: Message, context: Context) -> Iterable[Message]:
        if isinstance(message, RetriesAsked):
            return budget.decide(state if isinstance(state, RetryBudget) else budget.initial, message, context)
        if isinstance(message, EndpointFact):
            return circuit.decide(state if isinstance(state, Circuit) else circuit.initial, message, context)
        if isinstance(state, Circuit | RetryBudget):
            return ()
        return call.decide(state, message, context)

    def evolve(state: State, message: Message) -> State:
        if isinstance(message, RetriesGranted):
            return budget.evolve(state if isinstance(state, RetryBudget) else budget.initial, message)
        if isinstance(message, CircuitOpened | ProbeGranted | CircuitClosed | FieldRefused):
            return circuit.evolve(state if isinstance(state, Circuit) else circuit.initial, message)
        if isinstance(state, Circuit | RetryBudget):
            return state
        return call.evolve(state, message)

    def wake_at(state: State) -> datetime | None:
        return None if isinstance(state, Circuit | RetryBudget) else call.wake_at(state)

    return Decider(call.initial, decide, evolve, wake_at, policy=call.policy)
