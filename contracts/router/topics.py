from contracts.router.messages import CancelNoted, RequestRouted
from contracts.topic import Topic

TOPICS = (
    Topic("router.events", "How each request is answered, and why.", (RequestRouted, CancelNoted), ("router",), ("console",)),
)
