"""A service of a user's own, checked as data: what its fields must be, each error one sentence."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hansard.decider import Decider
from hansard.message import Message
from hansard.service import Performer, Service
from hansard.topics import Topic

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
KIND = re.compile(r"[!-~]{1,512}\Z")
TOPIC = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}\Z")  # what Kafka accepts


def checked(service: Service[Any]) -> Service[Any]:
    """The same service. Raises ValueError with everything that is wrong with it."""
    if wrong := "; ".join(_wrong(service)):
        raise ValueError(wrong)
    return service


def _wrong(service: Service[Any]) -> Iterator[str]:
    name: object = service.name
    if not isinstance(name, str) or not NAME.match(name):
        yield f"its name is {name!r}: a name has letters, digits, - and _ only, at most 64"
    yield from _wrong_decider(service.decider)
    receives: object = service.receives
    if not isinstance(receives, Mapping):
        yield f"`receives` is a mapping of kinds to functions that find the stream, not {_type(receives)}"
    else:
        for kind, find in receives.items():
            yield from _wrong_kind(kind, "`receives`")
            if not callable(find):
                yield f"`receives` needs a function that finds the stream of {_name(kind)}, not {_type(find)}"
    performer: object = service.performer
    if performer is not None and not isinstance(performer, Performer):
        yield f"`performer` is a hansard.Performer, not {_type(performer)}"
    set_aside: object = service.set_aside
    if set_aside is not None and not callable(set_aside):
        yield f"`set_aside` is a function, not {_type(set_aside)}"
    topics: object = service.topics
    if not isinstance(topics, tuple | list):
        yield f"`topics` is a tuple of hansard.Topic, not {_type(topics)}"
    else:
        for topic in topics:
            yield from _wrong_topic(topic)


def _wrong_decider(decider: object) -> Iterator[str]:
    if not isinstance(decider, Decider):
        yield f"`decider` is a hansard.Decider, not {_type(decider)}"
        return
    for part in ("decide", "evolve", "wake_at"):
        if not callable(function := getattr(decider, part)):
            yield f"`{part}` of its decider is a function, not {_type(function)}"


def _wrong_topic(topic: object) -> Iterator[str]:
    if not isinstance(topic, Topic):
        yield f"`topics` holds {topic!r}, which is no hansard.Topic"
        return
    name: object = topic.name
    if not isinstance(name, str) or not TOPIC.match(name):
        yield f"Kafka accepts no topic called {name!r}: letters, digits, ., _ and - only, at most 249"
    for field in ("kinds", "producers", "consumers"):
        if not isinstance(value := getattr(topic, field), tuple | list):
            yield f"`{field}` of the topic {name} is a tuple, not {_type(value)}"
    for kind in topic.kinds if isinstance(topic.kinds, tuple | list) else ():
        yield from _wrong_kind(kind, f"the topic {name}")


def _wrong_kind(kind: object, where: str) -> Iterator[str]:
    if not isinstance(kind, type) or not issubclass(kind, Message):
        yield f"{where} names {_name(kind)}, which is no class of hansard messages"
        return
    value = getattr(kind, "kind", None)
    if not isinstance(value, str):
        yield f'the message {kind.__name__} has no `kind`: give it one, such as kind = "mine.{kind.__name__.lower()}.v1"'
    elif not KIND.match(value):
        yield f"the `kind` of {kind.__name__} is {value!r}: 1 to 512 printable ASCII characters, no spaces"


def _name(value: object) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


def _type(value: object) -> str:
    return type(value).__name__
