"""Producers, consumers and kinds of the topics fit together: a name or a kind in the wrong place is found here."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from contracts.catalog import OURS, Topics
from contracts.specialists import PerformTask
from contracts.tools.goldens import complete
from contracts.verifier import CheckClaim
from hansard.codec import decode
from hansard.message import Outcome
from hansard.service import Service
from hansard.topics import EVERY_SERVICE, Kind, Topic
from infra.cli.running import load
from shared.settings import Settings

CLIENTS = ("console",)  # what is no service and still consumes
ALL = Topics().all


def unknown_names(topics: Iterable[Topic]) -> Iterator[str]:
    known = {*OURS, *CLIENTS, EVERY_SERVICE}
    for topic in topics:
        for role in ("producers", "consumers"):
            yield from (f"{topic.name}: {name} of its {role}" for name in getattr(topic, role) if name not in known)


def not_consumed(service: Service[Any], topics: Iterable[Topic]) -> set[Kind]:
    """Kinds that a service receives, and no topic brings. An outcome comes from its own performer, on no topic."""
    brought = {kind for topic in topics if service.name in topic.consumers for kind in topic.kinds}
    return {kind for kind in service.receives if not issubclass(kind, Outcome)} - brought


def not_produced(topics: Iterable[Topic]) -> list[str]:
    """Recorded topics to which nobody publishes. What is at a door comes from outside."""
    return [topic.name for topic in topics if topic.recorded and not topic.door and not topic.producers]


def test_every_producer_and_consumer_is_a_service_or_a_known_client() -> None:
    assert list(unknown_names(ALL)) == []
    misspelt = replace(Topics().by_name["verifier.commands"], producers=("plannr",), consumers=tuple("verifier"))
    assert next(unknown_names([misspelt])) == "verifier.commands: plannr of its producers"
    assert len(list(unknown_names([misspelt]))) == 1 + len("verifier"), "a text instead of a tuple is names of one letter"


@pytest.mark.parametrize("name", OURS)
def test_every_kind_that_a_service_receives_is_on_a_topic_that_it_consumes(name: str) -> None:
    assert not_consumed(load(name, Settings()), ALL) == set()


def test_a_kind_that_no_topic_brings_to_its_receiver_is_found() -> None:
    verifier = load("verifier", Settings())
    misspelt = [replace(topic, consumers=()) if topic.name == "verifier.commands" else topic for topic in ALL]
    assert not_consumed(verifier, misspelt) == {CheckClaim}


def test_every_kind_on_a_recorded_topic_has_a_producer() -> None:
    assert not_produced(ALL) == []
    assert not_produced([replace(topic, producers=()) for topic in ALL if topic.name in ("verifier.events", "requests")]) == [
        "verifier.events"
    ]


@pytest.mark.parametrize("topics", [Topics(), Topics(workers=("translator",))], ids=["ours", "with a worker"])
def test_every_kind_that_a_service_may_publish_has_exactly_one_topic(topics: Topics) -> None:
    tried = 0
    for topic in (topic for topic in topics.all if topic.recorded):
        for producer, kind in ((producer, kind) for producer in topic.producers for kind in topic.kinds):
            given = complete(kind) | ({"service": topic.name.partition(".")[0]} if topic.name.endswith(".commands") else {})
            assert topics.for_message(producer, decode(kind, json.dumps(given).encode())) == topic.name
            tried += 1
    assert tried > len(topics.kinds) / 2


def test_a_kind_on_two_topics_of_one_producer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = Topics()
    second = replace(Topics().by_name["specialists.commands"], name="specialists.tasks")
    monkeypatch.setitem(vars(topics), "all", (*topics.all, second))
    assert "specialists.tasks" in topics.by_name
    task = decode(PerformTask, json.dumps(complete(PerformTask) | {"service": "elsewhere"}).encode())
    with pytest.raises(LookupError):
        topics.for_message("planner", task)
