from contracts.router.messages import CancelNoted, ExpiryPostponed, MoveDeadline, RequestRouted
from hansard.topics import Topic

TOPICS = (
    Topic("router.commands", "Deadlines that have moved.", (MoveDeadline,), ("planner",), ("router",)),
    Topic(
        "router.events",
        "How each request is answered, and why.",
        (RequestRouted, ExpiryPostponed, CancelNoted),
        ("router",),
        ("console",),
    ),
)
