"""Who reaches a Kafka with access rules, and by what: passwords and the authority's certificate, kept in the home folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from infra.servers.certificates import Certificate, certificate
from infra.servers.passwords import kept
from infra.servers.reach import OWN, made

ADMINISTRATOR = "hansard-admin"  # may do everything; the brokers know this user by their own configuration
BROKER = "kafka"  # the brokers among themselves
MECHANISM, ADMINISTRATORS_MECHANISM = "SCRAM-SHA-512", "PLAIN"  # over TLS alone


def password(home: Path, principal: str) -> str:
    """The password of this principal: made at random, once."""
    return kept(made(home / "principals", OWN) / principal)


def broker_certificate(home: Path) -> Certificate:
    """The certificate of Kafka on this machine."""
    return certificate(home / "tls", "kafka")


def login(home: Path, principal: str) -> dict[str, str]:
    """The settings by which this principal reaches a Kafka that was started in this home with access rules."""
    return {
        "kafka_security": "SASL_SSL",
        "kafka_mechanism": ADMINISTRATORS_MECHANISM if principal == ADMINISTRATOR else MECHANISM,
        "kafka_username": principal,
        "kafka_password": password(home, principal),
        "kafka_ca": str(home / "tls" / "ca.pem"),
    }


def is_of(home: Path, authority: Path | None) -> bool:
    """Whether the Kafka whose authority this is was started in this home."""
    return authority is not None and authority.resolve() == (home / "tls" / "ca.pem").resolve()


def broker_settings(listeners: tuple[str, ...], broker: str, administrator: str) -> dict[str, str]:
    """What turns a broker's listeners into ones with TLS, passwords and access rules; its controllers' is called CONTROLLER.

    Services have SCRAM passwords, which the cluster keeps. The brokers themselves and the administrator are known by PLAIN, from
    this configuration: so they are there before anything is, also where the data are older than the rules.
    """

    def plain(*users: tuple[str, str]) -> str:
        known = "".join(f' user_{name}="{secret}"' for name, secret in users)
        return f'org.apache.kafka.common.security.plain.PlainLoginModule required username="{BROKER}" password="{broker}"{known};'

    own = (BROKER, broker)
    return {
        "listener.security.protocol.map": ",".join(f"{name}:SASL_SSL" for name in (*listeners, "CONTROLLER")),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{BROKER};User:{ADMINISTRATOR}",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": plain(own),
        "ssl.keystore.type": "PEM",
        "ssl.truststore.type": "PEM",
        **{
            f"listener.name.{name.lower()}.{key}": value
            for name in listeners
            for key, value in {
                "sasl.enabled.mechanisms": f"{MECHANISM},PLAIN",
                "plain.sasl.jaas.config": plain(own, (ADMINISTRATOR, administrator)),
                f"{MECHANISM.lower()}.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            }.items()
        },
    }


def kafka_in_compose(folder: Path, readers: Iterable[str], people: Iterable[str] = ()) -> dict[str, str]:
    """The files by which the containers of docker-compose.yml reach Kafka, by their names in this folder: its own settings, the
    logins of `setup` and of these readers, and that of anyone beside the one of the people who operate it. `people` are
    principals whose passwords `setup` alone has."""
    made = certificate(folder / "authority", "kafka", ("kafka", "localhost", "127.0.0.1"))
    home = folder / "setup"  # which alone has every password
    broker, administrator = password(home, BROKER), password(home, ADMINISTRATOR)
    settings = broker_settings(("INTERNAL", "HOST"), broker, administrator) | {
        "ssl.keystore.location": "/run/secrets/kafka.pem",
        "ssl.truststore.location": "/run/secrets/ca.pem",
    }
    names = {reader: f"hansard-{'console' if reader == 'all' else reader}" for reader in readers}
    login = {f"service/{reader}": (name, password(home, name)) for reader, name in names.items()}
    for person in people:
        password(home, person)
    login["setup"] = ADMINISTRATOR, administrator
    return {
        "kafka/kafka.pem": made.pem.read_text("ascii"),
        "kafka/ca.pem": made.authority.read_text("ascii"),
        "kafka/kafka.env": "".join(f"{_variable(name)}={shlex.quote(value)}\n" for name, value in settings.items()),
        **{f"{reader}/hansard_kafka_username": user for reader, (user, _) in login.items()},
        **{f"{reader}/hansard_kafka_password": secret for reader, (_, secret) in login.items()},
        "service/all/hansard-outside": password(home, "hansard-outside"),
    }


def _variable(setting: str) -> str:
    """The variable by which Kafka's image takes this setting."""
    return "KAFKA_" + setting.upper().replace("-", "___").replace(".", "_")
