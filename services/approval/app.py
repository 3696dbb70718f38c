"""Approval as a service: its decider with the policy of the settings."""

from collections.abc import Mapping
from typing import Any

from contracts.approval import (
    AskPerson,
    GiveMore,
    LookupStarted,
    ProposeAction,
    ReviewAction,
    ReviewByIdentity,
    WithdrawAction,
)
from hansard.policy import StoredPolicy
from hansard.service import Performer, Service
from services.approval.decider import State, approval, set_aside
from services.approval.facts import LookedUp, RegistrationGiven, RemovalGiven
from services.approval.performer import open_performer
from services.approval.policy import Policy, load
from shared.settings import Settings

LIMIT = 1024  # lookups that a process may have begun; few of them read at once


def build(settings: Settings) -> Service[State]:
    """Raises BadPolicy; OSError where its file is missing."""
    return serving(load(settings.approvals or None, unproven=settings.unproven_identities))


def serving(policy: Policy) -> Service[State]:
    """The service under this policy."""

    def of_action(message: Any) -> str:
        return str(message.action_id)

    def recorded(version: str, data: Mapping[str, Any]) -> Any:
        return approval(Policy.of(version, data))

    def of_operator(_: object) -> None:
        """Facts of the operator's command, which are given to the streams of people themselves."""

    return Service(
        name="approval",
        decider=approval(policy),
        receives={
            ProposeAction: of_action,
            WithdrawAction: of_action,
            GiveMore: of_action,
            AskPerson: of_action,
            ReviewAction: of_action,
            ReviewByIdentity: lambda message: message.review.action_id,
            LookedUp: of_action,
            RegistrationGiven: of_operator,
            RemovalGiven: of_operator,
        },
        performer=Performer(intent=LookupStarted, open=open_performer, limit=LIMIT),
        stored_policy=StoredPolicy(policy.data, recorded),
        set_aside=set_aside,
    )
