"""What runs."""

from typing import Any

from contracts.gateway import ModelFailed, ModelReplied
from contracts.verifier import CheckClaim
from services.verifier.decider import Case, verifier
from shared.service import Service, mine
from shared.settings import Settings


def build(_: Settings) -> Service[Case]:
    def replied(message: Any) -> str | None:
        return mine("verifier", message.call)

    return Service(
        name="verifier",
        decider=verifier,
        hears={CheckClaim: lambda asked: asked.check, ModelReplied: replied, ModelFailed: replied},
    )
