"""The notifier: who must decide is told, once, and with no more than is needed for it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from contracts.approval import (
    ActionEdited,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    MoreGiven,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    Requester,
    ReviewDelegated,
)
from contracts.notifier import ActionNoted, DeliverWebhook, Notification
from hansard.actions import action_bytes, action_reference
from hansard.message import Message
from hansard.testing import NOON, InMemory, given
from services.notifier.decider import notifier
from services.notifier.notification import notifications
from shared.settings import Settings
from shared.webhooks.endpoints import Endpoints
from tests.spec.notifier_kit import APPROVED, ASSESSED, BYTES, PROPOSED, REFUND, SHA256, endpoints

NOBODY = notifications(Endpoints())
NOTED = ActionNoted(action_id="pay.1", sha256=SHA256, action=REFUND.model_copy(update={"arguments": {}}))
NEEDED = Notification(
    number=1,
    event="decision-needed",
    action_id="pay.1",
    sha256=SHA256,
    about="Refund the outage",
    tool="ledger",
    amount=REFUND.amount,
    recipient="acct-9",
    queue="reviewers",
    role="reviewer",
    risk="high",
    reasons=("high risk: refund",),
    status="pending_review",
    escalates_at=NOON + timedelta(hours=4),
    deadline=NOON + timedelta(hours=24),
)
ESCALATED = ActionEscalated(
    action_id="pay.1", because="nobody decided in time", role="senior", expires_at=NOON + timedelta(hours=48)
)


def told(*stored: Message, when: Message) -> Notification:
    """The one notification that follows."""
    [notification] = given(NOBODY, *stored).when(when).messages
    assert isinstance(notification, Notification)
    return notification


def test_an_action_is_noted_without_its_arguments_and_nobody_is_told_yet() -> None:
    given(NOBODY).when(PROPOSED).then(NOTED)


def test_who_must_decide_sees_what_until_when_and_why() -> None:
    given(NOBODY, NOTED).when(ASSESSED).then(NEEDED)


def test_a_notification_names_the_requester_as_far_as_that_is_proven() -> None:
    proven = Requester(name="bob@example.org", proof="signature", key="0f1e2d3c4b5a6978")
    needed = told(NOTED, when=ASSESSED.model_copy(update={"requester": proven}))
    assert needed.requester == proven
    assert told(NOTED, needed, when=ESCALATED).requester == proven


def test_of_an_action_that_nobody_has_to_decide_only_the_decision_is_told() -> None:
    unseen = ASSESSED.model_copy(update={"queue": "", "role": "", "status": "auto_approved"})
    given(NOBODY, NOTED).when(unseen).then()
    assert told(NOTED, when=APPROVED.model_copy(update={"status": "auto_approved", "by": ()})).status == "auto_approved"


def test_an_escalation_names_the_seniors_and_the_new_deadline() -> None:
    notification = told(NOTED, NEEDED, when=ESCALATED)
    assert (notification.number, notification.event, notification.role, notification.queue) == (
        2,
        "escalated",
        "senior",
        "seniors",
    )
    assert notification.deadline == ESCALATED.expires_at and notification.escalates_at is None
    assert notification.reasons == ("nobody decided in time",)
    assert (notification.about, notification.amount, notification.sha256) == ("Refund the outage", REFUND.amount, SHA256)


def test_a_delegation_names_who_decides_now() -> None:
    notification = told(NOTED, NEEDED, when=ReviewDelegated(action_id="pay.1", by="alice", to="carol"))
    assert (notification.event, notification.person, notification.by) == ("delegated", "carol", ("alice",))
    assert notification.deadline == NEEDED.deadline


def test_the_answer_to_a_reviewer_is_announced_and_not_shown() -> None:
    later = NOON + timedelta(hours=30)
    given_more = MoreGiven(action_id="pay.1", question=1, answer="Nine hours, per Ada Lovelace.", expires_at=later)
    notification = told(NOTED, NEEDED, when=given_more)
    assert notification.event == "more-given" and "Lovelace" not in notification.model_dump_json()
    assert notification.deadline == later


def test_what_was_approved_is_named_by_the_approved_bytes_also_where_they_were_edited() -> None:
    halved = REFUND.model_copy(update={"amount": Decimal(1250)})
    edited = action_bytes(halved)
    sha256 = action_reference(edited).sha256
    approved = APPROVED.model_copy(update={"action": edited.decode(), "sha256": sha256, "proposed": SHA256})
    notification = told(NOTED, NEEDED, when=approved)
    assert (notification.event, notification.sha256, str(notification.amount)) == ("approved", sha256, "1250")
    assert (notification.by, notification.deadline, notification.queue) == (("alice",), None, "reviewers")


def test_an_edit_is_told_and_from_then_on_its_bytes_are_what_is_shown() -> None:
    table = endpoints({"name": "chat", "arguments": True})
    halved = REFUND.model_copy(update={"amount": Decimal(1250), "arguments": {"invoice": "R-18"}})
    data = action_bytes(halved)
    edited = ActionEdited(
        action_id="pay.1", sha256=action_reference(data).sha256, action=data.decode(), proposed=SHA256, by="alice"
    )
    decided = given(notifications(table), NOTED, NEEDED).when(edited).then(ActionNoted, Notification, DeliverWebhook)
    [_, notification, webhook] = decided.stored[-3:]
    assert isinstance(notification, Notification) and isinstance(webhook, DeliverWebhook) and isinstance(webhook.data, dict)
    assert (notification.event, str(notification.amount), notification.sha256) == ("edited", "1250", edited.sha256)
    assert webhook.data["arguments"] == {"invoice": "R-18"} and notification.deadline == NEEDED.deadline
    [escalated, _] = decided.when(ESCALATED).messages
    assert isinstance(escalated, Notification) and (str(escalated.amount), escalated.sha256) == ("1250", edited.sha256)


def test_a_refusal_is_told_with_its_cause() -> None:
    rejected = ActionRejected(action_id="pay.1", sha256=SHA256, policy="1", because="expired", status="expired")
    notification = told(NOTED, NEEDED, when=rejected)
    assert (notification.event, notification.reasons, notification.deadline) == ("rejected", ("expired",), None)


def test_a_question_is_told_and_its_answer_is_not() -> None:
    asked = QuestionAsked(
        action_id="ask.1", question="Which account?", role="reviewer", proposer="planner", expires_at=NOON, policy="1"
    )
    first = told(when=asked)
    assert (first.event, first.about, first.role, first.deadline) == ("question-asked", "Which account?", "reviewer", NOON)
    second = told(first, when=QuestionAnswered(action_id="ask.1", answer="acct-666", by="alice"))
    assert (second.number, second.event, second.by, second.deadline) == (2, "question-answered", ("alice",), None)
    assert "acct-666" not in second.model_dump_json()
    assert told(first, when=QuestionExpired(action_id="ask.1", because="expired")).event == "question-expired"


def test_a_proposal_that_is_no_action_is_told_by_its_id_and_hash() -> None:
    given(NOBODY).when(PROPOSED.model_copy(update={"action": "{"})).then()
    notification = told(when=ASSESSED)
    assert (notification.about, notification.amount, notification.sha256) == ("", None, SHA256)


# Webhooks


def ordered(table: Endpoints, *stored: Message, when: Message) -> list[DeliverWebhook]:
    decided = given(notifications(table), *stored).when(when).messages
    return [message for message in decided if isinstance(message, DeliverWebhook)]


def test_each_endpoint_has_a_delivery_of_its_own() -> None:
    table = endpoints({"name": "chat"}, {"name": "pager"})
    [chat, pager] = ordered(table, NOTED, when=ASSESSED)
    assert (chat.delivery, pager.delivery) == ("pay.1/1/chat", "pay.1/1/pager")
    assert (chat.type, chat.at) == ("approval.decision-needed", NOON)
    assert chat.data == NEEDED.model_dump(mode="json") | {"workflow": "wf-1", "tenant": "default"}


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        ({}, True),
        ({"events": ["approval.*"]}, True),
        ({"events": ["approval.escalated"]}, False),
        ({"queues": ["seniors"]}, False),
        ({"queues": ["seniors", "reviewers"]}, True),
        ({"roles": ["senior"]}, False),
        ({"tenants": ["acme"]}, False),
        ({"tenants": ["default"], "roles": ["reviewer"]}, True),
    ],
)
def test_an_endpoint_gets_what_it_asks_for(wanted: dict[str, object], takes: bool) -> None:
    assert bool(ordered(endpoints({"name": "chat"} | wanted), NOTED, when=ASSESSED)) is takes


def test_by_default_an_endpoint_gets_what_asks_a_person_for_something() -> None:
    table = endpoints({"name": "chat"})
    assert ordered(table, NOTED, NEEDED, when=ESCALATED) and not ordered(table, NOTED, NEEDED, when=APPROVED)


def test_arguments_go_only_to_the_endpoint_that_asks_for_them() -> None:
    table = endpoints({"name": "all", "arguments": True, "events": ["approval.*"]}, {"name": "chat", "events": ["approval.*"]})
    noted = given(notifications(table)).when(PROPOSED).then(ActionNoted)
    decided = noted.when(ASSESSED).then(NEEDED, DeliverWebhook, DeliverWebhook)
    shown, hidden = decided.stored[-2:]
    assert isinstance(shown, DeliverWebhook) and isinstance(hidden, DeliverWebhook)
    assert isinstance(shown.data, dict) and shown.data["arguments"] == REFUND.arguments
    assert "Ada" not in hidden.model_dump_json()
    assert "Ada" not in NEEDED.model_dump_json(), "the public topic never has them"


def test_an_action_with_a_long_name_has_deliveries_too() -> None:
    long = "a" * 250
    table = endpoints({"name": "n" * 64})
    names = {one.delivery for n in ("b", "c") for one in ordered(table, when=ASSESSED.model_copy(update={"action_id": long + n}))}
    assert len(names) == 2 and max(map(len, names)) <= 255


def test_the_service_keeps_actions_and_webhooks_in_streams_of_their_own() -> None:
    from services.notifier.app import build

    there = InMemory(build(Settings()))
    for message in (PROPOSED, ASSESSED, APPROVED):
        there.send(message)
    assert [type(one).__name__ for one in there.messages("notifier/actions/pay.1")] == [
        "ActionNoted",
        "Notification",
        "Notification",
    ]
    lost = ordered(endpoints({"name": "chat"}), NOTED, when=ASSESSED)[0]
    assert [type(one).__name__ for one in there.send(lost)] == ["DeliveryFailed"], "its endpoint is not configured here"
    assert there.messages("notifier/webhooks/pay.1/1/chat")


def test_both_deciders_are_one() -> None:
    table = endpoints({"name": "chat"})
    given(notifier(table)).when(PROPOSED).then(ActionNoted).when(ASSESSED).then(NEEDED, DeliverWebhook)
    assert isinstance(PROPOSED, ActionProposed) and BYTES
