"""Access rules: the catalogue says who may do what at the brokers."""

import pytest

from contracts.catalog import OURS
from infra.access_rules import acls, differences, of_services, principals, rules
from shared.kafka.access import Rule
from shared.settings import Settings

PLAIN = Settings()
ACME = Settings(topic_prefix="acme.")


def who(settings: Settings, operation: str, topic: str) -> set[str]:
    return {rule.principal for rule in rules(settings) if rule[1:4] == (operation, "topic", topic)}


def test_only_a_topics_producers_may_write_on_it() -> None:
    assert who(ACME, "Write", "acme.planner.events") == {"acme.hansard-planner"}


def test_no_service_may_write_at_a_door_but_the_http_door_hands_on_requests() -> None:
    everyone = {"hansard-outside", "hansard-console"}
    assert who(PLAIN, "Write", "control") == who(PLAIN, "Write", "approvals.reviews") == everyone
    assert who(PLAIN, "Write", "requests") == everyone | {"hansard-edge"}


def test_a_persons_own_topic_is_that_persons_alone() -> None:
    settings = Settings(reviewer_topics=("approvals.reviews.alice", "approvals.reviews.bob"))
    assert who(settings, "Write", "approvals.reviews.alice") == {"hansard-person:alice"}
    assert who(settings, "Read", "approvals.reviews.alice") == {"hansard-approval", "hansard-console"}
    assert [rule[1:4] for rule in rules(settings) if rule.principal == "hansard-person:alice"] == [
        ("Write", "topic", "approvals.reviews.alice")
    ]
    assert [line for line in acls(settings) if "person:alice" in line] == [
        'kafka-acls.sh --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal'
        " User:hansard-person:alice --operation Write --topic approvals.reviews.alice"
    ]
    gone = differences(PLAIN, rules(settings))
    assert {rule.principal for rule in gone.surplus} >= {"hansard-person:alice", "hansard-person:bob"}


def test_whoever_is_outside_reads_nothing_but_results() -> None:
    mine = [rule for rule in rules(PLAIN) if rule.principal == "hansard-outside"]
    assert [rule.name for rule in mine if rule[1:3] == ("Read", "topic")] == ["results"]
    assert [rule[1:] for rule in mine if rule.resource == "group"] == [("Read", "group", "outside.", True)]
    assert {rule.operation for rule in mine} == {"Read", "Write"}


def test_each_service_may_join_only_its_own_consumer_group() -> None:
    joined = {(rule.principal, rule.name) for rule in rules(PLAIN) if rule[1:3] == ("Read", "group") and not rule.prefixed}
    assert joined == {(f"hansard-{name}", f"hansard.{name}") for name in OURS}


def test_nobody_may_create_delete_or_alter() -> None:
    assert {rule.operation for rule in rules(PLAIN)} == {"Read", "Write", "Describe", "DescribeConfigs"}


def test_an_outside_workers_door_is_its_own() -> None:
    settings = Settings(outside_workers=("shouter",))
    assert who(settings, "Write", "shouter.events") == {"hansard-shouter"}
    assert who(settings, "Read", "shouter.commands") == {"hansard-shouter", "hansard-planner", "hansard-console"}


def test_a_fused_process_has_the_union_of_its_services_rights() -> None:
    fused = of_services(PLAIN, ("verifier", "router"))
    assert {rule.principal for rule in fused} == {"hansard-router+verifier"}
    apart = of_services(PLAIN, ("router",)) + of_services(PLAIN, ("verifier",))
    assert {rule[1:] for rule in fused} == {rule[1:] for rule in apart}


def test_every_principal_has_rules() -> None:
    assert {rule.principal for rule in rules(PLAIN)} == set(principals(PLAIN))


def test_a_cluster_as_the_catalogue_wants_it_differs_in_nothing() -> None:
    found = differences(ACME, rules(ACME))
    assert (found.missing, found.surplus, found.fused) == ((), (), ())


@pytest.mark.parametrize(
    "rule",
    [
        Rule("acme.hansard-router", "Write", "topic", "acme.planner.commands.old"),
        Rule("acme.hansard-gone", "Read", "topic", "acme.results"),
        Rule("acme.hansard-router+gone", "Read", "topic", "acme.results"),
    ],
)
def test_a_rule_of_ours_that_is_in_the_catalogue_no_longer_is_surplus(rule: Rule) -> None:
    assert differences(ACME, [*rules(ACME), rule]).surplus == (rule,)


@pytest.mark.parametrize("principal", ["alice", "hansard-router", "other.hansard-router"])
def test_rules_of_others_are_left_alone(principal: str) -> None:
    assert differences(ACME, [*rules(ACME), Rule(principal, "Read", "topic", "acme.results")]).surplus == ()


def test_a_fused_process_keeps_its_rules_and_gets_those_that_it_lacks() -> None:
    some, *others = of_services(PLAIN, ("router", "verifier"))
    found = differences(PLAIN, [*rules(PLAIN), some])
    assert (found.missing, found.surplus, found.fused) == (tuple(others), (), ("hansard-router+verifier",))


def test_each_rule_is_a_line_for_kafkas_own_tool() -> None:
    lines = list(acls(ACME))
    assert len(lines) == len(rules(ACME)) and all(line.startswith("kafka-acls.sh ") for line in lines)
    assert [line for line in lines if line.endswith("User:acme.hansard-console --operation Describe --cluster")]
    assert [line for line in lines if line.endswith("--group acme.outside. --resource-pattern-type prefixed")]
