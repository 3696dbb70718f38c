"""The planner as a service: its decider with the workers that the settings name."""

from pydantic import JsonValue

from contracts.approval import ActionApproved, ActionRejected, MoreAsked, QuestionAnswered, QuestionExpired
from contracts.catalog import SERVICES, Topics
from contracts.control import CancelWorkflow, SignalWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.plans import WAIT
from contracts.specialists import PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import ClaimPassed, ClaimRejected
from hansard.policy import StoredPolicy, version_of
from hansard.service import Service
from services.planner.decider import planner, set_aside
from services.planner.state import WorkflowState
from shared.roles import catalogue
from shared.settings import Settings

VERSION = "6"  # of what the code decides: raise it whenever the same messages would lead to other ones


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
            ActionApproved: of_workflow,
            ActionRejected: of_workflow,
            MoreAsked: of_workflow,
            QuestionAnswered: of_workflow,
            QuestionExpired: of_workflow,
            CancelWorkflow: of_workflow,
            SignalWorkflow: of_workflow,
            DeadLettered: lambda dead: None if dead.door or dead.reason == "not-on-the-record" else "",
        },
        stored_policy=StoredPolicy(data, lambda version, data: planner(data, version)),
        set_aside=set_aside,
    )


def workers_of(settings: Settings) -> dict[str, str]:
    """The service that takes a worker's tasks, by the worker's name. Workers are the roles and the user's own services."""
    workers = dict.fromkeys(catalogue(settings.roles), "specialists")
    if WAIT in workers:
        raise BadWorker(f"HANSARD_ROLES: no role may be named {WAIT!r}: that is the planner's own worker, which waits")
    for name in (name for name in SERVICES if name != "specialists" and takes_tasks(name)):
        if name in workers:
            raise BadWorker(f"HANSARD_ROLES: no role may be named {name!r}: that is a service of ours")
        workers[name] = name
    for name in (*settings.workers, *settings.outside_workers):
        if name in workers or name in SERVICES or name == WAIT:
            raise BadWorker(f"HANSARD_WORKERS: {name!r} is the name of a {'role' if name in workers else 'service of ours'}")
        workers[name] = name
    return workers


def takes_tasks(service: str) -> bool:
    """By the catalogue: whether it receives tasks on its topic of commands."""
    topic = Topics().by_name.get(f"{service}.commands")
    return topic is not None and PerformTask in topic.kinds
