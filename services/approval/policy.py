"""The policy: which actions may run unseen, and who decides about the others. Its data are `policy.yaml`."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import JsonValue, PrivateAttr, ValidationError

from contracts.approval import Assessment, Proposal, SimilarCase
from hansard.actions import Action
from hansard.policy import version_of
from services.approval.personal_data import LIBRARIES
from services.approval.policy_data import QUEUES, PolicyData, QueueName, RuleName
from services.approval.rules import RULES, case_of
from shared.yaml_files import read_yaml

VERSION = "3"  # of what the code decides: raise it with any change of a rule, of a reason's words or of what is found
BESIDE = ("libraries", "unproven")  # what is recorded of a policy besides what a file of it holds
SHIPPED = Path(__file__).with_name("policy.yaml")
PROOF: RuleName = "unproven-requester"  # the rule that asks for what the mode without proofs does without
ROUTINE = "routine"  # the rule by which an action runs unseen: no other stands against it


class BadPolicy(ValueError):
    """A file that is no policy. The text names the file, and what is wrong in it."""


class Policy(PolicyData):
    """The data, under the version that every decision names."""

    _version: str = PrivateAttr("")
    _libraries: Mapping[str, str] = PrivateAttr(LIBRARIES)
    _unproven: bool = PrivateAttr(False)

    @classmethod
    def of(cls, version: str, data: Mapping[str, Any]) -> Self:
        """The policy of a recorded version, from its `data`. Raises ValueError or LookupError for data that today's code cannot
        decide by. What finds personal data is today's, whatever libraries it was then."""
        policy = cls.model_validate({name: part for name, part in data.items() if name not in BESIDE})
        policy._version, policy._libraries, policy._unproven = version, data["libraries"], data["unproven"]
        return policy

    @cached_property
    def data(self) -> dict[str, JsonValue]:
        return self.model_dump(mode="json") | {"libraries": dict(self._libraries), "unproven": self._unproven}

    @property
    def unproven(self) -> bool:
        """Whether a review counts as its claimed sender's without proof, and a requester needs none. A setting of development,
        which no file can turn on."""
        return self._unproven

    @cached_property
    def deciding(self) -> dict[RuleName, QueueName]:
        """The rules that count, each with its queue."""
        off = {PROOF} if self.unproven else set()
        return {rule: queue for rule, queue in self.rules.items() if queue != "nobody" and rule not in off}

    @cached_property
    def version(self) -> str:
        return self._version or version_of(VERSION, self.data)


def load(own: Path | None = None, *, unproven: bool = False) -> Policy:
    """The shipped policy, changed by a file of the user's own. `unproven`: see `Policy.unproven`. Raises BadPolicy;
    OSError where there is no such file."""
    data = _mapping(SHIPPED) if own is None else _merged(_mapping(SHIPPED), _mapping(own))
    try:
        policy = Policy.model_validate(data)
    except ValidationError as bad:
        raise BadPolicy(f"{own or SHIPPED}: {_problems(bad)}") from None
    policy._unproven = unproven
    return policy


def _mapping(path: Path) -> dict[str, Any]:
    try:
        given = read_yaml(path)
    except ValueError as bad:
        raise BadPolicy(f"{path}: {bad}") from None
    if not isinstance(given, dict):
        raise BadPolicy(f"{path}: a policy is a mapping, such as `cost: {{USD: 1000}}`")
    return given


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396, JSON Merge Patch."""
    if not isinstance(patch, dict):
        return patch
    kept = target if isinstance(target, dict) else {}
    changed = {name: _merged(kept.get(name), part) for name, part in patch.items() if part is not None}
    return {name: part for name, part in kept.items() if name not in patch} | changed


def _problems(bad: ValidationError) -> str:
    errors = bad.errors(include_url=False, include_context=False)[:3]
    texts = (("`" + ".".join(map(str, error["loc"])) + "`: ") * bool(error["loc"]) + error["msg"] for error in errors)
    return "; ".join(text.replace("Value error, ", "") for text in texts)


def assess(
    policy: Policy,
    action: Action,
    proposal: Proposal,
    personal_data: tuple[str, ...],
    similar: tuple[SimilarCase, ...],
    cases: int,
) -> Assessment:
    """What the policy makes of an action. `proposal`: with its requester as far as that is proven; `personal_data`: kinds that
    were found; `cases`: recorded ones that were searched.

    Each rule gives its reasons against approving the action unseen; the one with the strictest queue decides.
    """
    case = case_of(policy, action, proposal, personal_data, similar, cases)
    against = {name: reasons for name in RULES if name in policy.deciding and (reasons := [*RULES[name](policy, case)])}
    told = {"risk": case.risk, "personal_data": case.personal_data}
    if not against:
        return Assessment(status="auto_approved", rule=ROUTINE, reasons=(), **told)
    decides = max(against, key=lambda name: QUEUES.index(policy.deciding[name]))
    queue = policy.deciding[decides]
    return Assessment(
        status="escalated" if queue == "seniors" else "pending_review",
        rule=decides,
        reasons=tuple(reason for reasons in against.values() for reason in reasons),
        queue=queue,
        role=policy.queues[queue].role,
        quorum=max(policy.queues[queue].quorum, proposal.quorum or 1),
        **told,
    )


def may_decide(policy: Policy, assessment: Assessment, roles: Iterable[str]) -> bool:
    """Whether somebody with these roles may decide it. Nobody may where the policy alone decided."""
    return takes_place(policy, assessment.role, roles)


def takes_place(policy: Policy, role: str, roles: Iterable[str]) -> bool:
    """Whether one of these roles is that role, or may take its place. Of a role that the policy has no line for: itself alone."""
    return bool(role) and any(role in policy.covered(one) for one in roles)


class Times(NamedTuple):
    """From the proposal on. `expire_after` holds for the seniors too: that they are asked gives no further time."""

    escalate_after: timedelta | None
    expire_after: timedelta


def times(policy: Policy, queue: QueueName, seconds: float | None = None) -> Times:
    """When a queue's action goes to the seniors, and when it is refused. A shorter time of whoever proposes it shortens both
    alike; a longer one puts off the refusal alone."""
    own = policy.queues[queue]
    expire = own.expire_after if seconds is None else seconds
    escalate = None if own.escalate_after is None else own.escalate_after * min(1.0, expire / own.expire_after)
    return Times(None if escalate is None else timedelta(seconds=escalate), timedelta(seconds=expire))
