"""The record in memory, for tests: the same behaviour as in Postgres, gone with the process."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from math import inf
from typing import Any, NoReturn
from uuid import UUID, uuid4

from shared.eventstore import columns
from shared.eventstore.model import (
    STALE,
    Appended,
    Cursor,
    DoorMessage,
    DueWakeUp,
    EpochChanged,
    History,
    InboxEntry,
    ListedWorkflow,
    StoredMessage,
    StoreRefused,
    Stream,
    StreamAppend,
    WorkflowHistory,
)


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Run:
    instance: str
    seen: datetime
    ended: bool = False


class InMemoryEventStore:
    """`Store` in plain Python. `clock` gives the store's time; it never awaits anything, so every call is one step."""

    def __init__(self, clock: Callable[[], datetime] = _utc) -> None:
        self._clock = clock
        self._epoch = str(uuid4())
        self._transactions = count(1)
        self._heads: dict[Stream, tuple[int, int]] = {}  # heard, version
        self._hearings: dict[Stream, list[InboxEntry]] = {}
        self._said: dict[Stream, list[StoredMessage]] = {}
        self._log: list[StoredMessage] = []
        self._ids: dict[tuple[str, str, UUID], StoredMessage] = {}
        self._published: dict[Stream, int] = {}
        self._doors: dict[tuple[str, str, UUID], DoorMessage] = {}
        self._due: dict[Stream, tuple[datetime, datetime]] = {}  # claimable from, wanted at
        self._attempts: dict[tuple[str, str, int, int], int] = {}
        self._holders: dict[Stream, str] = {}
        self._instances: dict[tuple[str, str], _Run] = {}  # by service and process
        self._answers: dict[tuple[str, bytes], tuple[datetime, Stream]] = {}
        self._policies: dict[tuple[str, str], bytes] = {}

    def now(self) -> datetime:
        return self._clock()

    @property
    def ahead(self) -> float:
        return 0.0

    # writing

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        ordered = sorted(appends, key=lambda append: append.stream)
        if len({append.stream for append in ordered}) != len(ordered):
            raise ValueError("two turns of one stream in one append")
        columns.of_turns(ordered)
        alone = len(ordered) == 1
        ordered = columns.without_contradictions(ordered)
        if alone and not ordered:
            raise StoreRefused("two bodies under one id")
        now, transaction = self._clock(), next(self._transactions)
        oldest = now - timedelta(seconds=STALE)
        accepted: list[Stream] = []
        earlier: list[StoredMessage] = []
        for append in ordered:
            if self._heads.get(append.stream, (0, 0)) != (append.processed, append.version):
                continue
            if not oldest <= append.at <= max(now, append.not_before):
                continue
            try:
                self._refuse_what_postgres_refuses(append)
            except StoreRefused:
                if alone:
                    raise
                continue
            await self.mark_published({append.stream: append.published})
            earlier += self._history(append.stream).unpublished
            self._take(append, transaction)
            accepted.append(append.stream)
        return Appended(frozenset(accepted), tuple(earlier))

    def _take(self, append: StreamAppend, transaction: int) -> None:
        stream = append.stream
        self._heads[stream] = append.processed + len(append.entries), append.version + len(append.messages)
        self._hearings.setdefault(stream, []).extend(replace(entry, at=append.at) for entry in append.entries)
        for stored in append.messages:
            kept = replace(stored, stream=stream, at=append.at, position=len(self._log) + 1, transaction=transaction)
            self._log.append(kept)
            self._said.setdefault(stream, []).append(kept)
            self._ids[stream.tenant, stream.workflow, stored.id] = kept
        for door in append.door_messages:
            self._doors.setdefault((door.tenant, door.workflow, door.causation_id), door)
        if append.keep_wake_up:
            return
        self._due.pop(stream, None)
        self._holders.pop(stream, None)
        if append.wake_at is not None:
            self._due[stream] = append.wake_at, append.wake_at
            if append.holder:
                self._holders[stream] = append.holder

    def _refuse_what_postgres_refuses(self, append: StreamAppend) -> None:
        texts = [*append.stream]
        texts += [text for entry in append.entries for text in (entry.kind, entry.code, entry.policy)]
        texts += [text for stored in append.messages for text in (stored.kind, stored.topic, stored.traceparent)]
        texts += [text for door in append.door_messages for text in (door.tenant, door.workflow, door.topic)]
        for text in texts:
            _refuse_text(text)
        for stored in append.messages:
            _refuse_json(stored.data)
        heard_before = {(entry.causation_id, entry.attempt) for entry in self._hearings.get(append.stream, ())}
        ids = [(append.stream.tenant, append.stream.workflow, stored.id) for stored in append.messages]
        _refuse_twice("this was heard before", heard_before, [(h.causation_id, h.attempt) for h in append.entries])
        _refuse_twice("this id was said before", self._ids, ids)
        for door in append.door_messages:
            known = self._doors.get((door.tenant, door.workflow, door.causation_id), door)
            if (known.topic, known.body) != (door.topic, door.body):
                raise StoreRefused("something else came from outside under this id before")

    async def mark_published(self, marks: Mapping[Stream, int]) -> None:
        for stream, version in marks.items():
            self._published[stream] = max(version, self._published.get(stream, 0))

    async def claim_wake_ups(self, service: str, limit: int, lease: float) -> tuple[list[DueWakeUp], float]:
        now = self._clock()
        ready = sorted((at, stream) for stream, (at, _) in self._due.items() if stream.service == service and at <= now)
        due = [DueWakeUp(stream, self._due[stream][1], self._heads[stream][0]) for _, stream in ready[:limit]]
        for stream, wanted, *_ in due:
            self._due[stream] = now + timedelta(seconds=lease), wanted
            self._holders.pop(stream, None)
        following = [at for stream, (at, _) in self._due.items() if stream.service == service]
        return due, max(0.0, (min(following) - now).total_seconds()) if following else inf

    async def heartbeat(self, service: str, process: str, silent: Mapping[str, datetime]) -> dict[str, datetime]:
        mine = self._instances.get((service, process), _Run(process, self._clock()))
        self._instances[service, process] = replace(mine, seen=self._clock(), ended=False)
        for one, sign in silent.items():
            run = self._instances[service, one]
            self._instances[service, one] = replace(run, ended=run.ended or run.seen == sign)
        live = {p: run.seen for (s, p), run in self._instances.items() if s == service and not run.ended}
        self._free(service, {holder for holder in self._holders.values() if holder not in live})
        return {other: seen for other, seen in live.items() if other != process}

    def _free(self, service: str, processes: Set[str]) -> None:
        for stream in [s for s, holder in self._holders.items() if s.service == service and holder in processes]:
            del self._holders[stream]
            self._due[stream] = self._clock(), self._due[stream][1]

    async def count_attempts(self, service: str, records: Sequence[tuple[str, int, int]]) -> list[int]:
        for record in dict.fromkeys(records):
            self._attempts[service, *record] = self._attempts.get((service, *record), 0) + 1
        return [self._attempts[service, *record] for record in records]

    async def process_started(self, service: str, instance: str, process: str, alone: bool) -> bool:
        now = self._clock()
        earlier = {p for (s, p), run in self._instances.items() if (s, run.instance) == (service, instance) and not run.ended}
        over = {p for p in earlier if alone or now - self._instances[service, p].seen > timedelta(minutes=1)}
        for one in over:
            self._instances[service, one] = replace(self._instances[service, one], ended=True)
        if alone:
            self._free(service, over)
        self._instances[service, process] = _Run(instance, now)
        return bool(earlier)

    async def process_ended(self, service: str, process: str) -> None:
        self._instances[service, process] = replace(self._instances[service, process], ended=True)
        self._free(service, {process})

    # reading

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        return {stream: self._history(stream) for stream in streams}

    def _history(self, stream: Stream) -> History:
        return History(
            stream,
            *self._heads.get(stream, (0, 0)),
            self._published.get(stream, 0),
            messages=list(self._said.get(stream, ())),
            entries={entry.causation_id: entry for entry in self._hearings.get(stream, ())},
        )

    async def load_workflow(self, tenant: str, workflow: str) -> Mapping[Stream, History]:
        return {stream: self._history(stream) for stream in sorted(self._heads) if stream[:2] == (tenant, workflow)}

    async def unpublished(self, service: str, older_than: float, limit: int = 1000) -> list[StoredMessage]:
        before = self._clock() - timedelta(seconds=older_than)
        waiting = [
            history for stream in self._said if stream.service == service and (history := self._history(stream)).unpublished
        ]
        due = sorted((h for h in waiting if h.at <= before), key=lambda history: (history.at, history.stream))
        found = [stored for history in due for stored in history.unpublished]
        return sorted(found[:limit], key=lambda stored: (stored.stream, stored.version))

    async def inbox_entries(self, stream: Stream) -> list[InboxEntry]:
        return list(self._hearings.get(stream, ()))

    async def door_messages(self, tenant: str, workflow: str, entries: Sequence[UUID] = ()) -> dict[UUID, DoorMessage]:
        return {
            key[2]: door
            for key, door in self._doors.items()
            if key[:2] == (tenant, workflow) and (not entries or key[2] in entries)
        }

    async def find_messages(self, ids: Sequence[UUID]) -> dict[UUID, StoredMessage]:
        wanted = set(ids)
        return {stored.id: stored for stored in self._log if stored.id in wanted}

    async def cursor(self) -> Cursor:
        return Cursor(self._epoch)

    async def read_all(self, since: Cursor | None = None, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        if since is not None and since.epoch != self._epoch:
            raise EpochChanged(f"the cursor is of epoch {since.epoch}, the store of {self._epoch}: it was restored")
        position, end = since.position if since else 0, len(self._log)
        for first in range(position, end, batch):
            yield self._log[first : min(first + batch, end)]

    async def read_streams(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        ordered = sorted(self._log, key=lambda stored: (stored.stream, stored.version))
        for first in range(0, len(ordered), batch):
            yield ordered[first : first + batch]

    async def estimate_size(self) -> int:
        return len(self._log)

    async def list_workflows(self, since: datetime | None = None, *, batch: int = 1000) -> AsyncIterator[list[ListedWorkflow]]:
        names = sorted({stream[:2] for stream in self._said})
        for first in range(0, len(names), batch):
            yield [self._listed(*name, since) for name in names[first : first + batch]]

    def _listed(self, tenant: str, workflow: str, since: datetime | None) -> ListedWorkflow:
        streams = [head for stream, head in self._heads.items() if stream[:2] == (tenant, workflow)]
        stored = [one.at for stream, mine in self._said.items() if stream[:2] == (tenant, workflow) for one in mine]
        wanted = any(since is None or (at is not None and at >= since) for at in stored)
        return ListedWorkflow(
            tenant, workflow, sum(version for _, version in streams), sum(entry for entry, _ in streams), wanted
        )

    async def load_workflows(self, workflows: Sequence[tuple[str, str]]) -> list[WorkflowHistory]:
        return [
            WorkflowHistory(
                *one,
                histories := dict(await self.load_workflow(*one)),
                {stream: list(self._hearings[stream]) for stream in histories},
                await self.door_messages(*one),
            )
            for one in workflows
        ]

    async def read_last(self, kinds: Sequence[str], events: int) -> list[StoredMessage]:
        return [stored for stored in self._log[max(0, len(self._log) - events) :] if stored.kind in kinds]

    async def store_policy(self, service: str, version: str, data: bytes) -> None:
        _refuse_text(service + version)
        _refuse_json(data)
        if self._policies.setdefault((service, version), data) != data:
            raise StoreRefused(f"other data stand behind the policy {version} of {service}")

    async def load_policies(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        return {one: self._policies[one] for one in wanted if one in self._policies}

    async def reader_lag(self) -> float:
        return 0.0

    async def outbox_age(self, service: str) -> float:
        waiting = await self.unpublished(service, 0)
        return max(((self._clock() - stored.at).total_seconds() for stored in waiting if stored.at), default=0.0)

    async def index_answers(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        now = self._clock()
        oldest = now - timedelta(seconds=keep)
        self._answers = {known: value for known, value in self._answers.items() if value[0] >= oldest}
        self._answers |= {(stream.tenant, key): (now, stream) for key, stream in answers}

    async def find_answer(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        _, stream = self._answers.get((tenant, key), (None, None))
        stored = self._said.get(stream, []) if stream else []
        if any(one.kind == unless for one in stored):
            return None
        return next((one for one in reversed(stored) if one.kind == kind), None)

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def _refuse_text(text: str) -> None:
    if "\0" in text:
        raise StoreRefused("a text with NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreRefused(str(error)) from error


def _refuse_json(data: bytes) -> None:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        json.loads(data.decode(), parse_constant=refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise StoreRefused(str(error) or type(error).__name__) from error


def _refuse_twice(words: str, before: Iterable[Any], now: Sequence[Any]) -> None:
    if len(set(now)) != len(now) or not set(now).isdisjoint(before):
        raise StoreRefused(words)
