"""One stream per check. The checks by code decide at once; where they pass and a judge is asked, its reply decides."""

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
from shared.falling_back import degraded_by, some, why

VERSION = "2"  # of the checks and the judge's prompt: raise it whenever one of them changes
BY_CODE = "code"
NOT_JUDGED = "no-judge"
NOT_CACHED = judge.NO_JUDGE | {"cache"}  # tiers whose answers the gateway does not put into its cache


@dataclass(frozen=True, slots=True)
class AwaitingClaim: ...


@dataclass(frozen=True, slots=True)
class AwaitingVerdict:
    """The checks by code have passed, and the judge was called. `claimed_by`: the call that gave the claim, where its reply may
    be in the gateway's cache."""

    call: str
    claimed_by: str | None

    @property
    def check(self) -> str:
        return mine("verifier", self.call) or ""


@dataclass(frozen=True, slots=True)
class Settled: ...


CheckState = AwaitingClaim | AwaitingVerdict | Settled


def decide(state: CheckState, message: Message, context: Context) -> Iterable[Message]:
    match state:
        case AwaitingClaim():
            if isinstance(message, CheckClaim):
                yield from check_by_code(message, context)

        case AwaitingVerdict(call):
            match message:
                case ModelReplied() if message.call == call:
                    yield from verdict_of_judge(state, message)
                case ModelFailed() if message.call == call:
                    yield not_judged(state.check, message, some(map(why, message.falls)) or (message.reason,))
                case _:
                    pass

        case Settled():
            pass

        case _:
            assert_never(state)


def evolve(state: CheckState, message: Message) -> CheckState:
    match message:
        case CallModel(call=call, judges=claimed_by):
            return AwaitingVerdict(call, claimed_by)
        case ClaimPassed() | ClaimRejected():
            return Settled()
        case _:
            return state


def check_by_code(asked: CheckClaim, context: Context) -> Iterator[Message]:
    checks = applying(asked)
    failed = {name: reason for name, check in checks.items() if (reason := check(asked)) is not None}
    claimed_by = None if asked.tier in NOT_CACHED else asked.call
    if failed:
        reasons = tuple(failed.values())
        yield ClaimRejected(check=asked.check, reasons=reasons, failed=tuple(failed), policy=VERSION)
        yield from reject_reply(claimed_by, reasons)
    elif asked.tier == "rules":
        yield ClaimPassed(check=asked.check, by=(*checks, "no-model"), policy=VERSION)
    elif asked.judge:
        yield judge.call(asked, call_id("verifier", asked.check, 1), claimed_by, context.at)
    else:
        yield ClaimPassed(check=asked.check, by=tuple(checks), policy=VERSION)


def verdict_of_judge(state: AwaitingVerdict, reply: ModelReplied) -> Iterator[Message]:
    check, found, fell = state.check, judge.verdict(reply), degraded_by(reply)
    if found is None:
        yield not_judged(check, reply, (*fell, f"{reply.tier}: no verdict"))
    elif found.verdict == "fail":
        reasons = tuple(filter(str.strip, found.reasons)) or ("A judge found that the answer does not do what was asked.",)
        yield ClaimRejected(check=check, reasons=reasons, failed=("judge",), cost=reply.cost, policy=VERSION)
        yield from reject_reply(state.claimed_by, reasons)
    else:
        by = (BY_CODE, "judge")
        degraded = of_judge(fell)
        yield ClaimPassed(check=check, by=by, confidence=found.confidence, cost=reply.cost, degraded=degraded, policy=VERSION)


def not_judged(check: str, ended: ModelReplied | ModelFailed, reasons: tuple[str, ...]) -> ClaimPassed:
    """No judge is to be had: the checks by code decide alone, and the verdict says so."""
    by = (BY_CODE, NOT_JUDGED)
    return ClaimPassed(check=check, by=by, cost=ended.cost, degraded=of_judge(reasons), policy=VERSION)


def of_judge(reasons: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"judge: {reason}" for reason in reasons)


def reject_reply(call: str | None, reasons: tuple[str, ...]) -> Iterator[Message]:
    """So that the gateway's cache does not give a rejected answer again."""
    if call is not None:
        yield RejectReply(call=call, reasons=reasons)


verifier: Decider[CheckState] = Decider(AwaitingClaim(), decide, evolve, policy=VERSION)
