"""Why brokers do not serve a client, in words that say what to do. aiokafka itself says only that it cannot connect."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

REFUSED = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "consumer group",
    ClusterAuthorizationFailedError: "cluster",
}
PATIENCE = 5.0  # seconds for each broker
LOGIN = "HANSARD_KAFKA_USERNAME and HANSARD_KAFKA_PASSWORD"


def not_allowed(error: BaseException, user: str, what: str = "") -> str:
    """What this user lacks, where the error is that access rules refuse something; else "". `what`: its name, if known."""
    kind = next((kind for refused, kind in REFUSED.items() if isinstance(error, refused)), "")
    if not kind:
        return ""
    named = what or _named(error)
    return (
        f"access rules do not let {user or 'a client without a user'} use the {kind}{f' {named}' if named else ''}: "
        "`hansard topics`, run by an administrator, adds those of the catalogue; another user may be meant "
        f"({LOGIN})"
    )


def _named(error: BaseException) -> str:
    given = error.args[0] if error.args else ""
    if isinstance(given, str):
        return given
    names = sorted({str(getattr(one, "topic", one)) for one in given}) if isinstance(given, set | frozenset | Sequence) else []
    return ", ".join(names)


async def described(error: KafkaError, options: Mapping[str, Any]) -> str:
    """What the brokers did to a client with these options of aiokafka, and what to do: `does not answer: …`, `refuses: …`."""
    if isinstance(error, KafkaConnectionError):
        return f"does not answer: {await why_away(options) or f'is that its address? ({error})'}"
    lacking = not_allowed(error, options.get("sasl_plain_username", ""))
    return f"refuses: {lacking or f'{error!r}. `hansard doctor` looks closer'}."


async def why_away(options: Mapping[str, Any]) -> str:
    """Why no connection comes about with these options of aiokafka, as far as the brokers show it; else ""."""
    servers = options["bootstrap_servers"]
    for server in servers.split(",") if isinstance(servers, str) else servers:
        host, _, port = server.strip().rpartition(":")
        with suppress(ValueError):  # no number: no address, which others find
            if why := await _why(host.strip("[]"), int(port), options):
                return why
    return ""


async def _why(host: str, port: int, options: Mapping[str, Any]) -> str:
    known = ("ssl_context", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password")
    given = {name: options[name] for name in known if name in options}
    protocol = options.get("security_protocol", "PLAINTEXT")
    try:
        connection = await create_conn(host, port, security_protocol=protocol, request_timeout_ms=int(PATIENCE * 1000), **given)
    except SaslAuthenticationFailed:
        return f"it refuses the password of the user {options.get('sasl_plain_username')!r}: correct {LOGIN}"
    except (UnsupportedSaslMechanismError, IllegalSaslStateError) as refused:
        return f"it takes no password by {options.get('sasl_mechanism')}: correct HANSARD_KAFKA_MECHANISM ({refused})"
    except ssl.SSLCertVerificationError as untrusted:
        return f"its certificate is not trusted ({untrusted.verify_message}): HANSARD_KAFKA_CA names the PEM of its authority"
    except ssl.SSLError as broken:
        return f"no TLS comes about ({broken.reason}): does it speak TLS there? HANSARD_KAFKA_SECURITY says so"
    except (KafkaError, OSError, TimeoutError):
        return await _takes_tls(host, port) if not protocol.endswith("SSL") else ""
    try:
        await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError):
        asked = "" if protocol.startswith("SASL") else f"it asks for a user: set HANSARD_KAFKA_SECURITY=SASL_SSL, {LOGIN}"
        return asked
    finally:
        connection.close()
    return ""


async def _takes_tls(host: str, port: int) -> str:
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE  # nothing is sent: it is only seen whether TLS is spoken
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=anyone), PATIENCE)
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        return ""
    writer.close()
    return (
        "it speaks TLS, and this client does not: set HANSARD_KAFKA_SECURITY=SASL_SSL, HANSARD_KAFKA_MECHANISM=SCRAM-SHA-512,"
        f" HANSARD_KAFKA_CA, {LOGIN}; with HANSARD_HOME where it was started, the `hansard` command finds them"
    )
