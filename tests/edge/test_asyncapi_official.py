"""The official AsyncAPI parser and an independent JSON Schema validator read what `make contracts` writes."""

import json
from typing import Any

import pytest

from contracts.generate import HERE, TABLE
from tests.npm import FROM_NPM, node


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    done = node(FROM_NPM / "check.mjs", str(HERE), seconds=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_official_parser_finds_no_error(said: list[dict[str, Any]]) -> None:
    assert [line for line in said if line["severity"] == "error"] == []


def test_the_official_parser_has_no_warning_either(said: list[dict[str, Any]]) -> None:
    assert [line for line in said if line["severity"] == "warning"] == []


def test_the_official_parser_sees_every_topic_and_every_kind(said: list[dict[str, Any]]) -> None:
    read = said[-1]
    assert read["version"] == "3.0.0"
    assert set(read["channels"]) == set(TABLE.by_name)
    assert set(read["messages"]) == set(TABLE.kinds)
    assert read["operations"] == sum(len(topic.producers) + len(topic.consumers) for topic in TABLE.all)
