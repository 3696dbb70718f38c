"""`hansard init worker`: a service of your own, its spec and a plan that uses it."""

import re
from pathlib import Path

from infra.cli import screen
from infra.cli.problem import Problem

WORKER = '''\
"""What {NAME} answers. `decide` and `evolve` are pure: no clock, no network, no randomness. Run it: hansard serve worker.py"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hansard import (
    CancelTask,
    CannotProcess,
    Context,
    Decider,
    Event,
    Message,
    PerformTask,
    Service,
    TaskAnswered,
    TaskCancelled,
    TaskFailed,
    task_topics,
)


class WordsCounted(Event):
    """A kind of your own: it is stored and published on the topic {NAME}.facts. A change of its meaning needs a new `kind`."""

    kind = "{NAME}.words-counted.v1"
    task: str
    words: int


@dataclass(frozen=True)
class State:
    """What one task remembers: the fold of what this service has stored for it."""

    words: int = 0
    ended: bool = False


def decide(state: State, message: Message, context: Context) -> Iterable[Message]:
    """What is stored and published when the stream of a task receives `message`. Each task is answered once."""
    match message:
        case _ if state.ended:
            return
        case PerformTask():
            words = len(message.goal.split())
            yield WordsCounted(task=message.task, words=words)
            if words:
                yield message.answer(f"{{words}} words: {{message.goal}}", data={{"words": words}})
            else:
                yield message.failure("no-answer", "there is nothing to count")
        case CancelTask():
            yield TaskCancelled(task=message.task)
        case _:
            raise CannotProcess("not-expected", f"{{message.kind}} is not for this service")


def evolve(state: State, stored: Message) -> State:
    """The state after one more stored message."""
    match stored:
        case WordsCounted(words=words):
            return replace(state, words=words)
        case TaskAnswered() | TaskFailed() | TaskCancelled():
            return replace(state, ended=True)
        case _:
            return state


def stream(message: PerformTask | CancelTask) -> str | None:
    """Every task is a stream of its own; tasks of other services are not for us."""
    return message.task if message.service == "{NAME}" else None


service = Service(
    "{NAME}",
    Decider(State(), decide, evolve),
    receives={{PerformTask: stream, CancelTask: stream}},
    topics=task_topics("{NAME}", facts=(WordsCounted,)),
)
'''

SPEC = '''\
"""Given what a task has stored, when it receives a message, then it publishes these. Run it: pytest"""

from datetime import UTC, datetime

from hansard import CancelTask, PerformTask, TaskAnswered, TaskCancelled
from hansard.testing import InMemory, given
from worker import WordsCounted, service

TASK = PerformTask(
    task="count.1", service="{NAME}", role="{NAME}", goal="Count these four words", deadline=datetime(2100, 1, 1, tzinfo=UTC)
)
COUNTED = WordsCounted(task="count.1", words=4)
ANSWER = TASK.answer("4 words: Count these four words", data={{"words": 4}})


def test_a_task_is_answered_with_the_number_of_its_words() -> None:
    given(service).when(TASK).then(COUNTED, ANSWER)


def test_a_task_that_has_an_answer_gets_no_second_one() -> None:
    given(service, COUNTED, ANSWER).when(TASK).then()


def test_a_cancelled_task_is_not_answered() -> None:
    cancel = CancelTask(task="count.1", service="{NAME}")
    given(service).when(cancel).then(TaskCancelled(task="count.1")).when(TASK).then()


def test_a_message_that_comes_twice_changes_nothing() -> None:
    there = InMemory(service)
    assert there.send(TASK, id="once") == (COUNTED, ANSWER)
    assert there.send(TASK, id="once") == ()
    assert [type(message) for message in there.messages("{NAME}/count.1")] == [WordsCounted, TaskAnswered]
'''

PLAN = """\
# A plan with one step, which {NAME} does. `verify: none`: its answer is not checked any further.
name: {NAME}-alone
version: "1"
steps:
  - id: count
    worker: {NAME}
    verify: none
"""

FILES = {"worker.py": WORKER, "test_worker.py": SPEC, "plan.yaml": PLAN}
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}\Z")


def write(name: str, folder: Path) -> None:
    """Writes the three files and says what to type next. What is there already is left alone. Raises Problem."""
    if not NAME.match(name):
        raise Problem(f"{name!r} is no name for a worker: small letters, digits and -, beginning with a letter.", code=2)
    for file, content in FILES.items():
        put(folder / file, content.format(NAME=name))
    screen.out.print(
        f"\nNext:\n"
        f"  cd {folder}\n"
        f"  pytest                                             # its spec\n"
        f"  export HANSARD_SERVICES=worker.py:service\n"
        f"  hansard up --detach                                # starts it with the others\n"
        f'  hansard plans run plan.yaml "Count these four words"\n'
        f"  hansard audit verify\n"
        f"\nWhere everything else runs already, `hansard topics` makes its topics, `hansard serve worker.py:service` runs it,\n"
        f"and the planner must know it: HANSARD_WORKERS={name}.",
        soft_wrap=True,
    )


def put(file: Path, content: str) -> None:
    """Writes a file that is not there yet. Raises Problem."""
    if file.exists():
        screen.note(f"{file} is there already")
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    except OSError as refused:
        raise Problem(f"{file} cannot be written: {refused}.") from None
    screen.out.print(f"wrote {file}")
