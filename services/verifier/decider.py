"""One stream a check: by code at once; where a judge is asked, its reply settles it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from contracts.gateway import CallModel, ModelFailed, ModelReplied, RejectReply
from contracts.verifier import CheckClaim, ClaimPassed, ClaimRejected
from hansard.decider import Context, Decider
from hansard.identity import call_id, mine
from hansard.message import Message
from services.verifier import judge
from services.verifier.checks import applying

VERSION = "1"  # of the checks and the judge's prompt: raise it with any change of either
BY_CODE = "code"
UNJUDGED = "no-judge"
UNLEARNED = judge.NO_JUDGE | {"cache"}  # tiers whose answers the gateway does not keep for use


@dataclass(frozen=True, slots=True)
class Unasked: ...


@dataclass(frozen=True, slots=True)
class Judging:
    """The checks by code have passed. `claimed` is the call that gave the claim, where the gateway learns from it."""

    call: str
    claimed: str | None

    @property
    def check(self) -> str:
        return mine("verifier", self.call) or ""


@dataclass(frozen=True, slots=True)
class Settled: ...


ClaimState = Unasked | Judging | Settled


def decide(state: ClaimState, message: Message, context: Context) -> Iterable[Message]:
    match state:
        case Unasked():
            if isinstance(message, CheckClaim):
                yield from checked(message, context)

        case Judging(call):
            match message:
                case ModelReplied() if message.call == call:
                    yield from judged(state, message)
                case ModelFailed() if message.call == call:
                    yield ClaimPassed(check=state.check, by=(BY_CODE, UNJUDGED), cost=message.cost, policy=VERSION)
                case _:
                    pass

        case Settled():
            pass

        case _:
            assert_never(state)


def evolve(state: ClaimState, message: Message) -> ClaimState:
    match message:
        case CallModel(call=call, judges=claimed):
            return Judging(call, claimed)
        case ClaimPassed() | ClaimRejected():
            return Settled()
        case _:
            return state


def checked(asked: CheckClaim, context: Context) -> Iterator[Message]:
    checks = applying(asked)
    failed = {name: reason for name, check in checks.items() if (reason := check(asked)) is not None}
    claimed = None if asked.tier in UNLEARNED else asked.call
    if failed:
        reasons = tuple(failed.values())
        yield ClaimRejected(check=asked.check, reasons=reasons, failed=tuple(failed), policy=VERSION)
        yield from unlearned(claimed, reasons)
    elif asked.tier == "rules":
        yield ClaimPassed(check=asked.check, by=(*checks, "no-model"), policy=VERSION)
    elif asked.judge:
        yield judge.call(asked, call_id("verifier", asked.check, 1), claimed, context.at)
    else:
        yield ClaimPassed(check=asked.check, by=tuple(checks), policy=VERSION)


def judged(state: Judging, reply: ModelReplied) -> Iterator[Message]:
    check, found = state.check, judge.verdict(reply)
    if found is None:
        yield ClaimPassed(check=check, by=(BY_CODE, UNJUDGED), cost=reply.cost, policy=VERSION)
    elif found.verdict == "fail":
        reasons = tuple(filter(str.strip, found.reasons)) or ("A judge found that the answer does not do what was asked.",)
        yield ClaimRejected(check=check, reasons=reasons, failed=("judge",), cost=reply.cost, policy=VERSION)
        yield from unlearned(state.claimed, reasons)
    else:
        yield ClaimPassed(check=check, by=(BY_CODE, "judge"), confidence=found.confidence, cost=reply.cost, policy=VERSION)


def unlearned(claimed: str | None, reasons: tuple[str, ...]) -> Iterator[Message]:
    """What did not hold is not answered again by the gateway's cache."""
    if claimed is not None:
        yield RejectReply(call=claimed, reasons=reasons)


verifier: Decider[ClaimState] = Decider(Unasked(), decide, evolve, policy=VERSION)
