"""One message as a line that a person reads: who said what, caused by what, at what cost. Pure."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from hansard.identity import outcome_causation_id, wake_up_causation_id
from shared.eventstore.model import Stream

Data = Mapping[str, Any]
MANY = 1_000  # entries of one stream among which a wake-up is looked for


@dataclass(frozen=True)
class Word:
    """A message, ready to be shown. `cause` is the id of what it was caused by; "" where nothing caused it. `woken`: it was
    said at a wake-up, and `cause` is what its stream said before."""

    id: str
    at: datetime
    workflow: str
    stream: str
    kind: str
    causation_id: str
    data: Data = field(repr=False)
    topic: str = ""
    tenant: str = "default"
    woke_up: bool = False

    @property
    def service(self) -> str:
        return self.stream.partition("/")[0]

    @property
    def part(self) -> str:
        return self.stream.partition("/")[2]

    @property
    def name(self) -> str:
        """`hansard.gateway.model-replied.v1` in short: `model-replied`."""
        return short(self.kind)

    @property
    def spent(self) -> Decimal:
        """US dollars that this message tells of, by itself."""
        return money(self.data.get("cost"))

    @property
    def gist(self) -> str:
        return gist(self.kind, self.data)


def short(kind: str) -> str:
    """A kind without its owner and version."""
    parts = kind.split(".")
    return parts[-2] if len(parts) > 2 else kind


def money(value: Any) -> Decimal:
    """A cost as it travels (a string); 0 where there is none."""
    try:
        return Decimal(str(value or 0))
    except InvalidOperation:
        return Decimal(0)


def dollars(amount: Decimal) -> str:
    """`$0.0042`; nothing for nothing."""
    if not amount:
        return ""
    return f"${amount.quantize(Decimal('0.000001')).normalize():f}"


def one_line(text: object, width: int = 160) -> str:
    """Text of any length on one line."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def percent(value: Any) -> str:
    return f"{float(value):.0%}" if isinstance(value, int | float) else ""


def _join(*parts: object, by: str = " · ") -> str:
    return by.join(str(part) for part in parts if part not in (None, "", [], {}))


def _request(d: Data) -> str:
    typed = _join(d.get("type"), json.dumps(d.get("data") or {}, ensure_ascii=False), by=" ") if d.get("type") else ""
    plan = d.get("plan")
    named = plan.get("name", "") if isinstance(plan, dict) else plan or ""
    return _join(f"“{d['text']}”" if d.get("text") else typed, named and f"plan {named}")


def _routed(d: Data) -> str:
    return _join(f"{d.get('path')} → {d.get('handler')}", percent(d.get("confidence")), d.get("reasoning"))


def _plan(d: Data) -> str:
    plan = d.get("plan") or {}
    return _join(plan.get("name"), " → ".join(str(step.get("id")) for step in plan.get("steps") or ()))


def _task(d: Data) -> str:
    return _join(d.get("role"), d.get("instructions") or d.get("goal"))


def _answered(d: Data) -> str:
    return _join(f"“{d.get('text', '')}”", _speaker(d), percent(d.get("confidence")))


def _speaker(d: Data) -> str:
    return _join(d.get("tier"), d.get("model") if d.get("model") != d.get("tier") else "", by="/")


def _step(d: Data) -> str:
    again = d.get("resume_at") and f"again at {d['resume_at']}"
    return _join(_join(d.get("step"), d.get("attempt"), by="."), _reasons(d), d.get("because"), again)


def _reasons(d: Data) -> str:
    reasons = d.get("reasons") or d.get("problems") or ()
    return "; ".join(str(reason) for reason in reasons) if isinstance(reasons, list | tuple) else str(reasons)


def _call(d: Data) -> str:
    messages = d.get("messages") or [{}]
    return _join(d.get("model_class"), f"{len(messages)} messages", d.get("question") or messages[-1].get("content"))


def _attempt(d: Data) -> str:
    where = _join(d.get("tier"), d.get("model"), by="/")
    return _join(f"attempt {d.get('attempt')}", where, d.get("endpoint"), _call(d["request"]) if d.get("request") else "")


def _fall(d: Data) -> str:
    fall = d.get("fall") or {}
    return _join(f"{fall.get('tier')} failed: {fall.get('reason')}", fall.get("detail"))


def _replied(d: Data) -> str:
    fell = ", ".join(f"{fall.get('tier')}: {fall.get('reason')}" for fall in d.get("falls") or ())
    tokens = d.get("input_tokens") or d.get("output_tokens")
    took = f"{d.get('input_tokens')}+{d.get('output_tokens')} tokens" if tokens else ""
    return _join(f"“{d.get('text', '')}”", _speaker(d), took, fell and f"fell from {fell}")


def _rejected(d: Data) -> str:
    return _join(d.get("call"), _reasons(d))


def _ended(d: Data) -> str:
    return _join(d.get("reason"), d.get("detail"), d.get("by") and f"by {d['by']}")


def _completed(d: Data) -> str:
    return _join(f"“{d.get('text', '')}”", _join(d.get("answered_by"), d.get("handler"), by=" "), percent(d.get("confidence")))


def _dead(d: Data) -> str:
    return _join(f"{d.get('service')}: {d.get('reason')}", d.get("detail"), short(str(d.get("message_kind") or "")))


def _passed(d: Data) -> str:
    return _join(d.get("check"), "passed " + ", ".join(d.get("by") or ()), percent(d.get("confidence")))


_GISTS: Mapping[str, Callable[[Data], str]] = {
    "hansard.requests.submit": _request,
    "hansard.router.request-routed": _routed,
    "hansard.planner.run": _plan,
    "hansard.planner.expire": lambda d: f"the deadline {d['deadline']} has passed",
    "hansard.planner.plan-started": _plan,
    "hansard.planner.step-answered": _answered,
    "hansard.specialists.perform": _task,
    "hansard.specialists.task-answered": _answered,
    "hansard.gateway.call": _call,
    "hansard.gateway.call-accepted": lambda d: _call(d.get("request") or {}),
    "hansard.gateway.attempt-started": _attempt,
    "hansard.gateway.attempt-failed": _fall,
    "hansard.gateway.model-replied": _replied,
    "hansard.gateway.model-failed": _ended,
    "hansard.gateway.reject-reply": _rejected,
    "hansard.gateway.reply-rejected": _rejected,
    "hansard.gateway.tokens-streamed": lambda d: f"“{d.get('text', '')}”",
    "hansard.gateway.circuit-opened": lambda d: _join(d.get("endpoint"), f"until {d.get('until')}", _ended(d)),
    "hansard.gateway.probe-granted": lambda d: _join(d.get("endpoint"), d.get("by")),
    "hansard.gateway.circuit-closed": lambda d: _join(d.get("endpoint"), d.get("by")),
    "hansard.gateway.retries-granted": lambda d: _join(d.get("endpoint"), f"{d.get('granted')} for {d.get('calls')} calls"),
    "hansard.verifier.check": lambda d: _join(d.get("check"), d.get("claim")),
    "hansard.verifier.claim-passed": _passed,
    "hansard.verifier.claim-rejected": lambda d: _join(d.get("check"), _reasons(d)),
    "hansard.results.completed": _completed,
    "hansard.dead-letters.dead-lettered": _dead,
    "hansard.control.redrive": lambda d: _join(d.get("service"), f"{d.get('topic')}/{d.get('partition')}/{d.get('offset')}"),
}
_FALLBACK = ("step", "attempt", "task", "call", "check", "reason", "detail", "because", "by", "text", "name")


def gist(kind: str, data: Data) -> str:
    """What a message says, in short, on one line. Never fails, whatever is in it."""
    told = _GISTS.get(kind.rpartition(".")[0])
    if told is None and kind.startswith("hansard.planner.step-"):
        told = _step
    try:
        stored = told(data) if told else _ended(data) if "detail" in data else _plain(data)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        stored = _plain(data)
    return one_line(stored)


def _plain(data: Data) -> str:
    try:
        return _join(*(data[name] for name in _FALLBACK if isinstance(data.get(name), str | int)))
    except AttributeError:
        return str(data)


def text_of(value: bytes | None) -> str:
    """Bytes for a person: as text where they are text, else in base64."""
    if value is None:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()


@dataclass
class Minutes:
    """Numbers messages as they go by, so that a cause can be named by its number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, word: Word) -> int:
        return self.numbers.setdefault(word.id, len(self.numbers) + 1)

    def causation_id(self, word: Word) -> str:
        """`← 3`; for what comes from within a stream `← wake-up` or `← try 2`; a short id for what was not seen."""
        if not word.causation_id:
            return ""
        known = "wake-up" if word.woke_up else self.numbers.get(word.causation_id)
        return f"← {known or _within(word, min(32 + len(self.numbers), MANY)) or word.causation_id[:6]}"


def _within(word: Word, entry: int) -> str:
    """What a stream hears from its own performer or the clock has no message: its cause id tells. `heard`: how much it may
    have heard by then."""
    stream = Stream(word.tenant, word.workflow, word.stream)
    for n in range(1, entry + 1):
        if word.causation_id == str(outcome_causation_id(stream, n)):
            return f"try {n}"
        if word.causation_id == str(wake_up_causation_id(stream, n - 1)):
            return "wake-up"
    return ""
