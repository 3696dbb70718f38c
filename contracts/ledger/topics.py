from contracts.ledger.messages import EntryPosted, PostingFailed, PostingStarted
from hansard.tasks import task_topics

TOPICS = task_topics("ledger", facts=(PostingStarted, PostingFailed, EntryPosted))
