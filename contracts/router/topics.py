from contracts.router.messages import CancelNoted, RequestRouted
from hansard.topics import Topic

TOPICS = (
    Topic("router.events", "How each request is answered, and why.", (RequestRouted, CancelNoted), ("router",), ("console",)),
)
