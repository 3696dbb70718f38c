from contracts.verifier.messages import CheckClaim, ClaimPassed, ClaimRejected
from hansard.topics import Topic

TOPICS = (
    Topic("verifier.commands", "Claims to check.", (CheckClaim,), ("planner",), ("verifier",)),
    Topic("verifier.events", "Verdicts, with reasons.", (ClaimPassed, ClaimRejected), ("verifier",), ("planner", "console")),
)
