"""The catalogue: every topic, once. Provisioning, AsyncAPI, access rules, the runtime and the tests read it.

A new service has a folder here, whose `topics.py` has its rows, and its name in `SERVICES`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from contracts.folders import BadContract, imported
from hansard.message import Message
from hansard.service import Service
from hansard.tasks import task_topics
from hansard.topics import EVERY_SERVICE, Kind, Topic, extended

SERVICES = ("router", "planner", "specialists", "verifier", "gateway", "approval", "ledger", "notifier")
OPTIONAL = ("edge",)  # services of ours that a deployment may do without
OURS = (*SERVICES, *OPTIONAL)
DOORS = ("requests", "control", "results", "dead_letters")
FOLDERS = (*DOORS, *SERVICES)
REVIEWS = "approvals.reviews"


def _rows(folder: str) -> tuple[Topic, ...]:
    topics = getattr(imported(folder, "topics"), "TOPICS", None)
    if not isinstance(topics, tuple) or not all(isinstance(topic, Topic) and isinstance(topic.kinds, tuple) for topic in topics):
        raise BadContract(f"contracts/{folder}/topics.py needs TOPICS, a tuple of Topic, each with a tuple of kinds.")
    for kind in (kind for topic in topics for kind in topic.kinds):
        if not isinstance(getattr(kind, "kind", None), str):
            file = kind.__module__.replace(".", "/")
            raise BadContract(f"{file}.py: {kind.__name__} needs a `kind`, of the form hansard.FOLDER.NAME.v1.")
    return topics


@cache
def _shipped() -> tuple[Topic, ...]:
    return tuple(topic for folder in FOLDERS for topic in _rows(folder))


@dataclass(frozen=True)
class Topics:
    """The catalogue of a deployment. `workers` names services of the user's own that take tasks, `outside` those of them that
    do not store what they publish; `services` are the user's own as far as this process has loaded them. `reviewers` names
    doors for reviews to each of which one person's principal alone may write: `approvals.reviews.alice`, by `person:alice`, which
    is the name of no service."""

    workers: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    services: tuple[Service[Any], ...] = ()
    reviewers: tuple[str, ...] = ()

    @cached_property
    def people(self) -> tuple[str, ...]:
        """The producers of the doors of `reviewers`, in their order: `person:alice`."""
        return tuple(f"person:{name.removeprefix(REVIEWS + '.')}" for name in self.reviewers)

    @cached_property
    def added(self) -> tuple[str, ...]:
        """The names of all services of the user's own."""
        return tuple(dict.fromkeys((*self.workers, *self.outside, *(service.name for service in self.services))))

    @cached_property
    def all(self) -> tuple[Topic, ...]:
        own = (topic for name in self.added for topic in self._own(name))
        shipped = tuple(map(self._with_every_service, _shipped()))
        reviews = next(topic for topic in shipped if topic.name == REVIEWS)
        doors = (
            replace(reviews, name=name, about="Reviews of one person.", producers=(person,))
            for name, person in zip(self.reviewers, self.people, strict=True)
        )
        return extended(shipped, (*own, *doors))

    def _own(self, name: str) -> tuple[Topic, ...]:
        """The topics of a service of the user's own: those that it names itself, or else the two of a worker."""
        loaded = next((service for service in self.services if service.name == name), None)
        return loaded.topics if loaded and loaded.topics else task_topics(name, outside=name in self.outside)

    def _with_every_service(self, topic: Topic) -> Topic:
        return replace(topic, producers=tuple(self._named(topic.producers)), consumers=tuple(self._named(topic.consumers)))

    def _named(self, services: tuple[str, ...]) -> Iterator[str]:
        for name in services:
            yield from (*OURS, *self.added) if name == EVERY_SERVICE else (name,)

    @cached_property
    def by_name(self) -> dict[str, Topic]:
        return {topic.name: topic for topic in self.all}

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Every kind of message by its CloudEvents type."""
        return {kind.kind: kind for topic in self.all for kind in topic.kinds}

    @cached_property
    def _produced(self) -> dict[tuple[str, Kind], tuple[str, ...]]:
        produced: dict[tuple[str, Kind], tuple[str, ...]] = {}
        for topic in filter(lambda topic: topic.recorded, self.all):
            for producer in topic.producers:
                for kind in topic.kinds:
                    produced[producer, kind] = (*produced.get((producer, kind), ()), topic.name)
        return produced

    def is_door(self, name: str) -> bool:
        """Whether a topic is open to the outside, or was: one person's reviews stay on the record when the topic is gone."""
        topic = self.by_name.get(name)
        return topic.door if topic else name.startswith(f"{REVIEWS}.")

    def consumed_by(self, service: str) -> tuple[Topic, ...]:
        return tuple(topic for topic in self.all if service in topic.consumers)

    def for_message(self, producer: str, message: Message) -> str:
        """The topic to which `producer` publishes this. Where several carry the kind, the message names the service it is for.

        Raises LookupError where no recorded topic carries this kind from this producer.
        """
        names = self._produced.get((producer, type(message)), ())
        if len(names) > 1:
            names = tuple(name for name in names if name == f"{getattr(message, 'service', '')}.commands")
        if len(names) != 1:
            raise LookupError(f"{producer} has no topic to publish {type(message).kind} to")
        return names[0]


__all__ = ["OPTIONAL", "OURS", "SERVICES", "Kind", "Topic", "Topics"]
