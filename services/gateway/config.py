"""The tiers as data: endpoints in order, and the tiers without a model."""

import ipaddress
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, field_validator, model_validator

from contracts.gateway import ModelClass
from hansard.message import Confidence, Money, Name, Safety
from hansard.policy import version_of
from services.gateway.openai_wire.fields import Field as RefusableField
from shared.settings import Settings
from shared.yaml_files import read_yaml

RULES = "4"  # version of the rules of the deciders and of fallback.py; the policy's name holds it and the hash of the data
LOCAL_TIERS = ("cache", "extractive", "rules")
MODEL_KEY = "HANSARD_MODEL_KEY"
ANSWERS = Path(__file__).with_name("answers.yaml")
NO_ADDRESS = "http://then.invalid/v1"

# gen_ai.provider.name of OpenTelemetry, by the end of the host's name
PROVIDERS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
PRIORS: tuple[float, ...] = (0.92, 0.78)  # of the first and every further endpoint
MODEL_PRIORS = {"smollm2-135m": 0.3}  # small and often wrong, wherever it stands


class Config(BaseModel):
    """A part of the configuration. An unknown key is an error: it is a typing mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(Config):
    """US dollars for a million tokens."""

    input: Money
    output: Money

    @field_validator("input", "output", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return str(value) if isinstance(value, float) else value


class Endpoint(Config):
    """One model at one OpenAI-compatible address."""

    name: Name
    url: str = Field(pattern=r"^https?://", description="up to and with `/v1`")
    model: str = Field(default="", description="empty: the first that the endpoint lists")
    key_env: str = Field(default="", description="name of the environment variable with its key, never the key")
    classes: tuple[ModelClass, ...] = Field(default=("capable", "fast"), description="calls of these classes are sent here first")
    api: Literal["chat", "responses", ""] = Field(default="", description="empty: as the call asks")
    timeout: float = Field(default=60, gt=0, description="seconds of one attempt")
    max_retries: int = Field(default=2, ge=0, description="after temporary errors, at this endpoint")
    concurrency: int = Field(default=64, ge=1, description="calls at once from one process")
    safety: Safety = "safe"
    confidence: Confidence | None = Field(default=None, description="prior of its answers")
    price: Price | Literal["listed", "free"] | None = Field(
        default=None, description="none: as listed; free if the endpoint is your own"
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens", ""] = ""
    takes_no: tuple[RefusableField, ...] = Field(
        default=(), description="fields that it refuses: left out or sent in another form from the first call on"
    )
    provider: str = Field(default="", description="as OpenTelemetry names it; empty: derived from the address")

    @model_validator(mode="before")
    @classmethod
    def _provided(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("url"), str) and not given.get("provider"):
            given = given | {"provider": provider_at(given["url"])}
        return given

    @field_validator("name")
    @classmethod
    def _own(cls, name: str) -> str:
        if name in LOCAL_TIERS:
            raise ValueError(f"{name} is the name of a tier without a model")
        return name

    @cached_property
    def host(self) -> str:
        return host_of(self.url)

    @cached_property
    def own(self) -> bool:
        return is_own(self.host)

    @cached_property
    def free(self) -> bool:
        return self.price == "free" or (self.price is None and self.own)


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def is_own(host: str) -> bool:
    """Whether it is on this machine or in a private network: a loopback or private address, a name without a public domain."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost", ".svc"))


def provider_at(url: str) -> str:
    """Raises ValueError if this is not an address."""
    host = host_of(url)
    known = (name for end, name in PROVIDERS.items() if host == end or host.endswith(f".{end}"))
    return next(known, "local" if is_own(host) else host)


class Known(Config):
    question: str
    answer: str


class Fixed(Config):
    """A fixed reply. It is given if one of `words`, in lower case, occurs in the question; always if there are no words."""

    words: tuple[str, ...] = ()
    answer: str


class Answers(Config):
    """What the tiers `cache` and `rules` answer without a model."""

    known: tuple[Known, ...] = ()
    notice: str = ""
    fixed: tuple[Fixed, ...] = ()


class Circuits(Config):
    """When all processes stop calling an endpoint. Failures are errors, rate limits and time-outs."""

    failures: int = Field(default=5, ge=1, description="minimum failures in the window of one process")
    share: float = Field(default=0.5, gt=0, le=1, description="minimum share of failures in the window")
    window: int = Field(default=20, ge=1, description="how many of the last calls are in the window")
    seconds: float = Field(default=30, gt=0, description="age limit in seconds of a call in the window")
    slow: float = Field(
        default=5, gt=0, description="seconds without an answer that count as a failure, if the call had that much time"
    )
    cooldown: float = Field(default=5, gt=0, description="seconds until the first probe; each failed probe doubles them")
    longest: float = Field(default=60, gt=0, description="maximum seconds between probes")


class Retries(Config):
    """Retries after errors and rate limits at one endpoint, of all processes together, in an hour."""

    share: float = Field(default=0.1, ge=0, le=1, description="retries as a share of the first attempts there")
    reserve: int = Field(
        default=10, ge=0, description="retries on top of the share, so that the first failure of a quiet hour is retried"
    )


class Learning(Config):
    """Which recorded answers of models the cache uses again."""

    hours: float = Field(default=24, ge=0, description="how old an answer may be; 0: none is used again")
    confidence: Confidence = Field(default=0.7, description="minimum confidence")


class Chain(Config):
    """All tiers. `order` names endpoints and `cache`, `extractive`, `rules`, best first."""

    endpoints: tuple[Endpoint, ...] = ()
    order: tuple[str, ...] = ()
    priors: dict[Literal["cache", "extractive", "rules"], Confidence] = {"cache": 0.95, "rules": 0.4}
    answers: Answers = Answers()
    patience: float = Field(default=2, ge=0, description="seconds to wait for an endpoint while a worse tier is available")
    repairs: int = Field(default=1, ge=0, description="further attempts after output that cannot be used")
    support: float = Field(default=0.5, ge=0, le=1, description="share of the question's weight that a quoted sentence must hold")
    unknown_price: Price = Price(input=Decimal(5), output=Decimal(25))
    concurrency: int = Field(default=256, ge=1, description="attempts at once in a process, of all endpoints")
    circuits: Circuits = Circuits()
    retries: Retries = Retries()
    learning: Learning = Learning()
    _past_policy: str = PrivateAttr("")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """`answers` may be the path of a file. The default order is all endpoints, then the tiers without a model."""
        if isinstance(given, dict):
            if isinstance(given.get("answers"), str):
                given = given | {"answers": _yaml(Path(given["answers"]))}
            if not given.get("order"):
                names = (e["name"] if isinstance(e, dict) else e.name for e in given.get("endpoints", ()))
                given = given | {"order": (*names, *LOCAL_TIERS)}
        return given

    @model_validator(mode="after")
    def _named(self) -> Self:
        names = [endpoint.name for endpoint in self.endpoints]
        if len(names) != len(set(names)):
            raise ValueError("two endpoints have the same name")
        if len(self.order) != len(set(self.order)):
            raise ValueError("`order` names a tier twice")
        if unknown := set(self.order) - {*names, *LOCAL_TIERS}:
            raise ValueError(f"`order` names tiers that do not exist: {', '.join(sorted(unknown))}")
        return self

    @cached_property
    def by_name(self) -> dict[str, Endpoint]:
        return {endpoint.name: endpoint for endpoint in self.endpoints}

    @cached_property
    def learns(self) -> bool:
        return bool(self.endpoints and self.learning.hours and "cache" in self.order)

    @cached_property
    def _classed(self) -> dict[ModelClass, tuple[Endpoint, ...]]:
        ordered = [self.by_name[name] for name in self.order if name in self.by_name]
        classes: tuple[ModelClass, ...] = ("capable", "fast")
        return {wanted: tuple(sorted(ordered, key=lambda e: wanted not in e.classes)) for wanted in classes}

    def serving(self, wanted: ModelClass) -> tuple[Endpoint, ...]:
        """Endpoints of that class first, then the others: a lesser model is better than none."""
        return self._classed[wanted]

    @cached_property
    def _priors(self) -> dict[str, float]:
        """A fixed reply is no answer to the question: it never has more confidence than an answer of another tier."""
        found = {**{str(tier): prior for tier, prior in self.priors.items()}, **dict(self._endpoint_priors())}
        if "rules" in found:
            found["rules"] = min(found.values())
        return found

    def _endpoint_priors(self) -> Iterator[tuple[str, float]]:
        for place, name in enumerate(name for name in self.order if name in self.by_name):
            endpoint = self.by_name[name]
            small = next((prior for part, prior in MODEL_PRIORS.items() if part in endpoint.model.lower()), None)
            by_place = PRIORS[min(place, len(PRIORS) - 1)]
            given = small if endpoint.confidence is None else endpoint.confidence
            yield name, by_place if given is None else given

    def prior(self, tier: str) -> float | None:
        """Confidence in an answer of this tier that gives no confidence of its own."""
        return self._priors.get(tier)

    @cached_property
    def data(self) -> dict[str, JsonValue]:
        """All that a decision depends on: the provider of an endpoint but not its address; the priors that apply."""
        performers_own = {"url", "key_env", "takes_no"}
        data = self.model_dump(mode="json", exclude={"endpoints": {"__all__": performers_own}, "unknown_price": True})
        data["endpoints"] = [endpoint | {"confidence": self.prior(endpoint["name"])} for endpoint in data["endpoints"]]
        return data

    @cached_property
    def policy(self) -> str:
        """Names the rules and the data."""
        return self._past_policy or version_of(RULES, self.data)

    @classmethod
    def of_then(cls, policy: str, data: Mapping[str, Any]) -> Self:
        """The chain of a past policy, from its `data`. It cannot call an endpoint.

        Raises ValueError if today's code does not accept the data.
        """
        endpoints = [{"url": NO_ADDRESS} | endpoint for endpoint in data["endpoints"]]
        chain = cls.model_validate({**data, "endpoints": endpoints})
        chain._past_policy = policy
        return chain


def chain(settings: Settings) -> Chain:
    """The tiers of these settings: from a file, or one endpoint, or none.

    Raises ValueError or OSError, with the place of the mistake, if the file cannot be read as tiers.
    """
    if settings.gateway is not None:
        given = _yaml(settings.gateway)
        if isinstance(given.get("answers"), str):
            given["answers"] = str(settings.gateway.parent / given["answers"])
        return Chain.model_validate({"answers": _yaml(ANSWERS)} | given)
    endpoints = (
        [Endpoint(name="primary", url=settings.model_url, model=settings.model_name, key_env=MODEL_KEY)]
        if settings.model_url
        else []
    )
    return Chain.model_validate({"answers": _yaml(ANSWERS), "endpoints": endpoints})


def _yaml(path: Path) -> dict[str, Any]:
    try:
        given = read_yaml(path)
    except ValueError as bad:
        raise ValueError(f"{path}: {bad}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{path} is not a mapping")
    return given
