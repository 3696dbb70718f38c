"""The verifier as a service. It decides by code alone and takes no settings."""

from contracts.gateway import ModelFailed, ModelReplied
from contracts.verifier import CheckClaim
from hansard.identity import mine
from hansard.service import Service
from services.verifier.decider import CheckState, verifier
from shared.settings import Settings


def build(_: Settings) -> Service[CheckState]:
    def caller_of(message: ModelReplied | ModelFailed) -> str | None:
        return mine("verifier", message.call)

    def check_of(message: CheckClaim) -> str:
        return message.check

    return Service(
        name="verifier",
        decider=verifier,
        receives={CheckClaim: check_of, ModelReplied: caller_of, ModelFailed: caller_of},
    )
