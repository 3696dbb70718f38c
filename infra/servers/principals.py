"""Who reaches a Kafka with access rules, and by what: passwords and the authority's certificate, kept in the home folder."""

from __future__ import annotations

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
