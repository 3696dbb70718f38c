"""Signs requests and reviews as one person, with the private key that only this person has.

bob = Signer.of("bob@example.org")  # ~/.config/hansard/bob@example.org.pem, which `hansard people add` made
async with Client("localhost:9092", signer=bob) as client:
    await client.submit(type="refund", data={"invoice": "R-17"})
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hansard.private_keys import key_file, read_key
from hansard.reviews import key_of, request_statement, sign, statement


@dataclass(frozen=True)
class Signer:
    """A person, as registered, and their private key as PEM. Each method raises BadKey where that is none."""

    name: str
    private: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, file: str | Path = "") -> Self:
        """The person of this name, by the key in a file; without one in ~/.config/hansard/NAME.pem. Raises BadKey."""
        signer = cls(name, read_key(Path(file).expanduser() if file else key_file(name)))
        _ = signer.key
        return signer

    @property
    def key(self) -> str:
        """The id of the key."""
        return key_of(self.private)["id"]

    def review(self, review: Mapping[str, Any], tenant: str, workflow: str) -> dict[str, Any]:
        """The fields of a review, signed. Raises ValueError for what cannot be signed: see `hansard.reviews.statement`."""
        own = {**review, "reviewer": self.name, "key": self.key}
        return own | {"signature": sign(self.private, statement(own, tenant, workflow))}

    def request(self, request: Mapping[str, Any], tenant: str, workflow: str) -> dict[str, Any]:
        """The fields of a request, signed. Times are in UTC, `2026-01-31T12:00:00Z`, and amounts are strings, as the services
        write them. Raises ValueError as `review` does."""
        signed = sign(self.private, request_statement(request, tenant, workflow, self.name))
        return {**request, "requester": self.name, "requester_key": self.key, "requester_signature": signed}

    def body(self, request: bytes, tenant: str, workflow: str) -> bytes:
        """The same for the body of a request."""
        return json.dumps(self.request(json.loads(request), tenant, workflow), ensure_ascii=False).encode()
