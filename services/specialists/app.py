"""The specialists as a service: their decider with the roles of the catalogue."""

from contracts.gateway import ModelFailed, ModelReplied
from contracts.specialists import CancelTask, PerformTask
from hansard.identity import mine
from hansard.policy import StoredPolicy, version_of
from hansard.service import Service
from services.specialists.decider import TaskState, specialists
from services.specialists.prompts import LARGE, SMALL
from shared.roles import catalogue, from_data, to_data
from shared.settings import Settings

VERSION = "3"  # of what the code decides: raise it whenever the same task would lead to another message


def build(settings: Settings) -> Service[TaskState]:
    """Where the settings name no model or a small one, prompts fit that. Raises BadRole; OSError where the folder is missing."""
    named = settings.model_url or settings.gateway
    fitting = LARGE if named and not settings.small_model else SMALL
    roles = {
        name: role.model_copy(update={"context": role.context or fitting}) for name, role in catalogue(settings.roles).items()
    }
    data = to_data(roles)

    def task_of(message: PerformTask | CancelTask) -> str | None:
        return message.task if message.service == "specialists" else None

    def caller_of(message: ModelReplied | ModelFailed) -> str | None:
        return mine("specialists", message.call)

    return Service(
        name="specialists",
        decider=specialists(roles, version_of(VERSION, data)),
        receives={PerformTask: task_of, CancelTask: task_of, ModelReplied: caller_of, ModelFailed: caller_of},
        stored_policy=StoredPolicy(data, lambda version, data: specialists(from_data(data), version)),
    )
