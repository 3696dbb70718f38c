"""Access rules for the topics of the catalogue. `shared.kafka.admin` creates and corrects the topics themselves."""

from collections.abc import Iterator

from shared.kafka.connection import group_name, topic_name
from shared.settings import Settings

ADD = 'kafka-acls.sh --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal'


def acls(settings: Settings) -> Iterator[str]:
    """The catalogue as access rules: each service may write only what it produces. Who may use the doors is yours to decide.

    One shell line a rule, for Kafka's own kafka-acls.sh. A service is the principal `User:hansard-NAME`; only the console
    reads everything.
    """
    rules: dict[tuple[str, str, str], None] = {}
    for topic in settings.topics.all:
        name = topic_name(settings, topic.name)
        rules.update({(service, "Write", f"--topic {name}"): None for service in topic.producers})
        rules.update({(service, "Read", f"--topic {name}"): None for service in (*topic.consumers, "console")})
        rules.update({(service, "Read", f"--group {group_name(settings, service)}"): None for service in topic.consumers})
    for service, operation, resource in rules:
        yield f"{ADD} User:hansard-{service} --operation {operation} {resource}"
