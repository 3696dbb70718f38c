"""What a decider decides, for specs that look at the messages themselves. See `hansard.testing` for given, when, then."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hansard.decider import Context, Decider
from hansard.message import Message
from hansard.testing import given

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HERE = Context(causation_id=UUID(int=1), at=NOON, workflow="wf-1", tenant="default", source="/test", message_id="req-1")


def decided(decider: Decider[Any], stored: Sequence[Message], received: Message, context: Context = HERE) -> list[Message]:
    """The messages that a stream which has stored these decides when it receives this. Raises CannotProcess.

    Decides twice, as `hansard.testing` does, and fails where the two differ.
    """
    result = given(decider, *stored, context=context).when(received, at=context.at, may_perform=context.may_perform)
    if result.refused is not None:
        raise result.refused
    return list(result.messages)
