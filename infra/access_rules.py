"""Who may do what at the brokers, from the catalogue: a principal for each service, for each person with a topic of their own,
for the console, and for whoever is outside.

Each gets what its code truly does and nothing else; `tests/edge/test_access_rules.py` tries every cell on a real broker.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from contracts.catalog import OURS
from hansard.topics import Topic
from shared.kafka.access import CLUSTER, Rule
from shared.kafka.connection import CONSOLE, OUTSIDE, group_name, outside_groups, principal_name, topic_name
from shared.settings import Settings

ADD = 'kafka-acls.sh --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal'
RESULTS = "results"  # the one topic that whoever is outside may read
AT_DOORS = {"edge": ("requests",)}  # services that hand on at open doors what they get: there they are like anyone outside


@dataclass(frozen=True)
class Differences:
    """Between the rules of a cluster and those of the catalogue."""

    missing: tuple[Rule, ...]
    surplus: tuple[Rule, ...]  # of principals of this deployment, and in the catalogue no longer
    fused: tuple[str, ...]  # principals found that are several services in one process


def services(settings: Settings) -> tuple[str, ...]:
    """Every service of the catalogue: ours and those of your own."""
    return (*OURS, *settings.topics.added)


def principals(settings: Settings) -> tuple[str, ...]:
    """The principals of this deployment, but for fused processes."""
    return tuple(principal_name(settings, name) for name in (*_named(settings), CONSOLE, OUTSIDE))


def of_people(settings: Settings) -> tuple[str, ...]:
    """The principals of people with a topic of their own."""
    return tuple(principal_name(settings, person) for person in settings.topics.people)


def rules(settings: Settings) -> list[Rule]:
    """Every rule of the catalogue, without repeats."""
    found = (rule for name in _named(settings) for rule in of_services(settings, (name,)))
    return list(dict.fromkeys((*found, *_of_console(settings), *_of_outside(settings))))


def of_services(settings: Settings, names: Sequence[str]) -> list[Rule]:
    """The rules of the process that runs these services: several have the union of their rights."""
    principal = principal_name(settings, *names)
    return list(dict.fromkeys(rule for name in names for rule in _of_service(settings, name, principal)))


def differences(settings: Settings, found: Iterable[Rule]) -> Differences:
    """What the catalogue lacks at the cluster, and what the cluster has beyond it. Rules of other principals are left out."""
    there = set(found)
    own = principal_name(settings, "")
    together = {rule.principal: names for rule in there if (names := _fused(settings, rule.principal))}
    wanted = [*rules(settings), *(rule for names in together.values() for rule in of_services(settings, names))]
    ours = (rule for rule in there if rule.principal.startswith(own))
    return Differences(
        tuple(rule for rule in wanted if rule not in there),
        tuple(sorted(set(ours) - set(wanted))),
        tuple(sorted(together)),
    )


def acls(settings: Settings) -> Iterator[str]:
    """The same rules as shell lines, for Kafka's own kafka-acls.sh."""
    for rule in rules(settings):
        resource = "--cluster" if rule.resource == "cluster" else f"--{rule.resource} {rule.name}"
        pattern = " --resource-pattern-type prefixed" if rule.prefixed else ""
        yield f"{ADD} User:{rule.principal} --operation {rule.operation} {resource}{pattern}"


def _named(settings: Settings) -> tuple[str, ...]:
    """Whoever the catalogue names as a producer or consumer and is a user of Kafka: services, and people."""
    return (*services(settings), *settings.topics.people)


def _fused(settings: Settings, principal: str) -> tuple[str, ...]:
    """The services of a fused process, by its principal; none if it is another one."""
    names = tuple(principal.removeprefix(principal_name(settings, "")).split("+"))
    fused = len(names) > 1 and set(names) <= set(services(settings)) and principal == principal_name(settings, *names)
    return names if fused else ()


def _of_service(settings: Settings, service: str, principal: str) -> Iterator[Rule]:
    def may(operation: str, topic: Topic) -> Rule:
        return Rule(principal, operation, "topic", topic_name(settings, topic.name))

    for topic in settings.topics.all:
        if topic.name in AT_DOORS.get(service, ()):
            yield may("Write", topic)
        if service in topic.producers:
            yield may("Write", topic)
            if topic.recorded and not topic.door:  # it publishes again what Kafka has lost: for that it reads what is there,
                yield may("Read", topic)
                for consumer in topic.consumers:  # and how far its consumers are
                    if consumer in services(settings):
                        yield Rule(principal, "Describe", "group", group_name(settings, consumer))
        if service in topic.consumers:
            yield may("Read", topic)
            if topic.door:  # it refuses one that does not stamp the broker's time
                yield may("DescribeConfigs", topic)
    if settings.topics.consumed_by(service):
        yield Rule(principal, "Read", "group", group_name(settings, service))


def _of_console(settings: Settings) -> Iterator[Rule]:
    """Of the people who operate it: they read everything, publish at doors, and see how far each service is."""
    principal = principal_name(settings, CONSOLE)
    for topic in settings.topics.all:
        name = topic_name(settings, topic.name)
        yield Rule(principal, "Read", "topic", name)
        yield Rule(principal, "DescribeConfigs", "topic", name)
        if _is_open(topic):
            yield Rule(principal, "Write", "topic", name)
    for service in services(settings):
        yield Rule(principal, "Describe", "group", group_name(settings, service))
    yield Rule(principal, "Describe", "cluster", CLUSTER)  # to compare these very rules


def _of_outside(settings: Settings) -> Iterator[Rule]:
    """Of anyone: publish at the doors, read the results, alone or in a group."""
    principal = principal_name(settings, OUTSIDE)
    for topic in settings.topics.all:
        if _is_open(topic):
            yield Rule(principal, "Write", "topic", topic_name(settings, topic.name))
    yield Rule(principal, "Read", "topic", topic_name(settings, RESULTS))
    yield Rule(principal, "Read", "group", outside_groups(settings), prefixed=True)


def _is_open(topic: Topic) -> bool:
    """Whether anyone may publish there: a door that names a producer is that one's alone."""
    return topic.door and not topic.producers
