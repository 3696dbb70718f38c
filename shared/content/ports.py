"""The content store as small protocols, and its errors. Every method raises StoreUnavailable where its place does not answer."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple, Protocol

from hansard.values import ContentReference
from shared.eventstore.model import StoreRefused


class ContentMissing(LookupError):
    """The tenant has no content of this hash."""


class ContentDamaged(ContentMissing):
    """What is kept under this hash has another hash."""


class ContentRefused(StoreRefused):
    """No place takes this content. The text says which setting would change that."""


class StoredContent(NamedTuple):
    """One content, without its bytes. `at`: when it was last put, by the clock of its place."""

    tenant: str
    sha256: str
    size: int
    at: datetime
    media_type: str = ""  # where the place keeps it; a reference always names it
    place: str = ""


class ContentReader(Protocol):
    async def get(self, tenant: str, reference: ContentReference) -> bytes:
        """The bytes, whose size and hash were checked. Raises ContentMissing, ContentDamaged."""
        ...


class ContentStore(ContentReader, Protocol):
    """What services and the command use."""

    async def put(self, tenant: str, reference: ContentReference, data: bytes) -> None:
        """Keeps the bytes, once, however often they are put. Each time counts as new for a collector.

        Raises ContentRefused; ValueError where they are not what the reference names.
        """
        ...

    async def stat(self, tenant: str, sha256: str) -> StoredContent | None: ...

    def list(self) -> AsyncIterator[list[StoredContent]]:
        """All contents of all tenants, in pages."""
        ...

    async def delete(self, content: StoredContent, before: datetime) -> bool:
        """Deletes it if it was not put since `before`. A user who may not gets StoreUnavailable."""
        ...


class Place(Protocol):
    """Where bytes are kept under a tenant and a hash. Checks nothing."""

    name: str

    async def put(self, tenant: str, sha256: str, data: bytes, media_type: str) -> None: ...

    async def get(self, tenant: str, sha256: str) -> bytes | None: ...

    async def stat(self, tenant: str, sha256: str) -> StoredContent | None: ...

    def list(self) -> AsyncIterator[list[StoredContent]]: ...

    async def delete(self, tenant: str, sha256: str, before: datetime) -> bool: ...
