"""Decides how a request is answered: by a rule, by a plan, or with a refusal. A model is used only where no rule decides.

Receives   requests; cancellations; dead letters about requests.
Publishes  how each request is answered, and why; then a rule's answer, a plan to run, or a refusal; to the planner, that the
           deadline of a workflow which it handed over has passed.
Never      matches free text to a typed handler, calls a model, or gives the result of a workflow that it has handed over.
"""
