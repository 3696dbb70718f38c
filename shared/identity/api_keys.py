"""API keys of programs: `hansard_ID_SECRET`, with 256 random bits of which the store has the hash alone."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

from shared.eventstore.api_keys import USE_NOTED_EVERY, ApiKey, ApiKeyStore

_KEY = re.compile(r"hansard_([0-9a-f]{16})_([A-Za-z0-9_-]{43})\Z")
NOBODY = bytes(32)  # the hash of no key


class BadApiKey(Exception):
    """The key proves no program. The text says why and holds nothing of it; to a stranger say only that it does not count."""


def new_api_key(tenant: str, name: str, kinds: Sequence[str], created_by: str) -> tuple[str, ApiKey]:
    """A key, and what is stored of it."""
    id_ = secrets.token_hex(8)
    text = f"hansard_{id_}_{secrets.token_urlsafe(32)}"
    return text, ApiKey(id_, hash_of(text), tenant, name, tuple(kinds), created_by)


def hash_of(text: str) -> bytes:
    """Of the whole key. A slow hash would protect no better: nobody guesses 256 random bits."""
    return hashlib.sha256(text.encode()).digest()


async def known(text: str, keys: ApiKeyStore, now: Callable[[], datetime]) -> ApiKey:
    """The key that this text is, and notes its use. `now`: the store's clock. Raises BadApiKey, and StoreUnavailable."""
    match = _KEY.match(text) if text.isascii() else None
    if match is None:
        raise BadApiKey("it is not of the form of a key")
    key = await keys.find(match[1])
    if not hmac.compare_digest(hash_of(text), key.hash if key else NOBODY) or key is None:
        raise BadApiKey("it is unknown")
    if key.revoked_at is not None:
        raise BadApiKey(f"the key {key.id} is revoked")
    if key.last_used_at is None or now() - key.last_used_at >= USE_NOTED_EVERY:
        await keys.used(key.id)
    return key
