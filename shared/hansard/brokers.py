"""How a client reaches Kafka: the form of an address, and what the environment says of security."""

import os
import re
import ssl
from typing import Any

ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+)(:(?P<port>[0-9]{1,5}))?\Z")


def malformed(brokers: object) -> str | None:
    """The first address that is none."""
    for address in brokers.split(",") if isinstance(brokers, str) else [repr(brokers)]:
        found = ADDRESS.match(address.strip())
        if found is None or not 0 < int(found["port"] or 9092) < 65536:
            return address.strip()
    return None


def security() -> dict[str, Any]:
    """How the environment says that Kafka is reached and trusted, as aiokafka wants it."""

    def of(name: str) -> str:
        return os.environ.get(f"HANSARD_KAFKA_{name}", "")

    found: dict[str, Any] = {"security_protocol": of("SECURITY") or "PLAINTEXT"}
    if found["security_protocol"].endswith("SSL"):
        found["ssl_context"] = context = ssl.create_default_context(cafile=of("CA") or None)
        if of("CERT"):
            context.load_cert_chain(of("CERT"), of("KEY") or None)
    if found["security_protocol"].startswith("SASL"):
        found["sasl_mechanism"] = of("MECHANISM") or "PLAIN"
        found["sasl_plain_username"], found["sasl_plain_password"] = of("USERNAME"), of("PASSWORD")
    return found
