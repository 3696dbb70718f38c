"""Kinds outlive the names of classes, files and topics. This list only grows."""

import re

from contracts.catalog import Topics
from contracts.tools.generate import CATALOGUE
from contracts.tools.goldens import folder_of
from hansard.message import Message

KINDS = [
    "hansard.control.cancel.v1",
    "hansard.control.redrive.v1",
    "hansard.dead-letters.dead-lettered.v1",
    "hansard.gateway.attempt-failed.v1",
    "hansard.gateway.attempt-started.v1",
    "hansard.gateway.call-accepted.v1",
    "hansard.gateway.call-cancelled.v1",
    "hansard.gateway.call.v1",
    "hansard.gateway.cancel.v1",
    "hansard.gateway.circuit-closed.v1",
    "hansard.gateway.circuit-opened.v1",
    "hansard.gateway.model-failed.v1",
    "hansard.gateway.model-replied.v1",
    "hansard.gateway.probe-granted.v1",
    "hansard.gateway.reject-reply.v1",
    "hansard.gateway.reply-discarded.v1",
    "hansard.gateway.reply-rejected.v1",
    "hansard.gateway.retries-granted.v1",
    "hansard.gateway.tokens-streamed.v1",
    "hansard.planner.cancel-noted.v1",
    "hansard.planner.expire.v1",
    "hansard.planner.plan-rejected.v1",
    "hansard.planner.plan-started.v1",
    "hansard.planner.run.v1",
    "hansard.planner.step-answered.v1",
    "hansard.planner.step-cancelled.v1",
    "hansard.planner.step-failed.v1",
    "hansard.planner.step-passed.v1",
    "hansard.planner.step-retried.v1",
    "hansard.planner.step-skipped.v1",
    "hansard.requests.submit.v1",
    "hansard.results.cancelled.v1",
    "hansard.results.completed.v1",
    "hansard.results.failed.v1",
    "hansard.results.refused.v1",
    "hansard.router.cancel-noted.v1",
    "hansard.router.request-routed.v1",
    "hansard.specialists.cancel.v1",
    "hansard.specialists.perform.v1",
    "hansard.specialists.task-answered.v1",
    "hansard.specialists.task-cancelled.v1",
    "hansard.specialists.task-failed.v1",
    "hansard.verifier.check.v1",
    "hansard.verifier.claim-passed.v1",
    "hansard.verifier.claim-rejected.v1",
]


def test_no_kind_is_renamed_removed_or_added_unseen() -> None:
    assert sorted(CATALOGUE.kinds) == KINDS


def test_a_kind_names_its_folder_and_its_version() -> None:
    assert [kind for kind in CATALOGUE.kinds if not re.fullmatch(r"hansard\.[a-z-]+\.[a-z-]+\.v[1-9][0-9]*", kind)] == []


def test_a_kind_is_defined_in_the_folder_that_it_names() -> None:
    """Or in the public package: the language of tasks is for workers of a user's own, too."""
    homes = {"specialists": "hansard.tasks"}
    expected = {kind: homes.get(folder_of(kind), f"contracts.{folder_of(kind)}.messages") for kind in CATALOGUE.kinds.values()}
    assert {kind: kind.__module__ for kind in expected} == expected


def every(base: type[Message]) -> set[type[Message]]:
    return {base}.union(*(every(kind) for kind in base.__subclasses__()))


def test_no_two_messages_have_the_same_kind() -> None:
    ours = [
        kind.kind for kind in every(Message) if kind.__module__.startswith(("contracts.", "hansard.")) and "kind" in vars(kind)
    ]
    assert len(ours) == len(set(ours))


def test_a_topic_lists_each_of_its_kinds_once() -> None:
    for topic in Topics(workers=("translator",)).all:
        assert len(topic.kinds) == len(set(topic.kinds))


def test_a_kind_is_on_doors_or_on_internal_topics_never_on_both() -> None:
    """The schema of a message at a door is what a sender may write, and its causation id is made by another rule."""
    doors = {kind for topic in CATALOGUE.all if topic.door for kind in topic.kinds}
    assert doors.isdisjoint(kind for topic in CATALOGUE.all if not topic.door for kind in topic.kinds)
