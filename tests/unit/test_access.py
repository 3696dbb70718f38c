"""Access rules: the catalogue says which service may write on which topic."""

from infra.access_rules import acls
from shared.settings import Settings


def test_only_a_topics_producers_may_write_on_it() -> None:
    rules = list(acls(Settings(topic_prefix="acme.")))
    writers = {rule.split("User:")[1].split()[0] for rule in rules if "Write" in rule and rule.endswith("acme.planner.events")}
    assert writers == {"hansard-planner"}


def test_no_service_may_write_at_a_door() -> None:
    assert not [rule for rule in acls(Settings()) if "Write" in rule and rule.endswith((" requests", " control"))]


def test_each_service_may_use_only_its_own_consumer_group() -> None:
    groups = [rule for rule in acls(Settings()) if "--group" in rule]
    assert all(rule.split("User:hansard-")[1].split()[0] == rule.rpartition(".")[2] for rule in groups if "console" not in rule)
