"""What a message says, in short, on one line: one function a kind. Pure."""

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from infra.audit.text import degraded, one_line, percent, short
from shared.foreign_text import plain_name

Data = Mapping[str, Any]


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


def _fell(d: Data) -> str:
    """First in a summary, so that no long answer hides it."""
    reasons = degraded(d)
    return f"degraded ({one_line('; '.join(reasons), 80)})" if reasons else ""


def _answered(d: Data) -> str:
    return _join(_fell(d), f"“{d.get('text', '')}”", _model(d), percent(d.get("confidence")))


def _model(d: Data) -> str:
    return _join(d.get("tier"), d.get("model") if d.get("model") != d.get("tier") else "", by="/")


def _step(d: Data) -> str:
    again = d.get("resume_at") and f"again at {d['resume_at']}"
    return _join(_join(d.get("step"), d.get("attempt"), by="."), _fell(d), _reasons(d), d.get("because"), again)


def _reasons(d: Data) -> str:
    reasons = d.get("reasons") or d.get("problems") or ()
    return "; ".join(str(reason) for reason in reasons) if isinstance(reasons, list | tuple) else str(reasons)


def _call(d: Data) -> str:
    messages = d.get("messages") or [{}]
    return _join(d.get("model_class"), f"{len(messages)} messages", d.get("question") or messages[-1].get("content"))


def _attempt(d: Data) -> str:
    where = _join(d.get("tier"), d.get("model"), by="/")
    return _join(f"attempt {d.get('attempt')}", where, d.get("endpoint"), _call(d["request"]) if d.get("request") else "")


def _attempt_failed(d: Data) -> str:
    fall = d.get("fall") or {}
    return _join(f"{fall.get('tier')} failed: {fall.get('reason')}", fall.get("detail"))


def _replied(d: Data) -> str:
    fell = ", ".join(f"{fall.get('tier')}: {fall.get('reason')}" for fall in d.get("falls") or ())
    tokens = d.get("input_tokens") or d.get("output_tokens")
    took = f"{d.get('input_tokens')}+{d.get('output_tokens')} tokens" if tokens else ""
    return _join(f"“{d.get('text', '')}”", _model(d), took, fell and f"fell from {fell}")


def _rejected(d: Data) -> str:
    return _join(d.get("call"), _reasons(d))


def _ended(d: Data) -> str:
    return _join(d.get("reason"), d.get("detail"), d.get("by") and f"by {d['by']}")


def _completed(d: Data) -> str:
    by = _join(d.get("answered_by"), d.get("handler"), by=" ")
    return _join(_fell(d), f"“{d.get('text', '')}”", by, percent(d.get("confidence")))


def _dead_letter(d: Data) -> str:
    return _join(f"{d.get('service')}: {d.get('reason')}", d.get("detail"), short(str(d.get("message_kind") or "")))


def _claim_passed(d: Data) -> str:
    return _join(d.get("check"), _fell(d), "passed " + ", ".join(d.get("by") or ()), percent(d.get("confidence")))


def _action(d: Data) -> str:
    """An action in words: what it is about, or else its tool."""
    action = json.loads(str(d.get("action") or "{}"))
    return _join(d.get("action_id"), f"#{str(d.get('sha256'))[:8]}", action.get("about") or action.get("tool"))


def _assessed(d: Data) -> str:
    waits = d.get("queue") and f"for {d['queue']}"
    return _join(d.get("action_id"), d.get("status"), waits, f"risk {d.get('risk')}", f"rule {d.get('rule')}", _reasons(d))


def _approved(d: Data) -> str:
    edited = d.get("proposed") and f"edited, was #{str(d['proposed'])[:8]}"
    by = ", ".join(d.get("by") or ()) or "the policy"
    return _join(d.get("action_id"), d.get("status"), f"by {by}", f"#{str(d.get('sha256'))[:8]}", edited, d.get("notes"))


def _review(d: Data, proof: str = "as claimed") -> str:
    """Whoever sends it chose all its words: they stand between quotation marks, and behind how it is proven."""
    by = f"by {plain_name(str(d.get('reviewer')))}, {proof}"
    texts = (f"“{d[name]}”" for name in ("question", "to", "notes") if d.get(name))
    return _join(d.get("action_id"), d.get("decision"), by, *texts)


def _review_accepted(d: Data) -> str:
    return _review(d.get("review") or {}, f"proven by {d.get('proof')}")


def _review_refused(d: Data) -> str:
    claimed = f"{d.get('decision')} by {plain_name(str(d.get('reviewer')))}, as claimed"
    return _join(d.get("action_id"), f"refused: {d.get('reason')}", d.get("detail"), claimed)


def _lookup(d: Data) -> str:
    """What is read of the record: the registrations of people, or cases that are alike."""
    people = ", ".join(d.get("people") or ())
    return _join(people and f"who is {people}?", d.get("similar_to") and f"cases like “{d['similar_to']}”?")


def _notification(d: Data) -> str:
    who = _join(d.get("role"), d.get("person"), by=" ")
    return _join(d.get("event"), d.get("action_id"), who and f"for {who}", d.get("about"))


def _person(d: Data) -> str:
    return _join(d.get("name"), ", ".join(d.get("roles") or ()), *(f"key {key.get('id')}" for key in d.get("keys") or ()))


_SUMMARIES: Mapping[str, Callable[[Data], str]] = {
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
    "hansard.gateway.attempt-returned": lambda d: _replied(d["reply"]) if d.get("reply") else _attempt_failed(d["failure"]),
    "hansard.gateway.attempt-failed": _attempt_failed,
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
    "hansard.verifier.claim-passed": _claim_passed,
    "hansard.verifier.claim-rejected": lambda d: _join(d.get("check"), _reasons(d)),
    "hansard.approval.propose": _action,
    "hansard.approval.proposed": _action,
    "hansard.approval.assessed": _assessed,
    "hansard.approval.approved": _approved,
    "hansard.approval.rejected": lambda d: _join(_approved(d), d.get("because")),
    "hansard.approval.review": _review,
    "hansard.approval.review-accepted": _review_accepted,
    "hansard.approval.review-refused": _review_refused,
    "hansard.approval.review-received": lambda d: _review(d.get("review") or {}),
    "hansard.approval.lookup-started": _lookup,
    "hansard.approval.edited": lambda d: _join(f"by {d.get('by')}", f"was #{str(d.get('proposed'))[:8]}", _action(d)),
    "hansard.approval.more-asked": lambda d: _join(d.get("action_id"), f"{d.get('by')} asks: {d.get('text')}"),
    "hansard.approval.more-given": lambda d: _join(d.get("action_id"), d.get("answer")),
    "hansard.notifier.notification": _notification,
    "hansard.notifier.action-noted": lambda d: _join(d.get("action_id"), (d.get("action") or {}).get("about")),
    "hansard.planner.deadline-moved": lambda d: f"the deadline is {d['deadline']}",
    "hansard.router.move-deadline": lambda d: f"the deadline is {d['deadline']}",
    "hansard.approval.person-registered": _person,
    "hansard.results.completed": _completed,
    "hansard.dead-letters.dead-lettered": _dead_letter,
    "hansard.control.redrive": lambda d: _join(d.get("service"), f"{d.get('topic')}/{d.get('partition')}/{d.get('offset')}"),
}
_FALLBACK = ("step", "attempt", "task", "call", "check", "reason", "detail", "because", "by", "text", "name")


def summary(kind: str, data: Data) -> str:
    """One line. Never fails, whatever is in the data."""
    of_kind = _SUMMARIES.get(kind.rpartition(".")[0])
    if of_kind is None and kind.startswith("hansard.planner.step-"):
        of_kind = _step
    try:
        text = of_kind(data) if of_kind else _ended(data) if "detail" in data else _plain(data)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        text = _plain(data)
    return one_line(text)


def _plain(data: Data) -> str:
    try:
        known = _join(*(data[name] for name in _FALLBACK if isinstance(data.get(name), str | int)))
        return known or _first_fields(data)
    except AttributeError:
        return str(data)


def _first_fields(data: Data) -> str:
    """`glasses: 2 · paid: False`: the first two scalar fields, of a kind that nothing is known of."""
    scalars = ((name, value) for name, value in data.items() if isinstance(value, str | int | float) and value != "")
    return _join(*(f"{name}: {one_line(value, 60)}" for name, value in islice(scalars, 2)))
