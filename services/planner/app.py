"""The planner as a service: its decider with the workers that the settings name."""

from pydantic import JsonValue

from contracts.catalog import SERVICES
from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.specialists import TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import ClaimPassed, ClaimRejected
from hansard.policy import StoredPolicy, version_of
from hansard.service import Service
from services.planner.decider import planner, set_aside
from services.planner.state import WorkflowState
from shared.roles import catalogue
from shared.settings import Settings

VERSION = "5"  # of what the code decides: raise it whenever the same messages would lead to other ones


class BadWorker(ValueError):
    """A name in HANSARD_WORKERS that no worker can have. The text says why."""


def build(settings: Settings) -> Service[WorkflowState]:
    """Raises BadRole, BadWorker; OSError where the folder of roles is missing."""
    workers = workers_of(settings)
    data: JsonValue = dict(workers)

    def of_workflow(_: object) -> str:
        return ""

    return Service(
        name="planner",
        decider=planner(workers, version_of(VERSION, data)),
        receives={
            RunPlan: of_workflow,
            ExpireWorkflow: of_workflow,
            TaskAnswered: of_workflow,
            TaskFailed: of_workflow,
            TaskCancelled: of_workflow,
            ClaimPassed: of_workflow,
            ClaimRejected: of_workflow,
            CancelWorkflow: of_workflow,
            DeadLettered: lambda dead: None if dead.door else "",
        },
        stored_policy=StoredPolicy(data, lambda version, data: planner(data, version)),
        set_aside=set_aside,
    )


def workers_of(settings: Settings) -> dict[str, str]:
    """The service that takes a worker's tasks, by the worker's name. Workers are the roles and the user's own services."""
    workers = dict.fromkeys(catalogue(settings.roles), "specialists")
    for name in (*settings.workers, *settings.outside_workers):
        if name in workers or name in SERVICES:
            raise BadWorker(f"HANSARD_WORKERS: {name!r} is the name of a {'role' if name in workers else 'service of ours'}")
        workers[name] = name
    return workers
