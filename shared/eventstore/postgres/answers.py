"""The index of good answers, for the gateway's cache."""

from collections.abc import Sequence

from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.postgres import columns
from shared.eventstore.postgres.session import Session


class PostgresAnswers:
    """`AnswerIndex` in Postgres."""

    session: Session

    async def index_answers(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        last = {(stream.tenant, key): stream for key, stream in answers}
        if last:
            rows = ((tenant, key, stream.workflow, stream.name) for (tenant, key), stream in last.items())
            await self.session.ask("index_answers", *(list(column) for column in zip(*rows, strict=True)), keep)

    async def find_answer(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        rows = await self.session.ask("find_answer", tenant, key, kind, unless)
        return columns.message(rows[0]) if rows else None
