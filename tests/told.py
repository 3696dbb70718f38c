from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hansard.decider import Context, Decider
from hansard.message import Intent, Message

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HERE = Context(causation_id=UUID(int=1), at=NOON, workflow="wf-1", tenant="default", source="/test", message_id="req-1")


def told(decider: Decider[Any], given: Sequence[Message], when: Message, context: Context = HERE) -> list[Message]:
    """What is said when `when` is heard after `given` was said.

    Decides twice, from two folds: a decider that reads a clock, a counter or its own memory is found out. The second time as
    an audit does, which knows of a free slot only by the intent that was said.
    """
    stored = list(decider.decide(decider.fold(given), when, context))
    audited = replace(context, may_perform=any(isinstance(message, Intent) for message in stored))
    again = list(decider.decide(decider.fold(given), when, audited))
    assert stored == again, "the same hearing was decided in two ways"
    return stored
