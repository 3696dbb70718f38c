"""What runs."""

from typing import Any

from contracts.gateway import ModelFailed, ModelReplied
from contracts.verifier import CheckClaim
from hansard.identity import mine
from services.verifier.decider import ClaimState, verifier
from shared.service import Service
from shared.settings import Settings


def build(_: Settings) -> Service[ClaimState]:
    def replied(message: Any) -> str | None:
        return mine("verifier", message.call)

    return Service(
        name="verifier",
        decider=verifier,
        receives={CheckClaim: lambda asked: asked.check, ModelReplied: replied, ModelFailed: replied},
    )
