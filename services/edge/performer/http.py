"""What is served: `POST /v1/reviews` with a token, `POST /v1/requests` with an API key.

Whoever comes is told that a credential does not count, and not why: the reason is in the log.
"""

import asyncio
import hashlib
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from contracts.approval import ReviewAction
from contracts.requests import SubmitRequest
from hansard.codec import Invalid, decode
from hansard.envelope import TENANT, Envelope
from hansard.new_request import valid_id
from services.edge.facts import ReviewGiven
from shared.eventstore.api_keys import ApiKey, ApiKeyStore
from shared.eventstore.model import StoreUnavailable
from shared.identity.api_keys import BadApiKey, known
from shared.identity.provider import KeysUnavailable
from shared.identity.tokens import BadToken, Identity, TokenVerifier
from shared.json_text import BadJson, parsed
from shared.telemetry.logs import log

PATIENCE = 15.0  # seconds for the record, or the brokers
AGAIN = {"Retry-After": "5"}
_BEARER = re.compile(r"bearer ([!-~]+)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Door:
    """What the door needs. `tokens`: None where there is no OpenID provider. `now`: the event store's clock."""

    tokens: TokenVerifier | None
    api_keys: ApiKeyStore
    now: Callable[[], datetime]
    record: Callable[[str, str, ReviewGiven, str], Awaitable[None]]  # tenant, workflow, fact, its name
    publish: Callable[[Envelope], Awaitable[None]]
    limit: int  # bytes of a body


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, error: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.response = JSONResponse({"error": error}, status, headers)


def app_of(door: Door) -> Starlette:
    async def reviews(request: Request) -> JSONResponse:
        return await _answered(_review, door, request)

    async def requests(request: Request) -> JSONResponse:
        return await _answered(_request, door, request)

    return Starlette(routes=[Route("/v1/reviews", reviews, methods=["POST"]), Route("/v1/requests", requests, methods=["POST"])])


async def _answered(work: Callable[[Door, Request], Awaitable[JSONResponse]], door: Door, request: Request) -> JSONResponse:
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await work(door, request)
    except Refused as refused:
        answer = refused.response
    except KeysUnavailable as away:
        log.warning("no token can be verified: the OpenID provider's keys are not to be had", trouble=str(away))
        answer = Refused(503, "tokens cannot be verified now", AGAIN).response
    except (TimeoutError, StoreUnavailable, OSError) as away:
        log.warning("the HTTP door could not hand on what it got", trouble=str(away) or type(away).__name__)
        answer = Refused(503, "it cannot be taken now: send the same again", AGAIN).response
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def _review(door: Door, request: Request) -> JSONResponse:
    """The token is looked at before the body is."""
    identity = await _identity(door, request)
    given = _object(await _body(door, request))
    try:
        review = decode(ReviewAction, json.dumps(given.get("review")).encode())
        tenant, workflow = valid_id(given.get("tenant", TENANT)), valid_id(given.get("workflow"))
    except (Invalid, ValueError) as bad:
        raise Refused(400, f"a review is {{tenant, workflow, review}}: {_first(bad)}") from None
    fact = ReviewGiven(attempt=1, review=review, identity=identity.name)
    digest = hashlib.sha256(fact.model_dump_json().encode()).hexdigest()
    await door.record(tenant, workflow, fact, f"review/{review.review}/{digest}")
    return JSONResponse({"workflow": workflow, "action_id": review.action_id, "review": review.review}, 202)


async def _request(door: Door, request: Request) -> JSONResponse:
    key = await _key(door, request)
    if SubmitRequest.kind not in key.kinds:
        raise Refused(403, "this key is not for requests")
    raw = await _body(door, request)
    _object(raw)
    try:
        decode(SubmitRequest, raw)
        id_ = valid_id(request.headers.get("idempotency-key") or f"http-{uuid.uuid4().hex}")
        source = f"/api-keys/{key.id}"
        envelope = Envelope(
            id=id_, source=source, type=SubmitRequest.kind, data=raw, correlation_id=id_, tenant=key.tenant, time=door.now()
        )
    except (Invalid, ValueError) as bad:
        raise Refused(400, f"the request is not valid: {_first(bad)}") from None
    await door.publish(envelope)
    return JSONResponse({"workflow": id_, "tenant": key.tenant}, 202)


async def _identity(door: Door, request: Request) -> Identity:
    if door.tokens is None:
        raise Refused(404, "no OpenID provider is set up here: sign reviews, or set HANSARD_OIDC_ISSUER")
    try:
        return await door.tokens.verify(_bearer(request))
    except BadToken as bad:
        log.warning("a token was refused", why=str(bad))
        raise _nobody() from None


async def _key(door: Door, request: Request) -> ApiKey:
    try:
        return await known(_bearer(request), door.api_keys, door.now)
    except BadApiKey as bad:
        log.warning("an API key was refused", why=str(bad))
        raise _nobody() from None


def _bearer(request: Request) -> str:
    given = request.headers.getlist("authorization")
    match = _BEARER.match(given[0]) if len(given) == 1 else None
    if match is None:
        raise Refused(401, "send one header `Authorization: Bearer …`", {"WWW-Authenticate": "Bearer"})
    return match[1]


def _nobody() -> Refused:
    return Refused(401, "this credential does not count here", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


async def _body(door: Door, request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > door.limit:
            raise Refused(413, f"a body has at most {door.limit} bytes here")
    return bytes(body)


def _object(raw: bytes) -> dict[str, Any]:
    """JSON, read strictly: what another reader may read otherwise is refused."""
    try:
        found = parsed(raw.decode())
    except (BadJson, UnicodeDecodeError) as bad:
        raise Refused(400, f"the body is no JSON in UTF-8: {_first(bad)}") from None
    if not isinstance(found, dict):
        raise Refused(400, "the body is a JSON object")
    return found


def _first(bad: Exception) -> str:
    return (str(bad).splitlines() or [""])[0][:300]
