"""A plan is a graph of steps. Data: from a file, a request, or a model."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from hansard.actions import Amount, Currency
from hansard.message import Confidence, Json, Name, Value
from hansard.values import Whole, Wholes

WAIT = "wait"  # the worker of a step that waits: the planner itself
LONGEST_WAIT = 366 * 86400  # seconds
Seconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT, allow_inf_nan=False)]


def _absent(value: object) -> bool:
    return value is None


class Gate(Value):
    """The step acts only with an approval. When it would start, its action is proposed; its task is sent once exactly these bytes
    are approved, and carries the approval. Whoever performs it takes the action from there and from nowhere else.

    A retry carries the same approval: an executor carries out one approval once. A rejected action is not proposed again.
    """

    approval: Literal["policy", "always"] = Field(
        default="policy", description="always: a person decides; policy: where the policy of approvals demands one"
    )
    action: dict[str, Json] = Field(
        default_factory=dict,
        description="fields of the action: tool, about, arguments, amount (money, as a string), currency, recipient",
    )
    action_from: Name | None = Field(
        default=None, description="a needed step: its answer, as data, has further fields, which win over those of `action`"
    )
    confidence: Confidence | None = Field(default=None, description="absent: the least of the needed steps', if all are known")
    cost: Amount | None = Field(default=None, description="what it is estimated to cost; absent: the action's amount")
    currency: Currency = Field(default="USD", description="of `cost`")
    personal_data: bool = Field(default=False, description="it concerns personal data; the policy looks for itself, too")
    domain: str = Field(default="", max_length=64, description="a sensitive domain, as `medical`")
    options_from: tuple[Name, ...] = Field(
        default=(), max_length=20, description="needed steps whose answers contradict each other: they are put before the person"
    )
    quorum: int | None = Field(default=None, ge=1, le=10, description="how many must approve; absent: as the policy says")
    seconds: Seconds | None = Field(default=None, description="until it expires, unapproved; absent: as the policy says")
    ask: Name | None = Field(
        default=None, description="the worker that answers a reviewer's questions; absent: that of the first needed step"
    )


class Wait(Value):
    """What a step waits for: one of `question`, `event`, `until` and `seconds`. What comes is the step's answer, as data.

    While a step waits, the clock of the workflow stands still: the time is not counted towards its deadline.
    """

    question: str | None = Field(default=None, min_length=1, max_length=20_000, description="to a person, who answers it once")
    role: Name = Field(default="reviewer", description="of a question: who may answer it")
    choices: tuple[str, ...] = Field(default=(), description="of a question: the only answers that count; empty: any")
    event: Name | None = Field(
        default=None, description="an event of this workflow, as `hansard.control.signal.v1` names it; it may have come before"
    )
    until: AwareDatetime | None = Field(default=None, description="a time; one that is over is not waited for")
    seconds: Seconds | None = Field(default=None, description="so long after the step would start")
    timeout: Seconds = Field(
        default=7 * 86400, description="seconds, for a person or an event. At the end of them the step fails, or has `otherwise`"
    )
    otherwise: Json = Field(default=None, description="the step's answer where nothing came in time")

    @model_validator(mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        """Refused before its fields are read, so that it is said of `wait` and not of one of them."""
        if isinstance(given, dict):
            named = [name for name in ("question", "event", "until", "seconds") if given.get(name) is not None]
            if len(named) != 1:
                raise ValueError(f"give one of `question`, `event`, `until` and `seconds`, not {' and '.join(named) or 'none'}")
        return given

    @field_validator("until")
    @classmethod
    def _in_utc(cls, until: datetime | None) -> datetime | None:
        try:
            return until and until.astimezone(UTC)
        except OverflowError:
            raise ValueError("should be a time between the years 1 and 9999, in UTC too") from None

    @model_validator(mode="after")
    def _of_a_question(self) -> Self:
        if self.question is None and self.choices:
            raise ValueError("`choices` goes with `question`")
        if self.otherwise is not None and self.question is None and self.event is None:
            raise ValueError("`otherwise` goes with `question` or `event`: a time always comes")
        return self


class Step(Value):
    """One task for one worker."""

    id: Name
    worker: Name = Field(description="who does it: a role of the specialists (research, analyst, writer, coder, …) or a service")
    instructions: str = Field(default="", description="what to do; empty: the goal of the workflow itself")
    needs: tuple[Name, ...] = Field(default=(), description="steps that this one waits for; it is given their answers")
    input: Json = Field(
        default=None,
        description="data for the worker. In an object, `facts` must not be contradicted, `passages` (source and text) are to"
        " be cited, and the answer is of the form `response_schema`",
    )
    verify: Literal["code", "judge", "none"] = Field(default="code", description="how its answer is checked")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(default=2, description="further attempts after a failed check or task")
    timeout: Annotated[float, Field(gt=0, le=30 * 86400)] | None = Field(default=None, description="seconds for one attempt")
    optional: bool = Field(default=False, description="its failure does not fail the workflow; what needs it is skipped")
    instructions_ref: Whole = None
    input_refs: Wholes = Field(default_factory=dict)
    gate: Gate | None = Field(default=None, exclude_if=_absent, description="its action needs an approval")
    wait: Wait | None = Field(
        default=None, exclude_if=_absent, description="what a step waits for whose worker is `wait`; `timeout` is not of it"
    )


class Plan(Value):
    """Steps by their needs. Cycles, unknown needs and unknown workers are refused by the planner, as an event."""

    name: Name = "unnamed"
    version: str = "1"
    architecture: str = Field(default="", description="the plan's pattern: `pipeline`, `fan-out`, …")
    steps: tuple[Step, ...] = Field(min_length=1, max_length=5000)
    answer: tuple[Name, ...] = Field(
        default=(), description="steps whose answers make the result; empty: those that nothing needs"
    )
