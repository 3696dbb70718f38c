"""What the specs of the verifier share: claims, and the checks that they fail."""

from typing import Any

from contracts.verifier import CheckClaim, ClaimRejected, Passage
from services.verifier.decider import verifier
from tests.decisions import decided

GIVEN = (Passage(source="rain.md", text="Rain falls."), Passage(source="sun.md", text="Sun shines."))
CALL = "verifier/draft.1/1"


def claim(text: str, question: str = "Tell me about rain.", **more: Any) -> CheckClaim:
    return CheckClaim(check="draft.1", question=question, claim=text, **more)


def failing(asked: CheckClaim) -> tuple[str, ...]:
    (message,) = decided(verifier, [], asked)
    return message.failed if isinstance(message, ClaimRejected) else ()
