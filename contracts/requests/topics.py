from contracts.requests.messages import SubmitRequest
from contracts.topic import Topic

TOPICS = (Topic("requests", "Publish requests here.", (SubmitRequest,), consumers=("router",), door=True),)
