"""Actions that need a decision, the people who decide, and what they decided."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.people import Person, PersonKey
from hansard.actions import Amount, Currency
from hansard.message import Command, Confidence, Event, Intent, Json, Name, Path, Value
from hansard.values import Whole

Risk = Literal["low", "medium", "high", "critical"]
Gate = Literal["always", "policy"]
Decided = Literal["approve", "reject", "edit", "ask", "delegate", "answer"]
Proof = Literal["signature", "oidc", "principal", "unproven"]
Sha256 = Field(pattern=r"^[0-9a-f]{64}$", description="of the action's bytes, hex")


def _absent(value: object) -> bool:
    return value is None or value == ""


def _none(value: object) -> bool:
    return value == ()


class Requester(Value):
    """Who wants it, and how that was proven. In a plan or a proposal `proof` is a claim: `ActionAssessed` has what holds."""

    name: str = Field(default="", max_length=512)
    proof: Proof = "unproven"
    key: str = Field(default="", description="the key that signed, the token's issuer and subject, or the principal's topic")
    sha256: str = Field(default="", exclude_if=_absent, description="of the signed request: see hansard.reviews.request_sha256")
    signature: str = Field(default="", exclude_if=_absent, description="base64, over hansard.reviews.requester_statement")
    why: str = Field(default="", exclude_if=_absent, description="of what is unproven: what is missing or wrong")


class Option(Value):
    """One of several views that contradict each other: they are put before the person."""

    source: str = Field(max_length=512)
    view: str = Field(max_length=4_000)
    confidence: Confidence | None = None


class SimilarCase(Value):
    """An earlier decision about a like action."""

    workflow: str
    action: Path
    about: str
    status: str
    by: tuple[str, ...] = ()
    similarity: Confidence


# Commands


class Proposal(Value):
    """An action as it was proposed."""

    action_id: Path = Field(description="unique in its workflow; of a plan's step: the name of its task, `pay.1`")
    action: str = Field(description="the exact bytes that are to be approved, as text: see hansard.actions")
    action_ref: Whole = None
    sha256: str = Sha256
    gate: Gate = "policy"
    reasons: tuple[str, ...] = Field(default=(), description="why it is proposed, and what it rests on")
    confidence: Confidence | None = None
    cost: Amount | None = Field(default=None, description="what the action is estimated to cost; absent: its amount")
    currency: Currency = "USD"
    personal_data: bool = Field(default=False, description="as whoever proposes it declares; the policy looks for itself, too")
    domain: str = Field(default="", max_length=64, description="a sensitive domain, as `medical`")
    options: tuple[Option, ...] = Field(default=(), description="views that contradict each other")
    requester: Requester = Requester()
    proposer: Name = Field(description="the service that proposes it, and goes on by the decision")
    quorum: int | None = Field(default=None, ge=1, le=10, description="how many people must approve; absent: as the policy says")
    seconds: float | None = Field(default=None, gt=0, le=366 * 86400, description="until it expires; absent: as the policy says")


class ProposeAction(Command, Proposal):
    kind = "hansard.approval.propose.v1"
    stored_whole = ("action",)


class WithdrawAction(Command):
    """The action, or question, is no longer needed: its workflow ended."""

    kind = "hansard.approval.withdraw.v1"
    action_id: Path
    reason: str = ""


class GiveMore(Command):
    """The workflow's answer to a reviewer who asked for more."""

    kind = "hansard.approval.give-more.v1"
    action_id: Path
    question: int = Field(ge=1, description="the number of the question, from 1 on")
    answer: str
    answer_ref: Whole = None


class AskPerson(Command):
    """A question to a person, with no action behind it: whoever has the role answers it once."""

    kind = "hansard.approval.ask.v1"
    action_id: Path
    question: str
    question_ref: Whole = None
    role: Name = "reviewer"
    choices: tuple[str, ...] = Field(default=(), description="the only answers that count; empty: any")
    proposer: Name
    requester: Requester = Requester()
    seconds: float | None = Field(default=None, gt=0, le=366 * 86400)


# What people send to the door


class ReviewAction(Command):
    """A person's decision about exactly the action that was shown, named by its hash.

    `signature`: of the reviewer's Ed25519 key, over the statement that `hansard.reviews.statement` makes of all other fields,
    the tenant and the workflow.
    """

    kind = "hansard.approval.review.v1"
    review: str = Field(min_length=8, max_length=128, pattern=r"^[A-Za-z0-9_.-]+$", description="random, used once")
    action_id: Path
    sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="of the bytes that were shown; of a question: empty"
    )
    expires_at: str = Field(
        default="",
        max_length=64,
        description="as the proposal, or the question, states it to the letter: what waits elsewhere under the same names and "
        "bytes states another time",
    )
    decision: Decided
    reviewer: str = Field(min_length=1, max_length=256)
    notes: str = Field(default="", max_length=10_000)
    edited: str | None = Field(default=None, max_length=64 * 1024, description="edit: the action as it is approved, as JSON")
    question: str = Field(default="", max_length=10_000, description="ask: what the workflow is to say")
    to: str = Field(default="", max_length=256, description="delegate: the person who decides in the reviewer's place")
    answer: Json = Field(default=None, description="answer: the answer to a question")
    key: str = Field(default="", max_length=128, description="the id of the key that signed")
    signature: str = Field(default="", max_length=512, description="base64")


# What the HTTP door gives


class ReviewByIdentity(Command):
    """A review whose sender showed a token of the deployment's OpenID provider, as the HTTP door verified it."""

    kind = "hansard.approval.review-by-identity.v1"
    review: ReviewAction
    identity: str = Field(min_length=1, max_length=2048, description="the token's issuer and subject, with a blank between them")


# Events


class ActionProposed(Event, Proposal):
    """The proposal as it is on record. What the policy makes of it follows."""

    kind = "hansard.approval.proposed.v1"
    stored_whole = ("action",)
    expires_at: AwareDatetime = Field(description="when it is refused, if nobody decided")


class LookupStarted(Intent):
    """Reads of the record what a decision needs: similar cases, or the registrations of people. Reading is safe to repeat."""

    kind = "hansard.approval.lookup-started.v1"
    similar_to: str = Field(default="", description="the words to find similar cases for")
    people: tuple[str, ...] = ()


class Assessment(Value):
    """What the policy makes of an action."""

    status: Literal["auto_approved", "pending_review", "escalated"]
    risk: Risk
    rule: str = Field(description="the rule of the policy that decided")
    reasons: tuple[str, ...] = Field(description="every rule that stood against approving it unseen, in words")
    personal_data: tuple[str, ...] = Field(
        default=(), description="kinds of personal data that were declared or found; never the data"
    )
    queue: Literal["", "reviewers", "seniors", "specialists"] = ""
    role: str = Field(default="", description="the role that may decide; empty where nobody has to")
    quorum: int = 1


class ActionAssessed(Event, Assessment):
    kind = "hansard.approval.assessed.v1"
    action_id: Path
    sha256: str = Sha256
    similar: tuple[SimilarCase, ...] = ()
    cases: int = Field(default=0, ge=0, description="recorded cases that were searched")
    escalates_at: AwareDatetime | None = Field(default=None, description="when it goes to the seniors, if nobody decided")
    expires_at: AwareDatetime | None = Field(default=None, description="when it is refused, if nobody decided")
    policy: str
    requester: Requester | None = Field(default=None, exclude_if=_absent, description="who wants it, as far as that is proven")


class Decision(Value):
    """What was decided about an action."""

    action_id: Path
    sha256: str = Sha256
    by: tuple[str, ...] = Field(default=(), description="who decided; empty: the policy alone, or nobody in time")
    notes: str = ""
    policy: str
    rule: str = ""


class ActionApproved(Event, Decision):
    """`sha256` and `action` are what may run: where it was edited, not what was proposed."""

    kind = "hansard.approval.approved.v1"
    stored_whole = ("action",)
    once = "stream"
    status: Literal["auto_approved", "human_approved"]
    action: str
    action_ref: Whole = None
    proposed: str = Field(default="", description="where it was edited: the hash that was proposed")


class ActionRejected(Event, Decision):
    kind = "hansard.approval.rejected.v1"
    once = "stream"
    because: Literal["reviewed", "expired", "withdrawn", "invalid"] = Field(
        description="invalid: the proposal's bytes are no action, or not those of its hash"
    )
    status: Literal["human_rejected", "expired", "withdrawn", "invalid"] = Field(
        description="a person rejected it, or nobody did"
    )


class ActionEscalated(Event):
    """Nobody decided in time, or whoever may: it is the seniors' now."""

    kind = "hansard.approval.escalated.v1"
    action_id: Path
    because: str
    role: str
    expires_at: AwareDatetime


class ActionEdited(Event):
    """A reviewer changed it: these bytes wait now, and whoever approved others approved nothing."""

    kind = "hansard.approval.edited.v1"
    stored_whole = ("action",)
    action_id: Path
    sha256: str = Sha256
    action: str
    action_ref: Whole = None
    proposed: str = Field(pattern=r"^[0-9a-f]{64}$", description="the hash that was proposed")
    by: str


class ReviewReceived(Event):
    """A review that waits until its sender's registration is read. Nothing is proven yet."""

    kind = "hansard.approval.review-received.v1"
    action_id: Path
    number: int = Field(ge=1, description="of the reviews of this action that waited, from 1 on")
    review: ReviewAction
    topic: str = Field(default="", description="on which it was received")
    identity: str = Field(default="", description="that the HTTP door proved; empty: it came another way")


class ReviewAccepted(Event):
    """A review that counts, as it came, with how its sender was proven."""

    kind = "hansard.approval.review-accepted.v1"
    action_id: Path
    number: int = Field(ge=1)
    review: ReviewAction
    reviewer: str = Field(description="the name as registered, whose spelling may be another one than the review's")
    proof: Proof
    registration: int = Field(ge=1, description="which of the reviewer's registrations was read, from 1 on")
    roles: tuple[str, ...] = Field(default=(), description="the reviewer's, as registered then")
    approvals: tuple[str, ...] = Field(default=(), description="who has approved these bytes so far")


RefusedBecause = Literal[
    "unknown-action",
    "not-open",  # decided, expired or withdrawn
    "other-bytes",  # the hash is not that of the action which waits
    "other-proposal",  # `expires_at` is not that of the proposal, or question, which waits: it is of another deployment
    "used",  # this review was sent before
    "unproven",  # nothing proves who sent it
    "unknown-person",
    "revoked",  # the person was removed, or the key is no longer registered
    "bad-signature",
    "own-request",
    "delegated",  # this person gave the decision to another
    "wrong-role",
    "too-many",  # more reviews wait than are looked at together: it may be sent again
    "decided-already",  # this person has approved these bytes already
    "invalid",  # an edit that is no action, a question without words, …
]


class ReviewRefused(Event):
    kind = "hansard.approval.review-refused.v1"
    action_id: Path
    number: int = Field(default=0, ge=0, description="of a review that waited; 0: it was refused at once")
    review: str
    reviewer: str = Field(description="as claimed")
    decision: str
    reason: RefusedBecause
    detail: str = ""
    keys: tuple[PersonKey, ...] = Field(
        default=(),
        exclude_if=_none,
        description="where a signature was bad: the keys of whom it names, by which others of them are refused at once",
    )


class MoreAsked(Event):
    kind = "hansard.approval.more-asked.v1"
    action_id: Path
    question: int = Field(ge=1)
    text: str
    by: str
    at: AwareDatetime
    expires_at: AwareDatetime = Field(description="when it is refused, if no answer comes")


class MoreGiven(Event):
    kind = "hansard.approval.more-given.v1"
    action_id: Path
    question: int = Field(ge=1)
    answer: str
    answer_ref: Whole = None
    escalates_at: AwareDatetime | None = Field(default=None, description="later by what the answer took")
    expires_at: AwareDatetime = Field(description="later by what the answer took")


class ReviewDelegated(Event):
    kind = "hansard.approval.delegated.v1"
    action_id: Path
    by: str
    to: str


class QuestionAsked(Event):
    kind = "hansard.approval.question-asked.v1"
    action_id: Path
    question: str
    question_ref: Whole = None
    role: str
    choices: tuple[str, ...] = ()
    requester: Requester = Requester()
    proposer: Name
    expires_at: AwareDatetime
    policy: str


def stated_expiry(asked: ActionProposed | QuestionAsked) -> str:
    """`expires_at` as its JSON has it: what a review of it states."""
    text: str = asked.model_dump(mode="json", include={"expires_at"})["expires_at"]
    return text


class QuestionAnswered(Event):
    kind = "hansard.approval.question-answered.v1"
    once = "stream"
    action_id: Path
    answer: Json
    by: str
    notes: str = ""


class QuestionExpired(Event):
    kind = "hansard.approval.question-expired.v1"
    once = "stream"
    action_id: Path
    because: Literal["expired", "withdrawn"]


class PersonRegistered(Event, Person):
    """The whole registration: a later one takes its place. Keys that it no longer names are revoked."""

    kind = "hansard.approval.person-registered.v1"
    by: str = Field(description="who registered it, as stated")


class PersonRemoved(Event):
    kind = "hansard.approval.person-removed.v1"
    name: str
    by: str
