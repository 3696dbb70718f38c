from contracts.gateway.messages import (
    AttemptFailed,
    AttemptStarted,
    CallAccepted,
    CallCancelled,
    CallModel,
    CancelCall,
    CircuitClosed,
    CircuitOpened,
    ModelFailed,
    ModelReplied,
    ProbeGranted,
    RejectReply,
    ReplyDiscarded,
    ReplyRejected,
    RetriesGranted,
    TokensStreamed,
)
from hansard.topics import Topic

TOPICS = (
    Topic(
        "gateway.commands",
        "Model calls to make, and replies that were rejected.",
        (CallModel, CancelCall, RejectReply),
        ("specialists", "verifier"),
        ("gateway",),
    ),
    Topic(
        "gateway.events",
        "The course of every model call: intents, outcomes, costs; circuits and retry budgets. For watching: no service waits"
        " for it.",
        (
            CallAccepted,
            AttemptStarted,
            AttemptFailed,
            CallCancelled,
            ReplyDiscarded,
            ReplyRejected,
            CircuitOpened,
            ProbeGranted,
            CircuitClosed,
            RetriesGranted,
        ),
        ("gateway",),
        ("console",),
    ),
    Topic(
        "gateway.replies",
        "How every model call ended, for the service that asked.",
        (ModelReplied, ModelFailed),
        ("gateway",),
        ("specialists", "verifier", "console"),
    ),
    Topic(
        "tokens",
        "Answers while they are being written: for watching, deleted after minutes, never recorded.",
        (TokensStreamed,),
        ("gateway",),
        ("console",),
        retention_ms=10 * 60_000,
    ),
)
