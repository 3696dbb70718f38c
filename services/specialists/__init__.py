"""One task, under a role: ask a model, hand back its answer with confidence and sources.

Hears  tasks, tasks called off, and what a model replied.
Says   a model call, then that the task is answered, failed or cancelled.
Never  answers twice, makes up a confidence, or claims a source that the text does not cite.
"""
