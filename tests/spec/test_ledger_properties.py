"""Whatever comes to the ledger, in whatever order and however often: one approval is carried out, and a task ends once."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.ledger import EntryPosted, PostingStarted
from hansard.decider import Context, WakeUp
from hansard.message import Message
from hansard.tasks import CancelTask, TaskAnswered, TaskCancelled, TaskFailed
from hansard.testing import CONTEXT, NOON
from services.ledger.decider import ledger
from services.ledger.facts import PostingReturned
from tests.spec.test_ledger import APPROVAL, ENTRY, TASK

ENDS = (TaskAnswered, TaskFailed, TaskCancelled)


def outcomes(attempt: int) -> st.SearchStrategy[Message]:
    """What may come of an attempt; of one that was never made, too."""
    of_it = {"attempt": attempt, "task": "pay.1"}
    return st.sampled_from(
        [
            PostingReturned(**of_it, entry=ENTRY),
            PostingReturned(**of_it, failed="the book did not answer"),
            PostingReturned(**of_it, refused="no such bytes"),
        ]
    )


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.just(TASK),
    st.just(TASK.model_copy(update={"approval": None})),
    st.just(TASK.model_copy(update={"approval": APPROVAL.model_copy(update={"decision": "1" * 8 + ENTRY.decision[8:]})})),
    st.just(CancelTask(task="pay.1", service="ledger")),
    st.just(WakeUp()),
    st.integers(1, 4).flatmap(outcomes),
)


@settings(max_examples=500)
@given(st.lists(st.tuples(MESSAGES, st.integers(0, 200)), max_size=12))
def test_one_approval_is_carried_out_and_a_task_ends_once(received: list[tuple[Message, int]]) -> None:
    stored: list[Message] = []
    at = NOON
    for message, seconds in received:
        at += timedelta(seconds=seconds)
        state = ledger.fold(stored)
        context = Context(CONTEXT.causation_id, at, CONTEXT.workflow, CONTEXT.tenant)
        stored += ledger.decide(state, message, context)
    intents = [one for one in stored if isinstance(one, PostingStarted)]
    assert len({(one.key, one.approval.action.sha256, one.safety) for one in intents}) <= 1
    assert [one.attempt for one in intents] == list(range(1, len(intents) + 1))
    assert all(one.deadline <= one.until and one.key == one.approval.decision for one in intents)
    ended = [place for place, one in enumerate(stored) if isinstance(one, ENDS)]
    assert len(ended) <= 1
    after = stored[ended[0] + 1 :] if ended else []
    assert all(isinstance(one, EntryPosted) and one.late for one in after) and len(after) <= 1
    if any(isinstance(one, TaskAnswered) for one in stored):
        assert any(isinstance(one, EntryPosted) and not one.late for one in stored)
