"""A Kafka of this machine with access rules and without, on the same data."""

from pathlib import Path

import pytest

from infra.cli.access import with_login
from infra.servers import Addresses, ServerError, Servers, principals
from shared.kafka.access import found_rules
from shared.kafka.admin import create_topic, partition_counts
from shared.settings import Settings


def reached(found: Addresses, home: Path) -> Settings:
    settings = Settings(kafka=found.kafka)
    return with_login(settings, principals.login(home, principals.ADMINISTRATOR)) if found.kafka_security else settings


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Servers:
    monkeypatch.delenv("HANSARD_KAFKA", raising=False)
    return Servers(tmp_path)


def up(servers: Servers, secure: bool | None, brokers: int = 1) -> Addresses:
    return servers.up(postgres=False, model=False, secure=secure, brokers=brokers)


async def test_data_that_are_older_than_the_rules_stay_and_the_rules_stay_until_someone_ends_them(alone: Servers) -> None:
    with alone:
        plain = up(alone, None)
        assert plain.kafka_security == ""
        await create_topic(reached(plain, alone.home), "older", 1)
        with pytest.raises(ServerError, match="without access rules: stop it first"):
            up(alone, True)
        alone.down()

        secure = up(alone, True)
        assert (secure.kafka_security, secure.kafka_username) == ("SASL_SSL", principals.ADMINISTRATOR)
        assert await partition_counts(reached(secure, alone.home), ["older"]) == {"older": 1}
        assert await found_rules(reached(secure, alone.home)) == set()
        with pytest.raises(ServerError, match="with access rules: stop it first"):
            up(alone, False)
        alone.down()

        assert up(alone, None).kafka_security == "SASL_SSL", "nobody asked for less"
        alone.stop("kafka-1", kill=True)
        alone.start("kafka-1")
        again = alone.found()
        assert again and again.kafka_security == "SASL_SSL"
        alone.down()

        assert up(alone, False).kafka_security == ""


async def test_three_brokers_trust_each_other(alone: Servers) -> None:
    with alone:
        settings = reached(up(alone, True, brokers=3), alone.home)
        assert await create_topic(settings, "on-all", 3)
        assert await partition_counts(settings, ["on-all"]) == {"on-all": 3}
