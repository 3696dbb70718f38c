"""A request that is to be published, and which message ends it. Pure.

A result names its workflow, not the request that it answers. So where an id may have been used before, a result is this
request's only if the first request of its workflow had this id and this body; any other was turned away, and ends with its
dead letter.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from hansard.envelope import TENANT, Envelope
from hansard.identity import client_id
from hansard.message import WITHOUT_RESULT
from hansard.reviews import BadKey
from hansard.signer import Signer
from infra.audit.message import ShownMessage
from infra.cli.bus import request
from infra.cli.plan_files import problems
from infra.cli.problem import Problem
from infra.cli.watching import RESULTS

Key = tuple[str, str]  # tenant, workflow
_HEADER = re.compile("ce_([a-z]+)")


@dataclass(frozen=True)
class NewRequest:
    """One request, ready to be published."""

    id: str
    workflow: str
    tenant: str
    body: Mapping[str, Any]
    signer: Signer | None = None

    @cached_property
    def data(self) -> bytes:
        """Raises ValueError for what its signer cannot sign."""
        body = self.body
        if self.signer is not None:
            as_written = SubmitRequest.model_validate(body).model_dump(mode="json", exclude_unset=True)
            body = self.signer.request(as_written, self.tenant, self.workflow)
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str).encode()

    @property
    def envelope(self) -> Envelope:
        return request(self.id, SubmitRequest.kind, self.data, workflow=self.workflow, tenant=self.tenant)

    @property
    def key(self) -> Key:
        return self.tenant, self.workflow


def new_request(body: Mapping[str, Any], *, id_: str = "", workflow: str = "", tenant: str = TENANT) -> NewRequest:
    """A request under the given id or a random one. Raises Problem for one that its door would refuse."""
    try:
        SubmitRequest.model_validate(body)
    except ValidationError as invalid:
        raise Problem(f"The request is not valid: {problems(invalid)}", code=2) from None
    id_ = id_ or client_id("ask", uuid.uuid4())
    asked = NewRequest(id_, workflow or id_, tenant or TENANT, body)
    try:
        _ = asked.envelope
    except UnicodeEncodeError:
        raise Problem("The request is not valid: it holds half of a surrogate pair, which is no character", code=2) from None
    except ValueError as bad:  # Unreadable
        what = attributes_named(bad)
        what = what if workflow else what.replace("`correlationid` must", "without a `correlationid`, the `id` must")
        raise Problem(f"The request is not valid: {what}", code=2) from None
    return asked


def signer_of(name: str, file: str) -> Signer | None:
    """Who signs; None where nobody is named. Raises Problem."""
    if not name:
        if file:
            raise Problem("Whose key is it? Say --as NAME too.", code=2)
        return None
    try:
        return Signer.of(name, file)
    except BadKey as bad:
        raise Problem(f"Nothing is sent as {name}: {bad}.", code=2) from None


def signed_by(asked: NewRequest, signer: Signer | None) -> NewRequest:
    """The request, signed where somebody signs. Raises Problem where that cannot be done."""
    signed = replace(asked, signer=signer)
    try:
        _ = signed.data
    except ValueError as unwritable:
        raise Problem(f"The request cannot be signed: {unwritable}.", code=2) from None
    return signed


def attributes_named(bad: ValueError) -> str:
    """What is wrong with an envelope, with its attributes as a line of a file or an option names them."""
    return _HEADER.sub(r"`\1`", str(bad))


def concerns(message: ShownMessage, asked: NewRequest) -> bool:
    """Whether a message belongs to this request."""
    return (message.tenant, message.workflow) == asked.key or _is_its_dead_letter(message, asked)


def is_end(message: ShownMessage, asked: NewRequest) -> bool:
    """Whether this is the workflow's terminal message, or a dead letter after which the request has none."""
    if message.kind.startswith(RESULTS):
        return (message.tenant, message.workflow) == asked.key
    reason = message.data.get("reason")
    answered = reason == "unreadable" and message.workflow == asked.workflow  # filed under its own key, it has a result too
    return _is_its_dead_letter(message, asked) and reason in WITHOUT_RESULT and not answered


def _is_its_dead_letter(message: ShownMessage, asked: NewRequest) -> bool:
    return (
        message.kind == DeadLettered.kind
        and message.data.get("topic") == "requests"
        and message.data.get("message_id") == asked.id
        and message.tenant == asked.tenant
    )


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass
class Ends:
    """The requests that have not ended yet. Process the messages of `requests`, `results` and `dead-letters`, each topic from
    its beginning where an id may have been used before."""

    waiting: dict[Key, NewRequest]
    _first: dict[Key, tuple[str, str, str]] = field(default_factory=dict)  # the first request: its source, id, and body's hash
    _held: dict[Key, ShownMessage] = field(default_factory=dict)  # results that came before it

    @classmethod
    def of(cls, requests: Iterable[NewRequest]) -> "Ends":
        return cls({asked.key: asked for asked in requests})

    def process(self, message: ShownMessage, envelope: Envelope) -> Iterator[tuple[NewRequest, ShownMessage]]:
        """Takes a message into account. Each request with its terminal message, once."""
        key = (message.tenant, message.workflow)
        asked = self.waiting.get(key)
        if asked is None:
            return
        if message.topic == "requests" and message.kind == SubmitRequest.kind:
            self._first.setdefault(key, _identity(envelope))
        elif message.kind.startswith(RESULTS):
            self._held.setdefault(key, message)
        elif not is_end(message, asked) or message.data.get("hash", _hash(asked.data)) != _hash(asked.data):
            return
        else:  # a dead letter of this request, and not of one that had its id and another body
            yield self.waiting.pop(key), message
            return
        if key in self._held and self._first.get(key) == _identity(asked.envelope):
            yield self.waiting.pop(key), self._held.pop(key)


def _identity(envelope: Envelope) -> tuple[str, str, str]:
    return envelope.source, envelope.id, _hash(envelope.data)
