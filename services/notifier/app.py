"""The notifier as a service."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionEscalated,
    ActionProposed,
    ActionRejected,
    MoreGiven,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    ReviewDelegated,
)
from contracts.notifier import DeliverWebhook, DeliveryStarted
from hansard.message import Message
from hansard.policy import StoredPolicy
from hansard.service import Perform, Performer, PerformerContext, Service
from services.notifier.decider import State, notifier
from services.notifier.delivery import Attempting
from services.notifier.facts import DeliveryReturned
from shared.settings import Settings
from shared.webhooks.endpoints import Endpoints, read_endpoints

ABOUT_ACTIONS: tuple[type[Message], ...] = (
    ActionProposed,
    ActionAssessed,
    ActionEscalated,
    ActionApproved,
    ActionRejected,
    ReviewDelegated,
    MoreGiven,
    QuestionAsked,
    QuestionAnswered,
    QuestionExpired,
)


def build(settings: Settings) -> Service[State]:
    """Raises ValueError or OSError if the file of the endpoints cannot be read."""
    endpoints = read_endpoints(settings.webhooks)

    def open_performer(context: PerformerContext) -> AbstractAsyncContextManager[Perform[Attempting, DeliveryStarted]]:
        from services.notifier import performer  # its HTTP client takes a while to import: only a process that sends needs it

        return performer.open_performer(endpoints, context)

    by_action: dict[type[Message], Callable[[Any], str | None]] = dict.fromkeys(
        ABOUT_ACTIONS, lambda message: f"actions/{message.action_id}"
    )
    return Service(
        name="notifier",
        decider=notifier(endpoints),
        receives={
            **by_action,
            DeliverWebhook: lambda message: f"webhooks/{message.delivery}",
            DeliveryReturned: lambda _: None,  # of its performer only
        },
        performer=Performer(DeliveryStarted, open_performer, limit=256),
        stored_policy=StoredPolicy(endpoints.data, lambda policy, data: notifier(Endpoints.of_then(policy, data))),
    )
