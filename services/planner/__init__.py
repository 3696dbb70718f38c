"""Runs plans. Only this service knows a plan's graph: which step may start, is active, has passed, is retried or skipped.

Receives   plans to run; how tasks ended; verdicts; deadlines; cancellations; its own wake-ups; dead letters.
Publishes  what happens to every step; tasks; claims to check; one result for each workflow that the router handed over.
Never      starts a step before all steps that it needs have passed, or gives a second result.

When a step fails, all steps that need it, directly or not, are skipped; the others finish. Then the workflow fails, and its
result names what the other steps achieved. The failure of an optional step does not fail the workflow: the result is then made
from the answers that there are.
"""
