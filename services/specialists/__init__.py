"""Does one task in a role: asks a model, and answers the task with the confidence and sources of the reply.

Receives   tasks; their cancellations; how a model call ended.
Publishes  one model call per task; then that the task is answered, failed or cancelled.
Never      answers a task twice, answers with a text where the task promises data, makes up a confidence, or names a source that
           neither the reply nor its text names.
"""
