"""What an endpoint reports of its failure, and what that means for the call. Pure.

Errors come with a status, in the body of an answer under status 200, and as events in the midst of a stream; as an object, a
list of objects or a text; with a number or a word as code.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from contracts.gateway import FallReason
from services.gateway.openai_wire.tolerant import Json, clean, listed, load, mapping, string

SHOWN = 600  # characters of a message
NAMES = ("error", "errors", "detail")

# By code, type or status in words. Those of the first two count more than the number of the status.
REFUSED_FIRST = {
    *("insufficient_quota", "insufficient_balance", "insufficient_credits", "insufficient_funds", "payment_required"),
    *("billing_hard_limit_reached", "billing_not_active", "billing_error", "exceeded_current_quota_error", "arrearage"),
    *("credit_balance_too_low", "account_deactivated", "access_terminated", "usage_limit_reached", "monthly_limit_reached"),
}
LIMITED = {
    *("rate_limit", "rate_limit_exceeded", "rate_limit_error", "rate_limit_reached", "rate_limited", "too_many_requests"),
    *("rate_limit_reached_error", "ratelimitexceeded", "ratelimiterror", "resource_exhausted", "throttling"),
    *("throttlingexception", "throttling_error", "throttling.ratequota", "capacity", "capacity_exceeded", "slow_down"),
    *("service_tier_capacity_exceeded", "engine_overloaded_error", "server_is_overloaded", "model_capacity_exceeded"),
}
REFUSED = {
    *("invalid_request_error", "invalid_request", "invalid_argument", "bad_request", "badrequesterror", "validation_error"),
    *("authentication_error", "invalid_api_key", "invalid_authentication_error", "unauthorized", "unauthenticated"),
    *("permission_error", "permission_denied", "forbidden", "not_found", "not_found_error", "model_not_found", "notfounderror"),
    *("context_length_exceeded", "content_filter", "content_policy_violation", "data_inspection_failed", "unsupported_parameter"),
    *("unsupported_value", "unsupported_model", "request_too_large", "string_above_max_length", "moderation_blocked"),
}
# Where neither a status nor a code says it.
PHRASES: tuple[tuple[re.Pattern[str], FallReason], ...] = (
    (re.compile(r"insufficient (quota|balance|credit|fund)|payment required|out of credit|no credit", re.I), "refused"),
    (re.compile(r"(invalid|incorrect|missing|wrong) (api )?key|unauthori[sz]ed|not authenticated", re.I), "refused"),
    (re.compile(r"rate.?limit|too many requests|quota exceeded", re.I), "rate-limit"),
)
LIMITED_STATUS = {429, 498}  # 498: no capacity in Groq's flex tier
PASSING_STATUS = {408, 409, 420, 424, 425, 499}  # 424: a model behind the endpoint failed (Bedrock, TGI, Azure)
LASTING_STATUS = {501, 505}


class ReportedError(NamedTuple):
    """`words`: codes, types and a status in words, in lower case. `fields`: those of the request that it names. `wait`: seconds
    until the next request."""

    message: str
    status: int | None = None
    words: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    wait: float = 0.0

    @property
    def detail(self) -> str:
        known = self.message or ", ".join(sorted(self.words))
        return f"status {self.status}: {known}".rstrip(": ") if self.status else known or "it does not say why"


def error_of_status(status: int, body: bytes) -> ReportedError:
    """The error that a body under this status reports; its beginning if it is in no known form."""
    try:
        found = read_error(load(body), anywhere=True)
    except ValueError:
        found = None
    if found is None or not found.message:
        text = _short(re.sub(r"<[^>]*>", " ", body.decode("utf-8", "replace"))[:200])
        found = (found or ReportedError(""))._replace(message=text)
    return found._replace(status=status)


def read_error(given: Any, *, anywhere: bool = False) -> ReportedError | None:
    """The error that a body or an event reports; None if it reports none. `anywhere`: also where an answer may stand."""
    if isinstance(given, list):
        found = (read_error(one, anywhere=anywhere) for one in given[:3] if isinstance(one, dict))
        return next((error for error in found if error), None)
    if not isinstance(given, dict):
        return _of_text(given) if anywhere and isinstance(given, str) else None
    error = given.get("error")
    if _has_content(error):
        beside = {name: given[name] for name in ("code", "type", "error_type", "status") if name in given}
        if isinstance(error, bool | int | float):  # a code, or that there is one; what it is stands beside it
            return _of({"code": error, **given}, {})
        return _of(error, beside if given.get("type") != "error" else {})
    answered = bool(given.get("choices") or given.get("output"))
    base = mapping(given.get("base_resp"))
    if base.get("status_code"):
        return _of({"message": base.get("status_msg"), "code": base["status_code"]}, {})
    if "error" in (given.get("type"), given.get("object")) or anywhere:
        return _of(given, {})
    names = [name for name in ("errors", "detail") if _has_content(given.get(name))]
    if not answered and names:
        return _of(given[names[0]], {})
    if not answered and isinstance(given.get("message"), str) and ({"code", "type", "status", "statusCode"} & given.keys()):
        return _of(given, {})
    return None


def meaning(error: ReportedError) -> FallReason:
    """`rate-limit` and `error` may pass, `refused` does not."""
    words, status = error.words, error.status
    if words & REFUSED_FIRST:
        return "refused"
    if words & LIMITED or status in LIMITED_STATUS:
        return "rate-limit"
    if status is not None:
        passing = status in PASSING_STATUS or (status >= 500 and status not in LASTING_STATUS)
        return "error" if passing else "refused"
    if words & REFUSED:
        return "refused"
    return next((reason for phrase, reason in PHRASES if phrase.search(error.message)), "error")


def _has_content(error: object) -> bool:
    if isinstance(error, dict):
        return any(error.get(name) for name in error)
    return bool(error) and error is not False


def _of(error: object, beside: Json) -> ReportedError:
    if isinstance(error, str):
        found = _of_text(error)
    else:
        found = _of_parts([part for part in listed(error) if isinstance(part, dict | str)])
    return found._replace(status=found.status or _status(beside), words=found.words | frozenset(_words(beside)))


def _of_text(text: str) -> ReportedError:
    word = text.strip().lower()
    return ReportedError(_short(text), words=frozenset({word}) if re.fullmatch(r"[\w.]{3,60}", word) else frozenset())


def _of_parts(parts: list[Any]) -> ReportedError:
    """Some services list what is wrong, field by field; some wrap the error of another one, as an object or as text."""
    inner = [_of_text(part) if isinstance(part, str) else _of_object(part) for part in parts[:10]]
    if not inner:
        return ReportedError("")
    return ReportedError(
        _short("; ".join(dict.fromkeys(one.message for one in inner if one.message))),
        next((one.status for one in inner if one.status), None),
        frozenset().union(*(one.words for one in inner)),
        tuple(field for one in inner for field in one.fields),
        max(one.wait for one in inner),
    )


def _of_object(error: Json) -> ReportedError:
    given = [_opened(error.get(name)) for name in ("message", "msg", "detail", "error", "reason")]
    given.append(_opened(mapping(error.get("metadata")).get("raw")))
    nested = [part for one in given for part in listed(one) if isinstance(part, dict | str)]
    inner = _of_parts(nested) if nested else ReportedError("")
    texts = [*(one for one in given if isinstance(one, str)), inner.message]
    place = [string(step) for step in error["loc"]] if isinstance(error.get("loc"), list) else []
    return ReportedError(
        _short(": ".join(dict.fromkeys(filter(None, texts)))),
        _status(error) or inner.status,
        frozenset(_words(error)) | inner.words,
        (*_named(error.get("param")), *filter(None, (".".join(place),)), *inner.fields),
        max(_delays(error), default=0.0),
    )


def _opened(given: object) -> object:
    """A text that is JSON, which is how the error of another service is often wrapped, as what it holds."""
    if isinstance(given, str) and given.lstrip()[:1] in ("{", "["):
        try:
            return load(given[:10_000].encode("utf-8", "replace"))
        except ValueError:
            return given
    return given


def _named(param: object) -> Iterator[str]:
    yield from filter(None, map(string, param if isinstance(param, list) else [param]))


def _status(error: Json) -> int | None:
    for name in ("code", "status", "status_code", "statusCode", "http_status"):
        given = string(error.get(name))
        if given.isdecimal() and 400 <= int(given[:4]) < 600:
            return int(given)
    return None


def _words(error: Json) -> Iterator[str]:
    for name in ("code", "type", "status", "error_type"):
        given = error.get(name)
        if isinstance(given, str) and not given.isdecimal():
            yield given.strip().lower().replace("-", "_").replace(" ", "_")


def _delays(error: Json) -> Iterator[float]:
    """Google's `retryDelay`: "34s"."""
    for detail in listed(error.get("details")):
        written = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", string(mapping(detail).get("retryDelay")))
        if written:
            yield float(written[1])


def _short(text: str) -> str:
    return clean(" ".join(text.split())[:SHOWN])
