"""Webhook endpoints as data: a YAML file names them, never their secrets. Pure, but for reading that file."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, field_validator, model_validator

from hansard.message import Name
from hansard.policy import version_of
from shared.yaml_files import read_yaml

RULES = "1"  # version of the rules in code; the policy's name holds it and the hash of the data
NO_ADDRESS = "https://then.invalid"
LOCAL = ("127.0.0.1", "::1", "localhost")

# The types of payloads. An endpoint that names none gets those that ask a person for something.
NEEDED = tuple(f"approval.{event}" for event in ("decision-needed", "escalated", "delegated", "more-given", "question-asked"))
TYPES = (
    *NEEDED,
    *(f"approval.{event}" for event in ("approved", "rejected", "question-answered", "question-expired")),
)


class Config(BaseModel):
    """A part of the configuration. An unknown key is an error: it is a typing mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Endpoint(Config):
    """One address, and what is sent there. Filters that name nothing let everything pass."""

    name: Name
    url: str = Field(repr=False, description="https, or http to this very machine; it may hold a secret: it is shown nowhere")
    secret_env: str = Field(
        default="", description="name of the environment variable with its secret, `whsec_…`, never the secret"
    )
    secret_file: Path | None = Field(default=None, description="or the file with it")
    events: tuple[str, ...] = Field(default=NEEDED, description="types of payloads, as `approval.escalated` or `approval.*`")
    queues: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    arguments: bool = Field(default=False, description="the payload holds the arguments of the action")
    plain_http: bool = Field(default=False, description="http to another machine is allowed: anybody on the way can read it")
    timeout: float = Field(default=10, gt=0, le=60, description="seconds of one attempt")
    concurrency: int = Field(default=4, ge=1, le=64, description="attempts at once from one process")

    @field_validator("events")
    @classmethod
    def _known(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        for wanted in events:
            if not any(_matches(wanted, known) for known in TYPES):
                raise ValueError(f"there is no {wanted!r}: take approval.* or of {', '.join(TYPES)}")
        return events

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.name}: the url must begin with https:// and name a host")
        if parts.scheme == "http" and parts.hostname not in LOCAL and not self.plain_http:
            raise ValueError(f"{self.name}: http to another machine can be read on the way: take https, or set plain_http")
        if bool(self.secret_env) == (self.secret_file is not None):
            raise ValueError(f"{self.name}: name its secret by secret_env or by secret_file")
        return self

    def takes(self, type: str, *, tenant: str, queue: str = "", role: str = "") -> bool:
        """Whether a payload of this type is sent there."""
        wanted = ((self.queues, queue), (self.roles, role), (self.tenants, tenant))
        return any(_matches(one, type) for one in self.events) and all(not some or given in some for some, given in wanted)


class Retry(Config):
    """When a failed attempt is repeated."""

    first: float = Field(default=5, gt=0, description="seconds after the first failure; each failure doubles them")
    longest: float = Field(default=3600, gt=0, description="seconds between two attempts, at most")
    hours: float = Field(default=24, gt=0, le=24 * 30, description="a delivery is given up after that")

    def wait(self, key: str, attempt: int) -> timedelta:
        """After this attempt: between half of it and the whole, by the key, so that many do not come back at once."""
        digest = hashlib.sha256(f"{key}/{attempt}".encode()).digest()
        share = 0.5 + int.from_bytes(digest[:4]) / 2**33
        return timedelta(seconds=round(min(self.first * 2.0 ** min(attempt - 1, 60), self.longest) * share, 3))

    def until(self, at: datetime) -> datetime:
        return at + timedelta(hours=self.hours)


class Endpoints(Config):
    """All endpoints of a deployment."""

    endpoints: tuple[Endpoint, ...] = ()
    retry: Retry = Retry()
    _past_policy: str = PrivateAttr("")

    @field_validator("endpoints")
    @classmethod
    def _named(cls, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        if len({one.name for one in endpoints}) != len(endpoints):
            raise ValueError("two endpoints have the same name")
        return endpoints

    @cached_property
    def by_name(self) -> dict[str, Endpoint]:
        return {one.name: one for one in self.endpoints}

    @cached_property
    def data(self) -> JsonValue:
        """All that a decision depends on: no address and no secret."""
        senders_own = {"url", "secret_env", "secret_file", "plain_http", "concurrency"}
        data: JsonValue = self.model_dump(mode="json", exclude={"endpoints": {"__all__": senders_own}})
        return data

    @cached_property
    def policy(self) -> str:
        return self._past_policy or version_of(RULES, self.data)

    @classmethod
    def of_then(cls, policy: str, data: Mapping[str, Any]) -> Self:
        """The endpoints of a past policy, from its `data`: nothing can be sent there. Raises ValueError."""
        nowhere = {"url": NO_ADDRESS, "secret_env": "NONE"}
        then = cls.model_validate({**data, "endpoints": [nowhere | one for one in data["endpoints"]]})
        then._past_policy = policy
        return then


def read_endpoints(path: Path | None) -> Endpoints:
    """The file of the endpoints; none where there is no file. Raises ValueError, which names the place of a mistake; OSError."""
    if path is None:
        return Endpoints()
    try:
        given = read_yaml(path)
    except ValueError as bad:
        raise ValueError(f"{path}: {bad}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{path} is not a mapping: write `endpoints:` and a list")
    return Endpoints.model_validate(given)


def _matches(wanted: str, type: str) -> bool:
    return type == wanted or (wanted.endswith("*") and type.startswith(wanted[:-1]))
