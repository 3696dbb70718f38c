"""The official AsyncAPI parser and an independent JSON Schema validator read what `make contracts` writes."""

import json
from typing import Any

import pytest

from contracts.tools.generate import CATALOGUE, HERE, goldens
from tests.npm import FROM_NPM, node


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    done = node(FROM_NPM / "check.mjs", str(HERE), seconds=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_official_parser_finds_no_error(lines: list[dict[str, Any]]) -> None:
    assert [line for line in lines if line["severity"] == "error"] == []


def test_the_official_parser_has_no_warning_either(lines: list[dict[str, Any]]) -> None:
    assert [line for line in lines if line["severity"] == "warning"] == []


def test_the_official_parser_sees_every_topic_and_every_kind(lines: list[dict[str, Any]]) -> None:
    read = lines[-1]
    assert read["version"] == "3.0.0"
    assert set(read["channels"]) == set(CATALOGUE.by_name)
    assert set(read["messages"]) == set(CATALOGUE.kinds)
    assert read["operations"] == sum(len(topic.producers) + len(topic.consumers) for topic in CATALOGUE.all)
    assert read["schemas"] == len(CATALOGUE.kinds)
    assert read["examples"] == sum(map(len, goldens().values()))
