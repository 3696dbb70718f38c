"""What runs: the decider with the workers that it knows."""

from typing import Any

from pydantic import JsonValue

from contracts.catalog import SERVICES
from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.specialists import TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import ClaimPassed, ClaimRejected
from services.planner.decider import planner
from services.planner.state import PlanState
from shared.policy import Basis, version_of
from shared.service import Service
from shared.settings import Settings

VERSION = "3"  # of what the code decides: raise it with any change of what is said
ROLES = ("research", "analyst", "writer", "coder")  # shipped with the specialists


class BadWorker(ValueError):
    """A worker of the settings that cannot be one. The text says why."""


def build(settings: Settings) -> Service[PlanState]:
    """Raises BadWorker; OSError where the folder of further roles is not there."""
    workers = workers_of(settings)
    data: JsonValue = dict(workers)

    def here(_: Any) -> str:
        return ""

    return Service(
        name="planner",
        decider=planner(workers, version_of(VERSION, data)),
        receives={
            RunPlan: here,
            ExpireWorkflow: here,
            TaskAnswered: here,
            TaskFailed: here,
            TaskCancelled: here,
            ClaimPassed: here,
            ClaimRejected: here,
            CancelWorkflow: here,
            DeadLettered: lambda dead: None if dead.door else "",
        },
        basis=Basis(data, lambda of_then, data: planner(data, of_then)),
    )


def workers_of(settings: Settings) -> dict[str, str]:
    """Who takes tasks, and in which service: roles (ours, and a file each in the user's folder), and services of the user's."""
    added = sorted(file.stem for file in settings.roles.iterdir() if file.suffix in (".yaml", ".yml")) if settings.roles else []
    workers = dict.fromkeys((*ROLES, *added), "specialists")
    for name in (*settings.workers, *settings.outside_workers):
        if name in workers or name in SERVICES:
            raise BadWorker(f"HANSARD_WORKERS: {name!r} is the name of a {'role' if name in workers else 'service of ours'}")
        workers[name] = name
    return workers
