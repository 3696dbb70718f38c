"""What runs: the decider with its roles."""

from typing import Any

from contracts.gateway import ModelFailed, ModelReplied
from contracts.specialists import CancelTask, PerformTask
from hansard.identity import mine
from services.specialists.decider import TaskState, specialists
from services.specialists.role import LARGE, SHIPPED, SMALL, load, of_data, to_data
from shared.policy import Basis, version_of
from shared.service import Service
from shared.settings import Settings

VERSION = "2"  # of what the code decides: raise it with any change of what is said


def build(settings: Settings) -> Service[TaskState]:
    """A user's role wins over ours of the same name; where no model was named, prompts fit the small one.

    Raises BadRole; OSError where the folder of further roles is not there.
    """
    fitting = LARGE if settings.model_url or settings.gateway else SMALL
    found = load(SHIPPED) | (load(settings.roles) if settings.roles else {})
    roles = {name: role.model_copy(update={"context": role.context or fitting}) for name, role in found.items()}
    data = to_data(roles)

    def asked(message: Any) -> str | None:
        return message.task if message.service == "specialists" else None

    def replied(message: Any) -> str | None:
        return mine("specialists", message.call)

    return Service(
        name="specialists",
        decider=specialists(roles, version_of(VERSION, data)),
        receives={PerformTask: asked, CancelTask: asked, ModelReplied: replied, ModelFailed: replied},
        basis=Basis(data, lambda version, data: specialists(of_data(data), version)),
    )
