"""Contents as files of a folder: TENANT/ab/ab12…; folders of mode 700, files of mode 600."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from shared.content.ports import StoredContent
from shared.eventstore.model import StoreUnavailable

T = TypeVar("T")
PAGE = 1000


class Folder:
    """`Place` in a folder, which may be shared by several machines. A file is there whole or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    async def put(self, tenant: str, sha256: str, data: bytes, media_type: str) -> None:
        await self._in_thread(lambda: self._write(self._file(tenant, sha256), data))

    async def get(self, tenant: str, sha256: str) -> bytes | None:
        return await self._in_thread(lambda: _if_there(self._file(tenant, sha256).read_bytes))

    async def stat(self, tenant: str, sha256: str) -> StoredContent | None:
        return await self._in_thread(lambda: self._stat(tenant, sha256))

    async def list(self) -> AsyncIterator[list[StoredContent]]:
        names = await self._in_thread(lambda: list(self._names()))
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            found = await self._in_thread(lambda page=page: [self._stat(*name) for name in page])  # type: ignore[misc]
            yield [one for one in found if one is not None]

    async def delete(self, tenant: str, sha256: str, before: datetime) -> bool:
        def remove() -> bool:
            found = self._stat(tenant, sha256)
            if found is None or found.at >= before:
                return False
            self._file(tenant, sha256).unlink(missing_ok=True)
            return True

        return await self._in_thread(remove)

    def _file(self, tenant: str, sha256: str) -> Path:
        return self.root / tenant / sha256[:2] / sha256

    def _stat(self, tenant: str, sha256: str) -> StoredContent | None:
        found = _if_there(self._file(tenant, sha256).stat)
        if found is None:
            return None
        return StoredContent(tenant, sha256, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), place=self.name)

    def _names(self) -> Iterator[tuple[str, str]]:
        for file in sorted(self.root.glob("*/??/*")):
            if len(file.name) == 64:  # not a file that is being written
                yield file.parts[-3], file.name

    def _write(self, file: Path, data: bytes) -> None:
        for folder in (self.root, file.parents[1], file.parent):
            folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".")  # of mode 600
        try:
            with open(descriptor, "wb") as written:  # noqa: PTH123 (of a descriptor)
                written.write(data)
                written.flush()
                os.fsync(written.fileno())
            Path(name).replace(file)
        except BaseException:  # OSError, a killed thread: nothing half written stays behind
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
        _sync(file.parent)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as away:
            raise StoreUnavailable(f"the folder {self.root}: {away}") from away


def _if_there(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except FileNotFoundError:
        return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
