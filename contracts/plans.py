"""A plan is a graph of steps. Data: from a file, a request, or a model."""

from typing import Annotated, Literal

from pydantic import Field

from hansard.message import Json, Name, Value
from hansard.values import Whole, Wholes


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


class Plan(Value):
    """Steps by their needs. Cycles, unknown needs and unknown workers are refused by the planner, as an event."""

    name: Name = "unnamed"
    version: str = "1"
    architecture: str = Field(default="", description="the plan's pattern: `pipeline`, `fan-out`, …")
    steps: tuple[Step, ...] = Field(min_length=1, max_length=5000)
    answer: tuple[Name, ...] = Field(
        default=(), description="steps whose answers make the result; empty: those that nothing needs"
    )
