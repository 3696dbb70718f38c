"""Facts that the gateway's performer reports to its own streams. They are recorded and never published."""

from pydantic import AwareDatetime, Field

from contracts.gateway import AttemptFailed, FallReason, ModelReplied
from hansard.message import Name, Outcome, Path, Value


class RefusedField(Value):
    """A field of a request that an endpoint does not take for this model. Without it, or with its other form, it took the same
    request."""

    model: str
    field: str
    detail: str = ""


class AttemptReturned(Outcome):
    """The outcome of one attempt. The call's stream decides what follows from it."""

    kind = "hansard.gateway.attempt-returned.v1"
    call: Path
    reply: ModelReplied | None = None
    failure: AttemptFailed | None = None
    refused: tuple[RefusedField, ...] = Field(default=(), description="fields that the endpoint was found not to take")


class EndpointFact(Outcome):
    """What a performer observed at an endpoint, or wants there. The endpoint's stream decides what follows from it."""

    endpoint: Name


class EndpointFailed(EndpointFact):
    """`attempt` is the number of the requested circuit change, also in the two probe kinds below. The first to ask gets it."""

    kind = "hansard.gateway.endpoint-failed.v1"
    failures: int = Field(ge=1)
    of: int = Field(ge=1, description="calls that were counted")
    reason: FallReason
    detail: str = ""
    not_before: AwareDatetime | None = Field(default=None, description="when the provider wants to be called again")


class ProbeAsked(EndpointFact):
    kind = "hansard.gateway.probe-asked.v1"
    by: str = Field(description="the call that would be the probe, and its attempt")
    until: AwareDatetime = Field(description="the probe is lost if it has not returned by then")


class ProbeReturned(EndpointFact):
    kind = "hansard.gateway.probe-returned.v1"
    by: str
    good: bool
    reason: FallReason | None = None
    detail: str = ""
    not_before: AwareDatetime | None = None


class FieldRefusalFound(EndpointFact):
    """`attempt` is always 1: once is enough for each model and field."""

    kind = "hansard.gateway.field-refusal-found.v1"
    model: str
    field: str
    detail: str = ""


class RetriesAsked(EndpointFact):
    """`attempt` counts the requests that this process made for retries at the endpoint."""

    kind = "hansard.gateway.retries-asked.v1"
    by: str = Field(description="the process that asks")
    calls: int = Field(ge=0, description="first attempts that this process made at the endpoint since it last asked")
