"""Kinds outlive the names of classes, files and topics."""

import json
import re
from pathlib import Path

from contracts.catalog import Topics
from contracts.tools.generate import CATALOGUE
from contracts.tools.goldens import folder_of
from hansard.message import Message

EXAMPLES = (Path(__file__).parents[2] / "contracts").glob("*/examples/*.json")
FROZEN = {json.loads(path.read_text("utf-8"))["kind"] for path in EXAMPLES}


def test_no_kind_is_renamed_removed_or_added_unseen() -> None:
    """Golden examples are frozen by their manifests: a kind that is gone leaves its own behind, a new one needs some."""
    assert set(CATALOGUE.kinds) == FROZEN


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
