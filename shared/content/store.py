"""Checks every content on its way in and out. Small ones are in Postgres, larger ones where a setting says."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from hansard.envelope import shown
from hansard.references import is_whole
from hansard.values import ContentReference
from shared.content.folder import Folder
from shared.content.ports import ContentDamaged, ContentMissing, ContentRefused, ContentStore, Place, StoredContent

BOUND = 16 << 20  # bytes of a content that Postgres keeps, unless a setting says otherwise
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Contents:
    """`ContentStore` over a place for contents of up to `bound` bytes and, if there is one, a place for larger ones."""

    small: Place
    large: Place | None = None
    bound: int = BOUND

    @property
    def places(self) -> tuple[Place, ...]:
        return (self.small,) if self.large is None else (self.small, self.large)

    async def put(self, tenant: str, reference: ContentReference, data: bytes) -> None:
        _check(tenant, reference.sha256)
        if not is_whole(reference, data):
            raise ValueError(f"these are not the bytes of {reference.sha256}")
        if (place := self.small if len(data) <= self.bound else self.large) is None:
            raise ContentRefused(
                f"a content of {len(data):,} bytes is too large for Postgres, which takes {self.bound:,}: name a folder or a "
                "bucket for larger ones (HANSARD_CONTENT), or raise HANSARD_CONTENT_POSTGRES_BYTES"
            )
        await place.put(tenant, reference.sha256, data, reference.media_type)

    async def get(self, tenant: str, reference: ContentReference) -> bytes:
        _check(tenant, reference.sha256)
        damaged = False
        for place in self.places:
            data = await place.get(tenant, reference.sha256)
            if data is not None:
                if is_whole(reference, data):
                    return data
                damaged = True
        what = f"content {reference.sha256} of tenant {shown(tenant, 64)}"
        if damaged:
            raise ContentDamaged(f"{what} is damaged: it is not of the size or the hash that its reference names")
        raise ContentMissing(f"{what} is not in the content store")

    async def stat(self, tenant: str, sha256: str) -> StoredContent | None:
        _check(tenant, sha256)
        for place in self.places:
            if (found := await place.stat(tenant, sha256)) is not None:
                return found
        return None

    async def list(self) -> AsyncIterator[list[StoredContent]]:
        for place in self.places:
            async for page in place.list():
                yield page

    async def delete(self, content: StoredContent, before: datetime) -> bool:
        _check(content.tenant, content.sha256)
        place = next(place for place in self.places if place.name == content.place)
        return await place.delete(content.tenant, content.sha256, before)


def open_contents(where: str, postgres: Place, bound: int = BOUND) -> ContentStore:
    """`where`: "" for Postgres alone; a folder, as a path or `file:///…`; or `s3://bucket/prefix`, which needs the extra `s3`.

    Raises ValueError, which says what is wrong with it.
    """
    return Contents(postgres, place_at(where), bound)


def place_at(where: str) -> Place | None:
    """The folder or bucket that a setting names. Raises ValueError."""
    parts = urlsplit(where)
    if not where:
        return None
    if parts.scheme == "s3" and parts.netloc:
        from shared.content.bucket import open_bucket  # its library is an extra, and is loaded only where it is used

        return open_bucket(parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return Folder(Path(parts.path))
    if not parts.scheme and Path(where).is_absolute():
        return Folder(Path(where))
    raise ValueError(f"{shown(where, 200)!r} is neither an absolute path, nor file:///path, nor s3://bucket/prefix")


def _check(tenant: str, sha256: str) -> None:
    """Both become parts of a path."""
    if not _TENANT.match(tenant) or not _SHA256.match(sha256):
        raise ContentMissing(f"{shown(tenant, 64)!r} and {shown(sha256, 80)!r} are no tenant and SHA-256 in hexadecimal")
