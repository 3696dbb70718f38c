"""What runs: the decider with its roles."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from contracts.gateway import ModelFailed, ModelReplied
from contracts.specialists import CancelTask, PerformTask
from services.specialists.decider import Case, specialists
from services.specialists.role import LARGE, SHIPPED, SMALL, Role, load
from shared.service import Service, mine
from shared.settings import Settings

VERSION = "1"  # of what the code decides: raise it with any change of what is said


def build(settings: Settings) -> Service[Case]:
    """A user's role wins over ours of the same name; where no model was named, prompts fit the small one.

    Raises BadRole; OSError where the folder of further roles is not there.
    """
    fitting = LARGE if settings.model_url or settings.gateway else SMALL
    found = load(SHIPPED) | (load(settings.roles) if settings.roles else {})
    roles = {name: role.model_copy(update={"context": role.context or fitting}) for name, role in found.items()}

    def asked(message: Any) -> str | None:
        return message.task if message.service == "specialists" else None

    def replied(message: Any) -> str | None:
        return mine("specialists", message.call)

    return Service(
        name="specialists",
        decider=specialists(roles, version(roles)),
        hears={PerformTask: asked, CancelTask: asked, ModelReplied: replied, ModelFailed: replied},
    )


def version(roles: Mapping[str, Role]) -> str:
    """The code's version, and a hash of every role."""
    data = {name: role.model_dump(mode="json") for name, role in roles.items()}
    return f"{VERSION}-{hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]}"
