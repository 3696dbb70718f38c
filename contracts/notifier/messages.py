"""Who must decide is told: notifications for everybody's programs, and webhooks to the addresses of a deployment."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.approval import Requester
from hansard.actions import Action, Amount, Currency
from hansard.message import Command, Event, Intent, Json, Name, Path, Value
from hansard.values import Whole

NotifiedOf = Literal[
    "decision-needed",
    "escalated",
    "delegated",
    "edited",
    "more-given",
    "question-asked",
    "approved",
    "rejected",
    "question-answered",
    "question-expired",
]


class Notification(Event):
    """What became of an action or a question, for people: enough to know who must decide what, and until when.

    Never the action's arguments: whoever may decide reads them by its hash.
    """

    kind = "hansard.notifier.notification.v1"
    number: int = Field(ge=1, description="numbers the notifications of this action, or question")
    event: NotifiedOf
    action_id: Path
    sha256: str = Field(default="", description="of the action's bytes, hex; of a question: empty")
    about: str = Field(default="", description="the action in words, or the question")
    tool: str = ""
    amount: Amount | None = None
    currency: Currency = "USD"
    recipient: str = ""
    queue: str = ""
    role: str = Field(default="", description="the role that may decide")
    person: str = Field(default="", description="who decides now, where it was delegated")
    risk: str = ""
    reasons: tuple[str, ...] = ()
    status: str = ""
    by: tuple[str, ...] = ()
    requester: Requester | None = Field(
        default=None, exclude_if=lambda requester: requester is None, description="who wants it, as far as that is proven"
    )
    escalates_at: AwareDatetime | None = Field(default=None, description="when it goes to the seniors, if nobody decided")
    deadline: AwareDatetime | None = Field(default=None, description="when it is refused, if nobody decided")


class ActionNoted(Event):
    """What later notifications of this action need. Its arguments are kept only where an endpoint asks for them."""

    kind = "hansard.notifier.action-noted.v1"
    action_id: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    action: Action


class DeliverWebhook(Command):
    """Delivers this to an endpoint of the deployment's configuration, once: whoever may publish it names the delivery."""

    kind = "hansard.notifier.deliver-webhook.v1"
    delivery: Path = Field(description="unique in its workflow; the webhook's id is made of it")
    endpoint: Name
    type: str = Field(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$", max_length=128, description="of the payload: approval.escalated")
    at: AwareDatetime = Field(description="of the payload: when that happened")
    data: Json = Field(default=None, description="of the payload")
    data_ref: Whole = None


class DeliveryAccepted(Event):
    """The delivery as it was ordered. It waits until a process has a slot for an attempt."""

    kind = "hansard.notifier.delivery-accepted.v1"
    request: DeliverWebhook
    at: AwareDatetime
    until: AwareDatetime = Field(description="it is given up then")


class DeliveryStarted(Intent):
    """One attempt. Its key is the webhook's id, the same for all attempts: the receiver knows a repetition by it."""

    kind = "hansard.notifier.delivery-started.v1"
    delivery: Path
    endpoint: Name = Field(description="as the configuration names it; never its address or secret")
    until: AwareDatetime = Field(description="the delivery is given up then")
    request: DeliverWebhook | None = Field(
        default=None,
        exclude_if=lambda request: request is None,
        description="the delivery as it was ordered, where this is the first message of its stream",
    )


MissedBecause = Literal[
    "status",  # an answer, and no 2xx
    "redirect",  # not followed: what is signed for one address goes to no other
    "timeout",
    "connection",
    "busy",  # this process makes as many attempts at the endpoint as it may: none was made
    "lost",  # whoever made it fell silent
    "internal",
]


class Missed(Value):
    """An attempt that delivered nothing, as far as is known."""

    attempt: int = Field(ge=1)
    reason: MissedBecause
    status: int = Field(default=0, description="of the answer; 0 where there was none")
    detail: str = ""


class DeliveryMissed(Event, Missed):
    kind = "hansard.notifier.delivery-missed.v1"
    delivery: Path
    endpoint: Name
    resume_at: AwareDatetime


class WebhookDelivered(Event):
    kind = "hansard.notifier.webhook-delivered.v1"
    once = "stream"
    delivery: Path
    endpoint: Name
    attempt: int = Field(ge=1)
    status: int
    latency_ms: float = Field(ge=0)


class DeliveryFailed(Event):
    kind = "hansard.notifier.delivery-failed.v1"
    once = "stream"
    delivery: Path
    endpoint: str
    because: Literal["gone", "given-up", "unknown-endpoint", "content-missing"]
    attempts: int = Field(ge=0)
    detail: str = ""
