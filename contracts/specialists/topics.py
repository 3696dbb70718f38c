from hansard.tasks import task_topics

TOPICS = task_topics("specialists")
