"""What the policy makes of a proposal, with the times that follow. Pure."""

from datetime import datetime, timedelta

from contracts.approval import ActionAssessed, ActionProposed, Assessment, Proposal, ProposeAction, Requester, SimilarCase
from hansard.actions import BadAction, action_reference, proposed_action, read_action
from hansard.values import carried
from services.approval.facts import LookedUp
from services.approval.personal_data import personal_data_in
from services.approval.policy import Policy, assess, times


def check_bytes(proposal: ProposeAction) -> bytes:
    """The bytes that are to be approved. Raises BadAction where they are no action, or not those of the hash."""
    data = proposal.action.encode()
    proposed_action(data)
    if (actual := action_reference(data).sha256) != proposal.sha256:
        raise BadAction(f"the hash of the action is {actual}, and the proposal names {proposal.sha256}")
    return data


def assessed(policy: Policy, proposal: Proposal, data: bytes, similar: tuple[SimilarCase, ...], cases: int) -> Assessment:
    """`proposal`: with its requester as far as that is proven. `data`: the bytes of the action, which are no longer those of the
    proposal where it was edited."""
    action = read_action(data)
    return assess(policy, action, proposal, personal_data_in(action), similar, cases)


def refused_at(policy: Policy, proposal: Proposal, at: datetime) -> datetime:
    """When a proposal that is not assessed by then is refused."""
    return at + times(policy, "reviewers", proposal.seconds).expire_after


def assessment_of(policy: Policy, action: ActionProposed, requester: Requester, found: LookedUp, at: datetime) -> ActionAssessed:
    """The assessment as an event. `requester`: as far as it is proven. Times are from now on: reading the record took no time
    that counts."""
    proposal = action.model_copy(update={"requester": requester})
    made = assessed(policy, proposal, action.action.encode(), found.similar, found.cases)
    escalate: timedelta | None = None
    expires_at: datetime | None = None
    if made.queue:
        escalate, expire = times(policy, made.queue, action.seconds)
        expires_at = at + expire
    return ActionAssessed(
        action_id=action.action_id,
        sha256=action.sha256,
        **carried(made, Assessment),
        similar=found.similar,
        cases=found.cases,
        escalates_at=None if escalate is None else at + escalate,
        expires_at=expires_at,
        policy=policy.version,
        requester=requester,
    )
