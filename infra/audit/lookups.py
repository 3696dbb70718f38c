"""Whether what approval read of people, for its decisions, is what the record had of them then. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from contracts.approval import LookupStarted
from hansard.codec import Invalid, decode
from hansard.identity import Stream, person_stream
from infra.audit.differences import Difference, with_messages
from infra.audit.people import KINDS
from services.approval import people
from services.approval.facts import LookedUp, Registration
from services.approval.people import Registered
from shared.eventstore.model import STALE, History, InboxEntry, StoredMessage, WorkflowHistory
from shared.eventstore.outcomes import whole as whole_outcome

SLACK = timedelta(seconds=2 * STALE)  # a time is proposed before its append, so what was read then may have a time after it


def reads_people(whole: WorkflowHistory) -> bool:
    """Whether any decision of this workflow rests on registrations."""
    return any(entry.kind == LookedUp.kind for entries in whole.entries.values() for entry in entries)


def misread(whole: WorkflowHistory, registered: Mapping[Stream, History]) -> Iterator[Difference]:
    """`registered`: the streams of the workflow of people, of the same tenant."""
    for stream, history in sorted(whole.histories.items()):
        began: dict[int, datetime] = {}
        for entry, answers in with_messages(history, whole.entries[stream]):
            if entry.kind == LookedUp.kind and (found := _outcome(entry, answers)):
                since = began.get(found.attempt, entry.at)
                for one in found.people:
                    about = registered.get(person_stream(stream.tenant, one.name))
                    yield from _compared(stream, entry, since, one, about)
            began |= {started.attempt: entry.at for started in _started(answers)}


def _outcome(entry: InboxEntry, answers: Sequence[StoredMessage]) -> LookedUp | None:
    """None where it cannot be read, which is reported elsewhere."""
    if entry.outcome is None:
        return None
    try:
        return decode(LookedUp, whole_outcome(entry.outcome, entry.hash, [stored.data for stored in answers]))
    except Invalid:
        return None


def _started(answers: Sequence[StoredMessage]) -> Iterator[LookupStarted]:
    for stored in answers:
        if stored.kind == LookupStarted.kind:
            try:
                yield decode(LookupStarted, stored.data)
            except Invalid:
                continue


def _compared(
    stream: Stream, entry: InboxEntry, since: datetime, read: Registration, about: History | None
) -> Iterator[Difference]:
    stored = [one for one in about.messages if one.kind in KINDS] if about else []
    state = Registered()
    for one in stored[: read.number]:
        state = people.evolve(state, decode(KINDS[one.kind], one.data))
    actual = state.as_read(read.name)
    if read != actual or read.number > len(stored):
        what = f"{entry.kind}: the registration of {read.name} that was read is not the one on record"
        yield Difference(stream, entry.sequence, what, read.model_dump_json(), actual.model_dump_json())
        return
    times = [one.at for one in stored]
    last, following = times[read.number - 1] if read.number else None, times[read.number] if read.number < len(times) else None
    if (last and last > entry.at + SLACK) or (following and following < since - SLACK):
        what = f"{entry.kind}: the registration of {read.name} that was read is not the one of that time"
        recorded = f"number {read.number}, read between {since} and {entry.at}"
        yield Difference(stream, entry.sequence, what, recorded, f"it was on record from {last} until {following}")
