"""Ids are stored and made anew by audits: a changed rule would make every stored id wrong. So each is pinned."""

import uuid
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.results import WorkflowRefused
from contracts.specialists import TaskCancelled
from contracts.verifier import ClaimPassed
from hansard import identity
from hansard.identity import NAMESPACE, Stream
from hansard.message import Message

STREAM = Stream("acme", "order-77", "specialists/draft.1")
CAUSATION = UUID("5f0c3a52-9d34-5b0e-8d53-0f8c4a1b7e11")
PASSED = ClaimPassed(check="draft.1", by=(), policy="1")
CANCELLED = TaskCancelled(task="draft.1")
REFUSED = WorkflowRefused(reason="invalid", detail="")


@given(st.uuids(), st.text())
def test_the_fast_uuid5_is_uuid5(namespace: UUID, name: str) -> None:
    assert identity.uuid5(namespace, name) == uuid.uuid5(namespace, name)


def test_the_namespace_is_fixed() -> None:
    assert str(NAMESPACE) == "6a0f5f0e-5f5a-5b1e-9d5e-1f0b6f7a9c11"


def test_a_stream_is_tenant_workflow_and_name() -> None:
    assert str(STREAM) == "acme/order-77/specialists/draft.1"
    assert STREAM.service == "specialists"
    assert Stream("acme", "order-77", "planner").service == "planner"


def test_the_name_of_a_stream_is_the_service_and_its_part() -> None:
    assert identity.stream_name("specialists", "draft.1") == "specialists/draft.1"
    assert identity.stream_name("planner", "") == "planner"


def test_a_call_names_the_stream_that_asks() -> None:
    assert identity.call_id("specialists", "draft.1", 1) == "specialists/draft.1/1"
    assert identity.mine("specialists", "specialists/draft.1/2") == "draft.1"
    assert identity.mine("verifier", "specialists/draft.1/2") is None
    assert identity.mine("specialists", "specialists") == ""


def test_a_task_names_its_step_and_attempt() -> None:
    assert identity.task_name("draft", 2) == "draft.2"
    assert identity.step_and_attempt("draft.2") == ("draft", 2)
    assert identity.step_and_attempt("a.b.12") == ("a.b", 12)
    assert [identity.step_and_attempt(name)[1] for name in ("draft", "draft.", "draft.x", "draft.12345", "draft.²")] == [0] * 5


def test_the_source_of_a_message_is_its_service() -> None:
    assert identity.source_of("router") == "/hansard/router"


def test_the_causation_id_at_a_door_comes_from_tenant_topic_source_and_id() -> None:
    made = identity.door_causation_id("acme", "requests", "/shop", "order-77")
    assert str(made) == "cb7428c5-6437-51c3-8520-e3974963b070"


def test_an_unreadable_record_is_known_by_its_place() -> None:
    assert identity.place_of("requests", 3, 42) == "requests.3.42"
    assert str(identity.unreadable_causation_id("requests.3.42")) == "ea79a25b-55b3-5ce8-aba1-a29e2712224b"


def test_a_reused_id_with_another_body_has_a_causation_id_of_its_own() -> None:
    assert str(identity.reused_causation_id(CAUSATION, bytes(range(32)))) == "259c9334-3249-52da-aeac-d9b281773740"


def test_a_message_from_within_a_service_is_known_by_its_name() -> None:
    assert str(identity.internal_causation_id(STREAM, "change/3")) == "6d87a632-ae2d-506c-9fd7-7fc1e16fb567"


def test_a_wake_up_is_known_by_how_much_its_stream_has_processed() -> None:
    assert identity.wake_up_name(4) == "wake-up/5"
    assert str(identity.wake_up_causation_id(STREAM, 4)) == "ebf02b49-97a4-55ac-bc45-d5e80314072f"
    assert identity.wake_up_causation_id(STREAM, 4) == identity.internal_causation_id(STREAM, "wake-up/5")


def test_an_outcome_is_known_by_its_attempt() -> None:
    assert identity.outcome_name(2) == "attempt/2"
    assert str(identity.outcome_causation_id(STREAM, 2)) == "cf9cdf71-f599-5430-8269-f3925b6f6807"
    assert identity.outcome_causation_id(STREAM, 2) == identity.internal_causation_id(STREAM, "attempt/2")


@pytest.mark.parametrize(
    ("message", "number", "dead_attempt", "made"),
    [
        (PASSED, 1, 0, "c64eee29-ce4e-5c27-b3e7-01309ad470ea"),
        (PASSED, 2, 0, "1977180b-557e-5056-9181-2532b378f2cc"),
        (PASSED, 1, 1, "b0d5e99e-c5ec-5c41-9293-3c31ee672fa8"),
        (CANCELLED, 1, 0, "ba66a122-50b8-5496-b4c7-1b7f6047b3ad"),
        (REFUSED, 1, 0, "faa9b31e-216c-5fd4-918f-6fee32717d03"),
    ],
)
def test_a_stored_message_has_its_id_from_its_causation_or_from_what_it_can_happen_to_once(
    message: Message, number: int, dead_attempt: int, made: str
) -> None:
    assert str(identity.stored_message_id(message, STREAM, CAUSATION, number, dead_attempt)) == made


def test_what_can_be_stored_once_has_the_same_id_whatever_it_answers() -> None:
    other = UUID(int=1)
    assert identity.stored_message_id(CANCELLED, STREAM, other, 2) == identity.stored_message_id(CANCELLED, STREAM, CAUSATION, 1)
    elsewhere = STREAM._replace(name="planner")
    assert identity.stored_message_id(REFUSED, elsewhere, other, 2) == identity.stored_message_id(REFUSED, STREAM, CAUSATION, 1)
    assert identity.stored_message_id(CANCELLED, elsewhere, other, 2) != identity.stored_message_id(CANCELLED, STREAM, other, 2)


def test_the_key_of_a_model_call_changes_with_a_repair_only() -> None:
    key = identity.idempotency_key("acme", "order-77", "specialists/draft.1/1", 0)
    assert key == "4d5cabb7-d23b-5302-a947-a631acb6231b"
    assert identity.idempotency_key("acme", "order-77", "specialists/draft.1/1", 1) != key


def test_a_task_that_is_delivered_twice_is_answered_under_one_id() -> None:
    assert str(identity.answer_id(CAUSATION)) == "fc411385-5ed8-50be-af77-64e3a9e04af9"


def test_an_id_that_a_client_makes_says_what_it_is_for() -> None:
    assert identity.client_id("ask", CAUSATION) == "ask-5f0c3a529d34"


def test_equal_lines_of_a_file_are_told_apart_by_their_number() -> None:
    assert identity.line_id('["default", "", {"text": "a"}]', 1) == "7f3e34d26e8f518cb56566650f129bdc"
    assert identity.line_id('["default", "", {"text": "a"}]', 2) != identity.line_id('["default", "", {"text": "a"}]', 1)


ROOT = Path(__file__).parents[2]
ELSEWHERE = {"contracts/tools/goldens.py"}  # the ids in golden examples are no message's


def test_no_other_module_makes_an_id_from_facts() -> None:
    files = [path for room in ("contracts", "shared", "services", "infra") for path in (ROOT / room).rglob("*.py")]
    makers = {path.relative_to(ROOT).as_posix() for path in files if "uuid5(" in path.read_text()}
    assert makers == ELSEWHERE | {"shared/hansard/identity.py"}
