"""All rules by which ids are made. Pure: the same facts give the same id, in every process and at any time.

Ids are stored and published, and an audit makes them anew: a rule never changes once there is data. Ids that people see are
readable (`specialists/draft.1`); the others are version 5 UUIDs.
"""

import hashlib
import unicodedata
from typing import NamedTuple
from uuid import UUID

from hansard.message import Message

NAMESPACE = UUID("6a0f5f0e-5f5a-5b1e-9d5e-1f0b6f7a9c11")
_IDEMPOTENCY = UUID("1f6b0c1e-8f0e-5c38-9a55-0b7a6b6d9f52")


def uuid5(namespace: UUID, name: str) -> UUID:
    """Returns the same as uuid.uuid5, in a third of the time."""
    digest = bytearray(hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


# Streams, and the names that services give to each other


class Stream(NamedTuple):
    """One aggregate of one service: `("default", "wf-1", "specialists/draft.1")`."""

    tenant: str
    workflow: str
    name: str

    @property
    def service(self) -> str:
        return self.name.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.tenant}/{self.workflow}/{self.name}"


def stream_name(service: str, part: str) -> str:
    """`part` tells the streams of one service in one workflow apart; it is empty if there is only one."""
    return f"{service}/{part}" if part else service


PEOPLE = "people"  # the workflow of a tenant that holds the registrations of its people


def is_reserved(workflow: str) -> bool:
    """Whether no request may begin this workflow, and no action waits in it: it holds the registrations of people."""
    return workflow == PEOPLE


LONGEST_PERSON_KEY = 256  # bytes: NFKC makes up to 18 characters of one


def person_key(name: str) -> str:
    """One text for all spellings of a name: capitals, forms of Unicode and blanks around it make no other person."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def is_too_long(person_key: str) -> bool:
    """Whether no person can have this key: it is longer than `LONGEST_PERSON_KEY`."""
    return len(person_key.encode(errors="surrogatepass")) > LONGEST_PERSON_KEY


def person_stream(tenant: str, name: str) -> Stream:
    """The stream of a person's registrations. No action has such a name: `Path` has no colon."""
    return Stream(tenant, PEOPLE, f"approval/person:{person_key(name)}")


def call_id(service: str, part: str, number: int) -> str:
    """The id of a model call: the stream that asks for it, and the number of the call: `specialists/draft.1/1`."""
    return f"{stream_name(service, part)}/{number}"


def mine(service: str, call: str) -> str | None:
    """The part of the stream that made this call id, `draft.1`; None if another service made it."""
    maker, _, rest = call.partition("/")
    return rest.rpartition("/")[0] if maker == service else None


def task_name(step: str, attempt: int) -> str:
    """The name of the attempt's task, and of its check."""
    return f"{step}.{attempt}"


def step_and_attempt(task: str) -> tuple[str, int]:
    """Splits a task's name. Gives attempt 0, which no step has, if the name is not of the form `draft.1`."""
    step, _, attempt = task.rpartition(".")
    return step, int(attempt) if attempt.isascii() and attempt.isdecimal() and len(attempt) < 5 else 0


def question_task(task: str, number: int) -> str:
    """The name of the task that answers a reviewer's question, from 1 on, about the action of this task: `pay.1.q2`."""
    return f"{task}.q{number}"


def question_of(task: str) -> tuple[str, int] | None:
    """Splits the name of such a task. None if it is not of that form."""
    name, _, number = task.rpartition(".q")
    return (name, int(number)) if name and number.isascii() and number.isdecimal() and len(number) < 5 else None


def source_of(service: str) -> str:
    """The `ce_source` of every message that a service publishes."""
    return f"/hansard/{service}"


# Causation ids: under each of them a stream processes one message, once


def door_causation_id(tenant: str, topic: str, source: str, id: str) -> UUID:
    """The causation id of a message from outside, whose sender chose source and id. For our own messages it is the message's
    id."""
    return uuid5(NAMESPACE, f"{tenant}/{topic}/{source}/{id}")


def place_of(topic: str, partition: int, offset: int) -> str:
    """The workflow of a record that names none: `requests.3.42`."""
    return f"{topic}.{partition}.{offset}"


def unreadable_causation_id(place: str) -> UUID:
    """The causation id of a record whose envelope cannot be read: only its place identifies it."""
    return uuid5(NAMESPACE, place)


def forged_causation_id(place: str) -> UUID:
    """The causation id of a dead letter about forged messages, of which the first lies at this place."""
    return uuid5(NAMESPACE, f"{place}/not-on-the-record")


def reused_causation_id(causation_id: UUID, body_hash: bytes) -> UUID:
    """The causation id of a message that has the id of an earlier one and another body."""
    return uuid5(causation_id, body_hash.hex())


def elsewhere_causation_id(causation_id: UUID, workflow: str) -> UUID:
    """The causation id of a message from outside with the tenant, topic, source and id of one of another workflow."""
    return uuid5(causation_id, f"workflow/{workflow}")


def internal_causation_id(stream: Stream, name: str) -> UUID:
    """The causation id of a message to a stream from within its service. If several have one name, the first is processed."""
    return uuid5(NAMESPACE, f"{stream}/{name}")


def wake_up_name(processed: int) -> str:
    """The name of the wake-up of a stream that has `processed` inbox entries. Any message that comes first makes it stale."""
    return f"wake-up/{processed + 1}"


def wake_up_causation_id(stream: Stream, processed: int) -> UUID:
    return internal_causation_id(stream, wake_up_name(processed))


def outcome_name(attempt: int) -> str:
    """The name of the outcome of an attempt. The first outcome of an attempt wins."""
    return f"attempt/{attempt}"


def outcome_causation_id(stream: Stream, attempt: int) -> UUID:
    return internal_causation_id(stream, outcome_name(attempt))


# Stored messages


def stored_message_id(message: Message, stream: Stream, causation_id: UUID, number: int, dead_attempt: int = 0) -> UUID:
    """The id of the message `number`, from 1 on, that a stream stores for one inbox entry.

    A message that can be stored only once has its id from its stream or workflow, so that a unique key refuses a second one.
    A dead letter, the `dead_attempt`th under this causation id, has another id than the message that it replaces.
    """
    if message.once == "workflow":
        return uuid5(NAMESPACE, f"{stream.tenant}/{stream.workflow}/once")
    if message.once == "stream":
        return uuid5(NAMESPACE, f"{stream}/once")
    path = f"{stream}/dead/{dead_attempt}" if dead_attempt else f"{stream}"
    return uuid5(causation_id, f"{path}/{number}")


# Effects


def idempotency_key(tenant: str, workflow: str, call: str, repairs: int) -> str:
    """The key that the gateway sends along with a model call. A repeated call has the same key; a repair has another one."""
    return str(uuid5(_IDEMPOTENCY, f"{tenant}/{workflow}/{call}/{repairs}"))


def webhook_id(tenant: str, workflow: str, delivery: str) -> str:
    """The `webhook-id` of a delivery: the same for all its attempts."""
    return f"msg_{uuid5(_IDEMPOTENCY, f'webhook/{tenant}/{workflow}/{delivery}').hex}"


def delivery_name(about: str, number: int, endpoint: str) -> str:
    """The name of the delivery of one notification to one endpoint: `pay.1/1/chat`. A long one begins with a digest."""
    name = f"{about}/{number}/{endpoint}"
    return name if len(name) <= 255 else f"{hashlib.sha256(about.encode()).hexdigest()[:32]}/{number}/{endpoint}"


# Ids of answers from workers that have no event store


def answer_id(task_id: UUID) -> UUID:
    """The id of the one answer to a task. A task that is delivered twice is answered under the same id."""
    return uuid5(task_id, "answer")


# Ids that our own clients make for messages that they publish at a door


def client_id(purpose: str, random: UUID) -> str:
    """Makes `ask-1f0b6f7a9c11` from a random UUID."""
    return f"{purpose}-{random.hex[:12]}"


def line_id(line: str, repetition: int) -> str:
    """The id of a line in a file of requests: the same file is the same requests. `repetition` counts equal lines, from 1 on."""
    return uuid5(NAMESPACE, f"{line}/{repetition}").hex
