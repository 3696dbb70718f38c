from contracts.requests.messages import SubmitRequest
from hansard.topics import Topic

TOPICS = (Topic("requests", "Publish requests here.", (SubmitRequest,), consumers=("router",), door=True),)
