"""The only service that knows the graph: which step may run, is running, passed, is tried again, skipped, undone.

Hears  plans to run, what became of tasks, verdicts, deadlines, cancels, its own wake-ups, and that a message could not be heard.
Says   the course of every step, tasks, claims to check, and the one result of each workflow that it was handed.
Never  starts a step before all that it needs has passed, or says a second result.

A step that fails stops what needs it, however far down; branches that do not need it finish. Then the workflow fails
with what was achieved, unless the step was optional: then the answers that are left are the result.
"""
