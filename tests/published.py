"""Messages as any Kafka client sees them, and what must be true of all that are stored and published."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.requests import SubmitRequest

Json = dict[str, Any]


@dataclass(frozen=True)
class PublishedMessage:
    """One record of a topic, as any client sees it."""

    topic: str
    partition: int
    offset: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers.get("ce_id", "")

    @property
    def kind(self) -> str:
        return self.headers.get("ce_type", "")

    @property
    def workflow(self) -> str:
        return self.headers.get("ce_correlationid", "")

    @property
    def data(self) -> Json:
        found: Json = json.loads(self.body)
        return found


# Each finds rows only where the record is broken: gaps in a stream, wrong counts of a stream, two results of a workflow, two
# effects of an attempt, one id twice.
GAPS = """select workflow, stream from messages group by tenant, workflow, stream
          having count(*) <> max(version) or min(version) <> 1"""
STREAMS = """select workflow, stream, version, processed from streams h
            where version <> (select count(*) from messages e
                               where (e.tenant, e.workflow, e.stream) = (h.tenant, h.workflow, h.stream))
               or processed <> (select count(*) from inbox e
                             where (e.tenant, e.workflow, e.stream) = (h.tenant, h.workflow, h.stream))"""
RESULTS = "select workflow from messages where topic = 'results' group by tenant, workflow having count(*) > 1"
EFFECTS = """select workflow, stream, data->>'attempt' from messages where kind = 'hansard.gateway.attempt-started.v1'
                 group by tenant, workflow, stream, data->>'attempt' having count(*) > 1"""
IDS = "select id from messages group by id having count(*) > 1"
MESSAGES = "select id, topic, stream, version from messages"


def out_of_order(messages: Iterable[PublishedMessage]) -> list[str]:
    """Messages that were first published after a later message of their stream on the same topic."""
    last: dict[tuple[str, str, str, str], int] = {}
    seen: set[str] = set()
    wrong: list[str] = []
    for one in messages:
        if one.id in seen:
            continue
        seen.add(one.id)
        place = one.topic, one.headers.get("ce_tenant", ""), one.workflow, one.headers.get("ce_subject", "")
        sequence = int(one.headers.get("ce_sequence", "0"))
        if sequence <= last.get(place, 0):
            wrong.append(f"{place}: {sequence} after {last[place]}")
        last[place] = max(sequence, last.get(place, 0))
    return wrong


def envelope(
    id_: str, kind: str = SubmitRequest.kind, *, workflow: str = "", source: str = "/test", **more: str
) -> list[tuple[str, bytes]]:
    """CloudEvents headers in binary mode."""
    named = (
        {"specversion": "1.0", "id": id_, "source": source, "type": kind}
        | ({"correlationid": workflow} if workflow else {})
        | more
    )
    return [(f"ce_{name}", value.encode()) for name, value in named.items()]
