"""What a model is asked: the role's prompt and the task's own material, and nothing of any other task."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import JsonValue

from contracts.gateway import CallModel, ChatMessage
from contracts.specialists import PerformTask
from contracts.verifier import Passage
from hansard.references import Excerpt, joined, share_of
from hansard.values import ContentReference, Insert
from shared.roles import Role
from shared.shortening import shortened

SMALL, LARGE = 10_000, 100_000  # characters of a prompt: with the answer within 4,096 tokens; within 32,768
QUESTION = 2_000  # characters of a call's question
EXCERPT = 2_000  # characters of a text that the gateway reads whole
ELSEWHERE = frozenset({"passages", "response_schema"})  # parts of a task's input that have places of their own in the call


def call_for(task: PerformTask, role: Role, call: str) -> CallModel:
    """The first call of a task."""
    schema = task.input.get("response_schema") if isinstance(task.input, dict) else None
    passages, body, inserts = prompt(task, role)
    return CallModel(
        call=call,
        role=task.role,
        model_class=role.model_class,
        messages=(
            ChatMessage(role="system", content=role.prompt.strip()),
            ChatMessage(role="user", content=body, content_inserts=inserts),
        ),
        question=question(task),
        passages=passages,
        response_schema=schema if isinstance(schema, dict) else None,
        max_output_tokens=role.max_output_tokens,
        temperature=role.temperature,
        deadline=task.deadline,
    )


class Material(NamedTuple):
    """A text of the task: whole, or an excerpt of what `whole` names."""

    text: str
    whole: ContentReference | None = None

    @property
    def length(self) -> int:
        return self.whole.size if self.whole else len(self.text)

    def within(self, limit: int) -> "Segment":
        if self.whole is None:
            return shortened(self.text, limit)
        return Excerpt(shortened(self.text, min(limit, EXCERPT)), self.whole, limit)


Segment = str | Excerpt


def prompt(task: PerformTask, role: Role) -> tuple[tuple[Passage, ...], str, tuple[Insert, ...]]:
    """The passages, and the user's message with its inserts. All material together is shortened to the role's `context`."""
    data = [Material(_data(task.input, task.input_refs)), *_named(task)]
    answers = [Material(given.text, given.text_ref) for given in task.context]
    found = [Material(passage.text) for passage in task.passages]
    material = [
        Material(task.goal, task.goal_ref),
        Material(task.instructions, task.instructions_ref),
        *data,
        *answers,
        *found,
    ]
    limit = share_of((one.length for one in material), role.context or SMALL)
    goal, instructions, *rest = (one.within(limit) for one in material)
    given, rest = rest[: len(data)], rest[len(data) :]
    passages = tuple(
        Passage(source=passage.source, text=str(text)) for passage, text in zip(task.passages, rest[len(answers) :], strict=True)
    )
    content, inserts = joined(_parts(task, goal, instructions, given, rest[: len(answers)], passages))
    return passages, content, inserts


def _parts(
    task: PerformTask,
    goal: Segment,
    instructions: Segment,
    data: list[Segment],
    answers: list[Segment],
    passages: tuple[Passage, ...],
) -> Iterator[tuple[Segment, ...]]:
    for given, text in zip(task.context, answers, strict=True):
        yield f"From step {given.step} ({given.worker}):\n", text
    if task.context_ref:
        yield ("Further steps had a part in this; their answers are left out here.",)
    if passages:
        yield ("Passages. Cite each one you rest on by its name in square brackets:",)
        yield from ((f"[{passage.source}]\n{passage.text}",) for passage in passages)
    if data[0]:
        yield "Data:\n", data[0]
    yield from ((f"{name}:\n", text) for name, text in zip(sorted(task.input_refs), data[1:], strict=True))
    if instructions:
        yield (instructions,)
    yield (goal,)
    if task.feedback:
        yield ("Your last answer was not accepted:\n" + "\n".join(f"- {reason}" for reason in task.feedback),)


def _named(task: PerformTask) -> Iterator[Material]:
    """The texts of the task's input that travel by reference."""
    for name, whole in sorted(task.input_refs.items()):
        text = task.input.get(name) if isinstance(task.input, dict) else None
        yield Material(text if isinstance(text, str) else "", whole)


def _data(given: JsonValue, elsewhere: Mapping[str, ContentReference]) -> str:
    if isinstance(given, dict):
        given = {name: value for name, value in given.items() if name not in ELSEWHERE and name not in elsewhere} or None
    return "" if given is None else given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def question(task: PerformTask) -> str:
    """The question in short. A digest keeps two long ones apart that begin alike."""
    whole = f"{task.instructions}\n\n{task.goal}" if task.instructions else task.goal
    wholes = "".join(one.sha256 for one in (task.goal_ref, task.instructions_ref) if one)
    digest = hashlib.sha256(f"{whole}{wholes}".encode()).hexdigest()[:12]
    return whole if len(whole) <= QUESTION and not wholes else f"{whole[:QUESTION]} … [{digest}]"
