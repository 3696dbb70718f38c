"""One stream a check: by code at once; where a judge is asked, its reply settles it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from contracts.gateway import CallModel, ModelFailed, ModelReplied
from contracts.message import Message
from contracts.verifier import CheckClaim, ClaimPassed, ClaimRejected
from services.verifier import judge
from services.verifier.checks import applying
from shared.decider import Context, Decider
from shared.service import mine

VERSION = "1"  # of the checks and the judge's prompt: raise it with any change of either
BY_CODE = "code"
UNJUDGED = "no-judge"


@dataclass(frozen=True, slots=True)
class Unasked: ...


@dataclass(frozen=True, slots=True)
class Judging:
    """The checks by code have passed."""

    call: str

    @property
    def check(self) -> str:
        return mine("verifier", self.call) or ""


@dataclass(frozen=True, slots=True)
class Settled: ...


Case = Unasked | Judging | Settled


def decide(case: Case, heard: Message, context: Context) -> Iterable[Message]:
    match case:
        case Unasked():
            if isinstance(heard, CheckClaim):
                yield checked(heard, context)

        case Judging(call):
            match heard:
                case ModelReplied() if heard.call == call:
                    yield judged(case.check, heard)
                case ModelFailed() if heard.call == call:
                    yield ClaimPassed(check=case.check, by=(BY_CODE, UNJUDGED), cost=heard.cost, policy=VERSION)
                case _:
                    pass

        case Settled():
            pass

        case _:
            assert_never(case)


def evolve(case: Case, said: Message) -> Case:
    match said:
        case CallModel(call=call):
            return Judging(call)
        case ClaimPassed() | ClaimRejected():
            return Settled()
        case _:
            return case


def checked(asked: CheckClaim, context: Context) -> Message:
    checks = applying(asked)
    failed = {name: reason for name, check in checks.items() if (reason := check(asked)) is not None}
    if failed:
        return ClaimRejected(check=asked.check, reasons=tuple(failed.values()), failed=tuple(failed), policy=VERSION)
    if asked.tier == "rules":
        return ClaimPassed(check=asked.check, by=(*checks, "no-model"), policy=VERSION)
    if asked.judge:
        return judge.call(asked, f"verifier/{asked.check}/1", context.at)
    return ClaimPassed(check=asked.check, by=tuple(checks), policy=VERSION)


def judged(check: str, reply: ModelReplied) -> Message:
    found = judge.verdict(reply)
    if found is None:
        return ClaimPassed(check=check, by=(BY_CODE, UNJUDGED), cost=reply.cost, policy=VERSION)
    if found.verdict == "fail":
        reasons = tuple(filter(str.strip, found.reasons)) or ("A judge found that the answer does not do what was asked.",)
        return ClaimRejected(check=check, reasons=reasons, failed=("judge",), cost=reply.cost, policy=VERSION)
    return ClaimPassed(check=check, by=(BY_CODE, "judge"), confidence=found.confidence, cost=reply.cost, policy=VERSION)


verifier: Decider[Case] = Decider(Unasked(), decide, evolve, policy=VERSION)
