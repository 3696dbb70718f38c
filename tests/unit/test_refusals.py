"""What a client is told that access rules refuse something."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)

from hansard.refusals import described, not_allowed


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (TopicAuthorizationFailedError("results"), "the topic results:"),
        (TopicAuthorizationFailedError({"results", "requests"}), "the topic requests, results:"),
        (TopicAuthorizationFailedError({TopicPartition("results", 3)}), "the topic results:"),
        (TopicAuthorizationFailedError(), "the topic:"),
        (GroupAuthorizationFailedError("hansard.router"), "the consumer group hansard.router:"),
        (ClusterAuthorizationFailedError(), "the cluster:"),
    ],
)
def test_a_refusal_names_who_lacks_what_and_what_to_run(error: BaseException, lacks: str) -> None:
    found = not_allowed(error, "hansard-router")
    assert found.startswith("access rules do not let hansard-router use ") and lacks in found
    assert "`hansard topics`" in found and "HANSARD_KAFKA_USERNAME" in found


def test_the_name_is_the_callers_where_the_error_has_none() -> None:
    assert "use the topic results:" in not_allowed(TopicAuthorizationFailedError(), "me", "results")
    assert "let a client without a user use" in not_allowed(TopicAuthorizationFailedError("x"), "")


def test_other_errors_are_none() -> None:
    assert not_allowed(KafkaConnectionError("away"), "me") == ""
    assert not_allowed(OSError(), "me") == ""


async def test_where_nothing_listens_the_address_is_doubted() -> None:
    told = await described(KafkaConnectionError("no"), {"bootstrap_servers": "127.0.0.1:1"})
    assert told.startswith("does not answer: is that its address?")
