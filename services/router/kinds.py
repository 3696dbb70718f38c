"""The typed requests that a model answers: which role gets the task, what it is asked, and the form of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from contracts.plans import Step
from hansard.values import ContentReference
from services.router.rules.rule import Unfit


@dataclass(frozen=True)
class ModelKind:
    """`worker` is a role; `field` of the request's data holds the text; `schema`: of an answer that is data."""

    name: str
    worker: str
    field: str
    goal: str
    instructions: str
    schema: Mapping[str, JsonValue] | None = None

    def goal_of(self, data: Mapping[str, JsonValue], *, is_whole: bool = True) -> str:
        """The goal of the workflow. Raises Unfit where the text is missing or empty, so that no model is paid for it. Of a text
        that travels by reference the goal is the text alone: what is to be done with it is in the step's instructions."""
        text = data.get(self.field)
        if not isinstance(text, str) or not text.strip():
            raise Unfit(f"{self.field}: must be a text that is not empty")
        return self.goal.format(text) if is_whole else text

    def step(self, data: Mapping[str, JsonValue], wholes: Mapping[str, ContentReference]) -> Step:
        """The plan's one step. Its input is the rest of the data: `labels`, `facts`, `passages`, a `response_schema`.

        Raises Unfit for a `response_schema` that is none: it would take away the one of the kind, which promises data.
        """
        if not isinstance(data.get("response_schema", {}), dict):
            raise Unfit("response_schema: must be a JSON Schema, which is an object")
        given: dict[str, JsonValue] = {"response_schema": dict(self.schema)} if self.schema else {}
        given |= {name: value for name, value in data.items() if name != self.field}
        asked = f"{self.goal.format('').strip()}\n\n" if self.field in wholes else ""
        return Step(
            id=self.name,
            worker=self.worker,
            instructions=f"{asked}{self.instructions}".lstrip(),
            input=given or None,
            input_refs={name: whole for name, whole in wholes.items() if name != self.field},
        )


def _record(**fields: JsonValue) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


GENERATE_RESPONSE = "generate_response"
MODEL_KINDS: Mapping[str, ModelKind] = {
    kind.name: kind
    for kind in (
        ModelKind(
            "classify_intent",
            "analyst",
            "text",
            "What does the sender of this message want?\n\n{}",
            "Name the one intent of the message in a word or two. Where `labels` are given, take one of them.",
            _record(intent={"type": "string"}, confidence={"type": "number", "minimum": 0, "maximum": 1}),
        ),
        ModelKind(GENERATE_RESPONSE, "writer", "query", "{}", "Answer the question. Say what you do not know."),
        ModelKind(
            "summarize_text",
            "writer",
            "text",
            "Summarize this text:\n\n{}",
            "Keep what matters, in a few sentences or within `max_words` where given. Add nothing.",
        ),
        ModelKind(
            "extract_entities",
            "analyst",
            "text",
            "Which entities does this text name?\n\n{}",
            "List every person, organization, place and date exactly as it is written.",
            _record(
                entities={
                    "type": "array",
                    "items": _record(text={"type": "string"}, type={"type": "string"}),
                }
            ),
        ),
    )
}
