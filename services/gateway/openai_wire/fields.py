"""Fields of a request that not every endpoint takes: which one a refusal names, and what may be given up without it.

Each has another form or may be left out, and the answer is still one to what was asked. Never messages, model or tools. Pure.
"""

import re
from typing import Literal, get_args

from services.gateway.openai_wire.errors import ReportedError, meaning

Field = Literal[
    "temperature",  # left out
    "max_tokens",  # sent as max_completion_tokens
    "max_completion_tokens",  # sent as max_tokens
    "json_schema",  # sent as json_object, with the schema in the prompt
    "json_object",  # the schema in the prompt alone
    "stream_options",  # left out; the tokens of a streamed answer are then estimated
    "stream",  # the answer comes in one piece
    "store",  # left out
    "system",  # what the system says becomes part of what the user says first
]
FIELDS: tuple[Field, ...] = get_args(Field)
Refused = frozenset[Field]
LIMITS: tuple[Field, Field] = ("max_tokens", "max_completion_tokens")

_FORMAT = re.compile(
    r"response.?format|json.?schema|json.?object|json mode|structured.?output|output.?schema|response.?schema|text\.format"
    r"|grammar",
    re.IGNORECASE,
)
_NAMED: dict[Field, re.Pattern[str]] = {
    "temperature": re.compile(r"temperature", re.IGNORECASE),
    "max_tokens": re.compile(r"max_?(?:output_?)?tokens", re.IGNORECASE),
    "max_completion_tokens": re.compile(r"max_?completion_?tokens", re.IGNORECASE),
    "json_schema": _FORMAT,
    "json_object": _FORMAT,
    "stream_options": re.compile(r"stream.?options|include_usage", re.IGNORECASE),
    "stream": re.compile(r"\bstream(?:ing|ed)?\b", re.IGNORECASE),
    "store": re.compile(r"\bstore\b", re.IGNORECASE),
    "system": re.compile(
        r"system.{0,3} (?:role|message|prompt|instruction)|role.{0,20}\bsystem|does not support 'system'|developer instruction"
        r"|roles must alternate|only user and assistant|unexpected role",
        re.IGNORECASE,
    ),
}
# A refusal that only mentions a field is about something else unless it has one of these.
_NOT_TAKEN = re.compile(
    r"n[o']t (?:\w+ )?(?:support|allow|permit|available|enabled|recogni|implement|valid|accept|understood|take)"
    r"|unsupported|invalid|unrecogni[sz]ed|unknown|unexpected|unavailable|extra |cannot find|can.?not be|forbidden|deprecated"
    r"|must be|must alternate|may only|\bonly\b|no longer|no endpoints|remove|drop|disallowed"
    r"|unpermitted|prohibited|fixed|cannot",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"context.?(?:length|window)|maximum context|too (?:large|long|many|high)|exceed|at most|less than", re.I)
_OWN_SCHEMA = re.compile(
    r"invalid.?(?:json.?)?schema|schema (?:is|was) (?:not |in)valid|in schema|unsupported schema", re.IGNORECASE
)
STATUSES = (None, 400, 404, 405, 415, 422, 500, 501)
AT_FAULT: Refused = frozenset({"json_schema", "json_object", "system"})  # what some servers fail at, with status 500


def refused_field(error: ReportedError, sent: Refused) -> Field | None:
    """Which of the fields that were sent the endpoint does not take; None if the refusal is about something else.

    `sent`: those that have another form left."""
    if error.status not in STATUSES or "context_length_exceeded" in error.words or meaning(error) == "rate-limit":
        return None
    candidates = sent & AT_FAULT if error.status == 500 else sent
    places = [re.sub(r"\[\d+\]", "", place).removeprefix("body.") for place in error.fields]
    for place in places:
        text = error.message if place.split(".")[0] in ("messages", "input") else place
        if found := _first(text, candidates, error.message):
            return found
    if any(place not in ("body", "") for place in places):
        return None  # it names another field
    found = _first(error.message, candidates, error.message)
    return found if found and _NOT_TAKEN.search(error.message) else None


def is_of_the_call(error: ReportedError) -> bool:
    """Whether the refusal is about what this one call holds, so that nothing follows for others."""
    return "invalid_json_schema" in error.words or bool(_OWN_SCHEMA.search(error.message))


def _first(text: str, sent: Refused, message: str) -> Field | None:
    """The field that is named first; of two at the same place the longer name."""
    places = {field: match for field in FIELDS if field in sent and (match := _NAMED[field].search(text))}
    found = min(places, key=lambda field: (places[field].start(), -places[field].end()), default=None)
    return None if found in LIMITS and _TOO_LONG.search(message) else found
