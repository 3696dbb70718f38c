"""The event store in memory, for tests: it behaves as the one in Postgres, and is gone with the process."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from math import inf
from uuid import UUID, uuid4

from shared.content.memory import InMemoryPlace
from shared.eventstore.api_keys import InMemoryApiKeys
from shared.eventstore.appends import checked
from shared.eventstore.model import (
    STALE,
    Appended,
    Claim,
    Cursor,
    Disorder,
    DoorIdentity,
    DoorMessage,
    DueWakeUp,
    Epoch,
    EpochChanged,
    History,
    InboxEntry,
    LastAppend,
    ListedWorkflow,
    StoredMessage,
    StoreRefused,
    Stream,
    StreamAppend,
    WorkflowHistory,
    body_hash,
)
from shared.eventstore.refusals import refuse_json, refuse_text, refuse_twice


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Process:
    instance: str
    seen: datetime
    ended: bool = False


class InMemoryEventStore:
    """`EventStore` in plain Python. `clock` gives the store's time. It never awaits anything, so every call is one step."""

    def __init__(self, clock: Callable[[], datetime] = _utc) -> None:
        self._clock = clock
        self.contents = InMemoryPlace(clock)
        self.api_keys = InMemoryApiKeys(clock)
        self._epoch = str(uuid4())
        self._task_key = uuid4().bytes
        self._transactions = count(1)
        self._positions = count(1)  # of entries and messages from outside
        self._versions: dict[Stream, tuple[int, int]] = {}  # processed, version
        self._entries: dict[Stream, list[InboxEntry]] = {}
        self._messages: dict[Stream, list[StoredMessage]] = {}
        self._log: list[StoredMessage] = []
        self._ids: dict[tuple[str, str, UUID], StoredMessage] = {}
        self._published: dict[Stream, int] = {}
        self._doors: dict[tuple[str, str, UUID], DoorMessage] = {}
        self._identities: dict[tuple[str, UUID], DoorIdentity] = {}
        self._wake_ups: dict[Stream, tuple[datetime, datetime]] = {}  # claimable from, asked for
        self._holders: dict[Stream, str] = {}
        self._processes: dict[tuple[str, str], _Process] = {}  # by service and process
        self._attempts: dict[tuple[str, str, int, int], int] = {}
        self._answers: dict[tuple[str, bytes], tuple[datetime, Stream]] = {}
        self._policies: dict[tuple[str, str], bytes] = {}

    # streams

    def now(self) -> datetime:
        return self._clock()

    @property
    def ahead(self) -> float:
        return 0.0

    async def append(self, appends: Sequence[StreamAppend]) -> Appended:
        alone = len(appends) == 1
        now, transaction = self._clock(), next(self._transactions)
        oldest = now - timedelta(seconds=STALE)
        accepted: list[Stream] = []
        unpublished: list[StoredMessage] = []
        forged = await self.not_on_record([claim for append in appends for claim in append.claims])
        taken: dict[UUID, DoorIdentity] = {}
        for append in checked(appends):
            if not forged.isdisjoint(append.claims):
                continue
            if self._versions.get(append.stream, (0, 0)) != (append.processed, append.version):
                continue
            if not oldest <= append.at <= max(now, append.not_before):
                continue
            if of_others := self._taken(append):
                taken |= of_others
                continue
            try:
                self._refuse_what_postgres_refuses(append)
            except StoreRefused:
                if alone:
                    raise
                continue
            await self.mark_published({append.stream: append.published})
            unpublished += self._history(append.stream).unpublished
            self._store(append, transaction)
            accepted.append(append.stream)
        return Appended(frozenset(accepted), tuple(unpublished), taken, frozenset(forged))

    def _store(self, append: StreamAppend, transaction: int) -> None:
        stream = append.stream
        self._versions[stream] = append.processed + len(append.entries), append.version + len(append.messages)
        for entry in append.entries:
            stored_entry = replace(entry, at=append.at, position=next(self._positions), transaction=transaction)
            self._entries.setdefault(stream, []).append(stored_entry)
        for message in append.messages:
            stored = replace(message, stream=stream, at=append.at, position=len(self._log) + 1, transaction=transaction)
            self._log.append(stored)
            self._messages.setdefault(stream, []).append(stored)
            self._ids[stream.tenant, stream.workflow, stored.id] = stored
        for door in append.door_messages:
            if (door.tenant, door.causation_id) not in self._identities:
                self._identities[door.tenant, door.causation_id] = DoorIdentity(door.workflow, body_hash(door))
                position = next(self._positions)
                stored_door = replace(door, recorded_at=append.at, position=position, transaction=transaction)
                self._doors[door.tenant, door.workflow, door.causation_id] = stored_door
        if append.keep_wake_up:
            return
        self._wake_ups.pop(stream, None)
        self._holders.pop(stream, None)
        if append.wake_at is not None:
            self._wake_ups[stream] = append.wake_at, append.wake_at
            if append.holder:
                self._holders[stream] = append.holder

    def _refuse_what_postgres_refuses(self, append: StreamAppend) -> None:
        texts = [*append.stream]
        texts += [text for entry in append.entries for text in (entry.kind, entry.code, entry.policy)]
        texts += [text for message in append.messages for text in (message.kind, message.topic, message.traceparent)]
        texts += [text for door in append.door_messages for text in (door.tenant, door.workflow, door.topic)]
        for text in texts:
            refuse_text(text)
        for message in append.messages:
            refuse_json(message.data)
        processed = {(entry.causation_id, entry.attempt) for entry in self._entries.get(append.stream, ())}
        ids = [(append.stream.tenant, append.stream.workflow, message.id) for message in append.messages]
        refuse_twice("processed before", processed, [(entry.causation_id, entry.attempt) for entry in append.entries])
        refuse_twice("this id was stored before", self._ids, ids)

    def _taken(self, append: StreamAppend) -> dict[UUID, DoorIdentity]:
        known = {door: self._identities.get((door.tenant, door.causation_id)) for door in append.door_messages}
        return {
            door.causation_id: identity
            for door, identity in known.items()
            if identity is not None and identity != DoorIdentity(door.workflow, body_hash(door))
        }

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, History]:
        return {stream: self._history(stream) for stream in streams}

    def _history(self, stream: Stream) -> History:
        return History(
            stream,
            *self._versions.get(stream, (0, 0)),
            self._published.get(stream, 0),
            messages=list(self._messages.get(stream, ())),
            entries={entry.causation_id: entry for entry in self._entries.get(stream, ())},
        )

    # outbox

    async def mark_published(self, versions: Mapping[Stream, int]) -> None:
        for stream, version in versions.items():
            self._published[stream] = max(version, self._published.get(stream, 0))

    async def unpublished(self, service: str, older_than: float, limit: int = 1000) -> list[StoredMessage]:
        before = self._clock() - timedelta(seconds=older_than)
        histories = [self._history(stream) for stream in self._messages if stream.service == service]
        waiting = [history for history in histories if history.unpublished and history.at <= before]
        waiting.sort(key=lambda history: (history.at, history.stream))
        found = [message for history in waiting for message in history.unpublished]
        return sorted(found[:limit], key=lambda message: (message.stream, message.version))

    async def outbox_age(self, service: str) -> float:
        waiting = await self.unpublished(service, 0)
        return max(((self._clock() - message.at).total_seconds() for message in waiting if message.at), default=0.0)

    # processes

    async def claim_wake_ups(self, service: str, limit: int, lease: float) -> tuple[list[DueWakeUp], float]:
        now = self._clock()
        due = sorted((at, stream) for stream, (at, _) in self._wake_ups.items() if stream.service == service and at <= now)
        claimed = [DueWakeUp(stream, self._wake_ups[stream][1], self._versions[stream][0]) for _, stream in due[:limit]]
        for wake_up in claimed:
            self._wake_ups[wake_up.stream] = now + timedelta(seconds=lease), wake_up.at
            self._holders.pop(wake_up.stream, None)
        following = [at for stream, (at, _) in self._wake_ups.items() if stream.service == service]
        return claimed, max(0.0, (min(following) - now).total_seconds()) if following else inf

    async def process_started(self, service: str, instance: str, process: str, alone: bool) -> bool:
        now = self._clock()
        earlier = {
            name
            for (its_service, name), known in self._processes.items()
            if (its_service, known.instance) == (service, instance) and not known.ended
        }
        over = {name for name in earlier if alone or now - self._processes[service, name].seen > timedelta(minutes=1)}
        for name in over:
            self._processes[service, name] = replace(self._processes[service, name], ended=True)
        if alone:
            self._free(service, over)
        self._processes[service, process] = _Process(instance, now)
        return bool(earlier)

    async def heartbeat(self, service: str, process: str, silent: Mapping[str, datetime]) -> dict[str, datetime]:
        mine = self._processes.get((service, process), _Process(process, self._clock()))
        self._processes[service, process] = replace(mine, seen=self._clock(), ended=False)
        for name, seen in silent.items():
            known = self._processes[service, name]
            self._processes[service, name] = replace(known, ended=known.ended or known.seen == seen)
        running = {
            name: known.seen
            for (its_service, name), known in self._processes.items()
            if its_service == service and not known.ended
        }
        self._free(service, {holder for holder in self._holders.values() if holder not in running})
        return {name: seen for name, seen in running.items() if name != process}

    async def process_ended(self, service: str, process: str) -> None:
        self._processes[service, process] = replace(self._processes[service, process], ended=True)
        self._free(service, {process})

    def _free(self, service: str, processes: Set[str]) -> None:
        """Makes the wake-ups that these processes hold free to claim at once."""
        for stream in [s for s, holder in self._holders.items() if s.service == service and holder in processes]:
            del self._holders[stream]
            self._wake_ups[stream] = self._clock(), self._wake_ups[stream][1]

    async def count_attempts(self, service: str, records: Sequence[tuple[str, int, int]], by: int = 1) -> list[int]:
        for record in dict.fromkeys(records):
            self._attempts[service, *record] = self._attempts.get((service, *record), 0) + by
        return [self._attempts[service, *record] for record in records]

    async def task_key(self) -> bytes:
        return self._task_key

    # all messages

    async def cursor(self) -> Cursor:
        return Cursor(self._epoch)

    async def read_all(self, since: Cursor | None = None, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        if since is not None and since.epoch != self._epoch:
            raise EpochChanged(f"the cursor is of epoch {since.epoch}, the store of {self._epoch}: the store was restored")
        position, end = since.position if since else 0, len(self._log)
        for first in range(position, end, batch):
            yield self._log[first : min(first + batch, end)]

    async def epoch(self) -> Epoch:
        return Epoch(self._epoch, True)

    async def epoch_compared(self, epoch: str) -> None: ...

    async def read_published_back(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        published = [message for message in reversed(self._log) if message.version <= self._published.get(message.stream, 0)]
        for first in range(0, len(published), batch):
            yield published[first : first + batch]

    async def read_streams(self, *, batch: int = 1000) -> AsyncIterator[list[StoredMessage]]:
        ordered = sorted(self._log, key=lambda message: (message.stream, message.version))
        for first in range(0, len(ordered), batch):
            yield ordered[first : first + batch]

    async def read_last(self, kinds: Sequence[str], messages: int, tenant: str = "") -> list[StoredMessage]:
        left, found = dict.fromkeys(kinds, messages), list[StoredMessage]()
        for message in reversed(self._log):
            if left.get(message.kind, 0) > 0 and tenant in ("", message.stream.tenant):
                left[message.kind] -= 1
                found.append(message)
        return found[::-1]

    async def find_messages(self, ids: Sequence[UUID]) -> dict[UUID, StoredMessage]:
        wanted = set(ids)
        return {message.id: message for message in self._log if message.id in wanted}

    async def not_on_record(self, claims: Sequence[Claim]) -> set[Claim]:
        known = ((claim, self._ids.get((claim.stream.tenant, claim.stream.workflow, claim.id))) for claim in claims)
        return {claim for claim, stored in known if stored is None or stored.claim != claim}

    async def estimate_size(self) -> int:
        return len(self._log)

    async def reader_lag(self) -> float:
        return 0.0

    # workflows

    async def list_workflows(self, since: datetime | None = None, *, batch: int = 1000) -> AsyncIterator[list[ListedWorkflow]]:
        names = sorted({*(stream[:2] for stream in self._versions), *(key[:2] for key in self._doors)})
        for first in range(0, len(names), batch):
            yield [self._listed(*name, since) for name in names[first : first + batch]]

    def _listed(self, tenant: str, workflow: str, since: datetime | None) -> ListedWorkflow:
        versions = [of_stream for stream, of_stream in self._versions.items() if stream[:2] == (tenant, workflow)]
        times = [entry.at for stream, mine in self._entries.items() if stream[:2] == (tenant, workflow) for entry in mine]
        active = since is None or any(at >= since for at in times)
        return ListedWorkflow(
            tenant, workflow, sum(version for _, version in versions), sum(processed for processed, _ in versions), active
        )

    async def load_workflows(self, workflows: Sequence[tuple[str, str]]) -> list[WorkflowHistory]:
        return [
            WorkflowHistory(
                *names,
                histories := dict(await self.load_workflow(*names)),
                {stream: list(self._entries[stream]) for stream in histories},
                doors := await self.door_messages(*names),
                {stream: self._last_append(stream) for stream in histories},
                {id_: self._identities[names[0], id_] for id_ in doors if (names[0], id_) in self._identities},
            )
            for names in workflows
        ]

    def _last_append(self, stream: Stream) -> LastAppend:
        """Appends are not kept: each entry is taken for one of its own."""
        last = self._entries[stream][-1]
        return LastAppend(last.at, last.sequence - 1, last.version_before)

    async def load_workflow(self, tenant: str, workflow: str) -> Mapping[Stream, History]:
        return {stream: self._history(stream) for stream in sorted(self._versions) if stream[:2] == (tenant, workflow)}

    async def inbox_entries(self, stream: Stream) -> list[InboxEntry]:
        return list(self._entries.get(stream, ()))

    async def door_messages(self, tenant: str, workflow: str, causation_ids: Sequence[UUID] = ()) -> dict[UUID, DoorMessage]:
        return {
            key[2]: door
            for key, door in self._doors.items()
            if key[:2] == (tenant, workflow) and (not causation_ids or key[2] in causation_ids)
        }

    # the record as a whole

    async def unsettled_since(self, transaction: int) -> datetime | None:
        return None

    async def next_transaction(self) -> int:
        return 0

    async def disorder(self, slack: float, limit: int) -> list[Disorder]:
        return []  # nobody but `append` writes here

    async def identities_without_door(self, limit: int) -> list[tuple[str, UUID, str]]:
        return [
            (tenant, id_, known.workflow)
            for (tenant, id_), known in self._identities.items()
            if (tenant, known.workflow, id_) not in self._doors
        ][:limit]

    # policies

    async def store_policy(self, service: str, version: str, data: bytes) -> None:
        refuse_text(service + version)
        refuse_json(data)
        if self._policies.setdefault((service, version), data) != data:
            raise StoreRefused(f"the policy {version} of {service} has other data already")

    async def load_policies(self, versions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        return {version: self._policies[version] for version in versions if version in self._policies}

    # answers

    async def index_answers(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        now = self._clock()
        oldest = now - timedelta(seconds=keep)
        self._answers = {key: known for key, known in self._answers.items() if known[0] >= oldest}
        self._answers |= {(stream.tenant, key): (now, stream) for key, stream in answers}

    async def find_answer(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        _, stream = self._answers.get((tenant, key), (None, None))
        messages = self._messages.get(stream, []) if stream else []
        if any(message.kind == unless for message in messages):
            return None
        return next((message for message in reversed(messages) if message.kind == kind), None)

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
