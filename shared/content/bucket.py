"""Contents as objects of an S3-compatible bucket: PREFIX/TENANT/ab/ab12…

Address, region and credentials come from the environment, under the names of the AWS tools: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or from the machine's role.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.content.ports import StoredContent
from shared.eventstore.model import StoreUnavailable

T = TypeVar("T")
_PATIENCE = timedelta(seconds=30)  # for one request with its repetitions


def open_bucket(bucket: str, prefix: str) -> "Bucket":
    """Connects to nothing yet. Raises ValueError where the library is not installed or the environment's settings are wrong."""
    try:
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ImportError:
        raise ValueError("a bucket needs the package obstore: pip install 'hansard[s3]'") from None
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    retry: Any = {"max_retries": 5, "retry_timeout": _PATIENCE}
    try:
        store = S3Store(bucket, prefix=prefix or None, client_options={"allow_http": plain}, retry_config=retry)
    except BaseError as wrong:
        raise ValueError(f"the bucket {bucket} cannot be used: {_one_line(wrong)}") from None
    return Bucket(f"s3://{bucket}/{prefix}".rstrip("/"), store, obstore)


@dataclass
class Bucket:
    """`Place` in a bucket."""

    name: str
    store: Any
    library: Any = field(repr=False)

    async def put(self, tenant: str, sha256: str, data: bytes, media_type: str) -> None:
        attributes = {"Content-Type": media_type}
        await self._ask(lambda: self.library.put_async(self.store, _key(tenant, sha256), data, attributes=attributes))

    async def get(self, tenant: str, sha256: str) -> bytes | None:
        async def read() -> bytes:
            found = await self.library.get_async(self.store, _key(tenant, sha256))
            return bytes(await found.bytes_async())

        return await self._if_there(read)

    async def stat(self, tenant: str, sha256: str) -> StoredContent | None:
        found = await self._if_there(lambda: self.library.head_async(self.store, _key(tenant, sha256)))
        return None if found is None else self._stored(tenant, sha256, found)

    async def list(self) -> AsyncIterator[list[StoredContent]]:
        pages = self.library.list(self.store).__aiter__()
        while (page := await self._ask(lambda: anext(pages, None))) is not None:
            named = [(*one["path"].split("/"), one) for one in page if one["path"].count("/") == 2]
            yield [self._stored(tenant, sha256, one) for tenant, _, sha256, one in named if len(sha256) == 64]

    async def delete(self, tenant: str, sha256: str, before: datetime) -> bool:
        found = await self.stat(tenant, sha256)
        if found is None or found.at >= before:
            return False
        await self._ask(lambda: self.library.delete_async(self.store, _key(tenant, sha256)))
        return True

    def _stored(self, tenant: str, sha256: str, found: Any) -> StoredContent:
        return StoredContent(tenant, sha256, found["size"], found["last_modified"], place=self.name)

    async def _if_there(self, request: Callable[[], Awaitable[T]]) -> T | None:
        """The answer; None where the bucket has no such object."""
        try:
            return await self._ask(request)
        except StoreUnavailable as away:
            if isinstance(away.__cause__, FileNotFoundError) and "NoSuchBucket" not in str(away.__cause__):
                return None
            raise

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        from obstore.exceptions import BaseError

        try:
            return await request()
        except (BaseError, OSError) as away:
            raise StoreUnavailable(f"the bucket {self.name}: {_one_line(away)}") from away


def _key(tenant: str, sha256: str) -> str:
    return f"{tenant}/{sha256[:2]}/{sha256}"


def _one_line(error: Exception) -> str:
    """What the library says, without the server's whole page."""
    return " ".join(str(error).split())[:300]
