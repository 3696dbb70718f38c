"""Each rule of the record names tests, and these exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "infra/decisions/0014-rules-of-the-record.md").read_text("utf-8")


def test_each_rule_names_a_test_and_each_test_named_exists() -> None:
    rules = re.split(r"^\d+\. ", RULES, flags=re.MULTILINE)[1:]
    assert len(rules) == 14
    there = {name for file in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)\(", file.read_text("utf-8"))}
    for rule in rules:
        named = set(re.findall(r"`(test_\w+)`", rule))
        assert named and named <= there, f"{rule[:60]}… names {named - there or 'no test'}"
