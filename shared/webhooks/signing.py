"""Signatures and bodies by the Standard Webhooks specification. Pure."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import JsonValue
from standardwebhooks import Webhook

SHORTEST, LONGEST = 24, 64  # bytes of a secret, as the specification has it
PREFIX = "whsec_"


def secrets_in(text: str) -> tuple[str, ...]:
    """The secrets in a text, the newest first: more than one while they are changed. Raises ValueError, which shows none."""
    secrets = tuple(text.split())
    for secret in secrets or ("",):
        try:
            size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True))
        except binascii.Error:
            size = 0
        if not secret.startswith(PREFIX) or not SHORTEST <= size <= LONGEST:
            raise ValueError(f"a secret is {PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64")
    return secrets


def payload(type: str, at: datetime, data: JsonValue) -> str:
    """The body: the same for the same payload, however often it is sent."""
    when = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": type, "timestamp": when, "data": data}, sort_keys=True, allow_nan=False)


def headers(id: str, at: datetime, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """`at`: the time of this attempt, by which a receiver refuses what is old. One signature for each secret."""
    at = at.astimezone(UTC)  # the library takes the hours of any other zone for those of UTC
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(id, at, body) for secret in secrets),
    }
