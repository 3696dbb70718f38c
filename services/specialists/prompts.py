"""What a model is asked: the role's prompt and the task's own material, and nothing of any other task."""

import hashlib
import json
from collections.abc import Iterator

from pydantic import JsonValue

from contracts.gateway import CallModel, ChatMessage
from contracts.specialists import PerformTask
from contracts.verifier import Passage
from shared.roles import Role
from shared.shortening import fitted

SMALL, LARGE = 10_000, 100_000  # characters of a prompt: with the answer within 4,096 tokens; within 32,768
QUESTION = 2_000  # characters of a call's question
ELSEWHERE = frozenset({"passages", "response_schema"})  # parts of a task's input that have places of their own in the call


def call_for(task: PerformTask, role: Role, call: str) -> CallModel:
    """The first call of a task."""
    schema = task.input.get("response_schema") if isinstance(task.input, dict) else None
    passages, body = prompt(task, role)
    return CallModel(
        call=call,
        role=task.role,
        model_class=role.model_class,
        messages=(
            ChatMessage(role="system", content=role.prompt.strip()),
            ChatMessage(role="user", content=body),
        ),
        question=question(task),
        passages=passages,
        response_schema=schema if isinstance(schema, dict) else None,
        max_output_tokens=role.max_output_tokens,
        temperature=role.temperature,
        deadline=task.deadline,
    )


def prompt(task: PerformTask, role: Role) -> tuple[tuple[Passage, ...], str]:
    """The passages and the user's message. All material together is shortened to the role's `context`."""
    answers = [given.text for given in task.context]
    found = [passage.text for passage in task.passages]
    goal, instructions, data, *texts = fitted(
        [task.goal, task.instructions, _data(task.input), *answers, *found], role.context or SMALL
    )
    passages = tuple(
        Passage(source=passage.source, text=text) for passage, text in zip(task.passages, texts[len(answers) :], strict=True)
    )
    parts = _parts(task, goal, instructions, data, texts[: len(answers)], passages)
    return passages, "\n\n".join(parts)


def _parts(
    task: PerformTask, goal: str, instructions: str, data: str, answers: list[str], passages: tuple[Passage, ...]
) -> Iterator[str]:
    for given, text in zip(task.context, answers, strict=True):
        yield f"From step {given.step} ({given.worker}):\n{text}"
    if passages:
        yield "Passages. Cite each one you rest on by its name in square brackets:"
        yield from (f"[{passage.source}]\n{passage.text}" for passage in passages)
    if data:
        yield f"Data:\n{data}"
    yield f"{instructions}\n\n{goal}" if instructions else goal
    if task.feedback:
        yield "Your last answer was not accepted:\n" + "\n".join(f"- {reason}" for reason in task.feedback)


def _data(given: JsonValue) -> str:
    if isinstance(given, dict):
        given = {name: value for name, value in given.items() if name not in ELSEWHERE} or None
    return "" if given is None else given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def question(task: PerformTask) -> str:
    """The question in short. A digest keeps two long ones apart that begin alike."""
    whole = f"{task.instructions}\n\n{task.goal}" if task.instructions else task.goal
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return whole if len(whole) <= QUESTION else f"{whole[:QUESTION]} … [{digest}]"
