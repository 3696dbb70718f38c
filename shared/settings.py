"""Settings, from the environment: `HANSARD_KAFKA=broker:9092 HANSARD_POSTGRES=postgresql://… hansard serve router`."""

import json
import os
import re
import secrets
import socket
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.catalog import OURS, REVIEWS, SERVICES, Topics
from hansard.service import Service
from hansard.tasks import PerformTask
from shared.content.store import place_at
from shared.identity.addresses import checked_address
from shared.masking import mask, masked

SECRET_FILES = Path("/run/secrets")  # where Docker and others put files with secrets: /run/secrets/hansard_model_key

REVIEWER_TOPIC = re.compile(rf"{re.escape(REVIEWS)}\.[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}\Z")
UNPROVEN = "identities are not proven (HANSARD_UNPROVEN_IDENTITIES): whoever sends a review or a request may claim any name."
FUSED = "+"  # between the names of services of one process: router+planner
SMALLEST_MESSAGE = 32 * 1024  # bytes: a dead letter without the content of its message always has room


class Settings(BaseSettings):
    """Every setting is an environment variable with the prefix `HANSARD_`, or else a file of that name in `SECRET_FILES`."""

    model_config = SettingsConfigDict(
        env_prefix="HANSARD_",
        env_file=None,
        secrets_dir=SECRET_FILES if os.access(SECRET_FILES, os.R_OK | os.X_OK) else None,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # Who is who
    environment: Literal["development", "production"] = "production"
    unproven_identities: bool = Field(
        default=False,
        description="believe that whoever sends a review or a request is who they claim to be; refused in production",
    )

    # The HTTP door: `hansard serve edge`
    edge: str = Field(default="", description="host:port of the HTTP door for reviews and requests; empty: it serves nothing")
    oidc_issuer: str = Field(default="", description="the OpenID provider whose tokens prove reviewers: its issuer, an address")
    oidc_audience: str = Field(default="", description="for whom its tokens must be issued: this deployment's client id")
    oidc_keys: str = Field(default="", description="address of its keys; empty: as its configuration names it")
    oidc_algorithms: Annotated[tuple[str, ...], NoDecode] = ("RS256", "ES256")

    # Kafka
    kafka: str = Field(default="", description="bootstrap servers; empty: a broker that is started on this machine")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_username: str = ""
    kafka_password: SecretStr = SecretStr("")
    kafka_ca: Path | None = Field(default=None, description="PEM file of the CA that signed the brokers' certificates")
    kafka_cert: Path | None = Field(default=None, description="PEM file of the client's certificate")
    kafka_key: Path | None = Field(default=None, description="PEM file of the client's key")
    topic_prefix: str = Field(default="", description="prefix of every topic and consumer group")
    reviewer_topics: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="doors for reviews of one person each, to which that person's Kafka principal alone may write:"
        " `approvals.reviews.alice`",
    )
    partitions: int = Field(
        default_factory=lambda: min(6, max(2, os.cpu_count() or 1)),
        ge=1,
        description="partitions of each topic; at most so many processes of a service share its messages. Not given: one for"
        " each processor of this machine, 2 to 6; existing topics keep theirs. Given: topics with fewer get more",
    )
    replication: int = Field(
        default=0,
        ge=0,
        description="replication factor of a topic that is created; 0: the number of brokers, at most 3",
    )

    # Postgres
    postgres: SecretStr = Field(
        default=SecretStr(""),
        description="DSN, of a login without ownership: services need no more than SCHEMA_writer. Empty: a server that is"
        " started on this machine",
    )
    postgres_owner: SecretStr = Field(
        default=SecretStr(""), description="DSN of the tables' owner, for migrations and rebuilds alone; empty: that of services"
    )
    postgres_logins: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict,
        description='DSN of each service\'s own login, as JSON: `{"router": "postgresql://…", …}`; that of a process which runs'
        " several by `router+planner`. A service that is not named uses HANSARD_POSTGRES",
    )
    postgres_schema: str = Field(default="hansard", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    postgres_pool: int = Field(default=4, ge=1, description="connections of a process")
    content: str = Field(
        default="",
        description="where contents larger than `content_postgres_bytes` are kept: a folder, as an absolute path, or"
        " s3://bucket/prefix; empty: nowhere",
    )
    content_postgres_bytes: int = Field(default=16 << 20, ge=0, le=1 << 28, description="the largest content in Postgres")
    postgres_pooler: bool = Field(
        default=False, description="true behind a pooler in transaction mode: no prepared statements are used"
    )

    # The model
    model_url: str = Field(
        default="", description="OpenAI-compatible address; empty: a small model that is started on this machine"
    )
    model_name: str = ""
    model_key: SecretStr = SecretStr("")
    small_model: bool = Field(default=False, description="prompts fit a context of 4,096 tokens, as the small model of ours has")
    gateway: Path | None = Field(default=None, description="YAML file with the gateway's tiers; overrides the model settings")

    stream_tokens: bool = Field(default=False, description="publish answers piece by piece while the model writes them")

    # Extensions
    roles: Path | None = Field(default=None, description="folder with more roles (YAML)")
    plans: Path | None = Field(default=None, description="folder with more plans (YAML)")
    approvals: Path | None = Field(
        default=None, description="YAML file with what your policy of approvals changes in ours; empty: ours alone"
    )
    services: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="services of your own, started with ours: `worker.py:service`, `package.module:service`, …"
    )
    workers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="names of services of your own that take tasks and are started elsewhere"
    )
    outside_workers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="names of workers that are programs of their own, in FastStream or any language: they do not store what"
        " they publish, so their answers come in at a door",
    )
    _loaded: tuple[Service[Any], ...] = PrivateAttr(default=())

    # Executors
    ledger: Path | None = Field(
        default=None, description="SQLite file with the ledger's entries; not given: `ledger/book.sqlite3` in `home`"
    )

    # Who is told
    webhooks: Path | None = Field(default=None, description="YAML file with the endpoints to which webhooks are sent")

    # A process
    secure: bool | None = Field(
        default=None,
        description="whether a Kafka that is started on this machine has TLS, passwords and access rules, and a Postgres TLS; not"
        " given: as before in that folder, at first not",
    )
    home: Path = Field(default=Path(".hansard"), description="folder for data and logs of the servers that are started")
    instance: str = Field(
        default="",
        description="Kafka's group.instance.id: a name of this process that stays the same after a restart, so that it keeps"
        " its partitions; `@host`: the host's name; empty: a new member of its group at each start",
    )
    http: str = Field(default="", description="host:port of /health, /ready and /metrics; empty: they are not served")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"
    log_payloads: bool = Field(
        default=False, description="let logs hold texts of errors, and what libraries tell of what they send and receive"
    )
    otlp: str = Field(default="", description="OTLP/HTTP address that traces are sent to; empty: no traces")

    # Limits
    batch: int = Field(default=500, ge=1, description="maximum messages in one batch")
    max_request_bytes: int = Field(
        default=256 * 1024, ge=1024, description="maximum size of a message from outside: its key, headers and body together"
    )
    max_message_bytes: int = Field(default=900 * 1024, ge=SMALLEST_MESSAGE, description="maximum body of a message of a service")
    max_answer_bytes: int = Field(default=4 << 20, ge=1024, description="maximum body of a model's answer")
    workflow_seconds: float = Field(default=600, gt=0, description="deadline of a workflow where the caller gives none")
    cache_streams: int = Field(default=20_000, ge=1, description="maximum streams whose state a process caches")
    lease_seconds: float = Field(
        default=5, gt=0, description="after so long without a heartbeat, a process's attempts are taken over"
    )
    crash_attempts: int = Field(
        default=3, ge=1, description="a message is a dead letter after the process ended so often while processing it"
    )

    @field_validator("unproven_identities")
    @classmethod
    def _never_in_production(cls, given: bool, info: ValidationInfo) -> bool:
        if given and info.data.get("environment") != "development":
            raise ValueError(
                "in production nobody is believed to be who they claim to be; unset it, and register people with"
                " `hansard people add`, or set HANSARD_ENVIRONMENT=development where nothing is at stake"
            )
        return given

    @field_validator("oidc_issuer", "oidc_keys")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        return checked_address(url) if url else ""

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError("HANSARD_OIDC_ISSUER is given and HANSARD_OIDC_AUDIENCE, for whom its tokens must be, is not")
        return self

    @field_validator("reviewer_topics")
    @classmethod
    def _of_reviews(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not REVIEWER_TOPIC.match(name):
                raise ValueError(f"{name[:80]!r} is no name of such a topic: {REVIEWS}.NAME, of letters, digits, - and _")
        return tuple(dict.fromkeys(names))

    @field_validator(
        "kafka_ca", "kafka_cert", "kafka_key", "gateway", "roles", "plans", "approvals", "ledger", "webhooks", mode="before"
    )
    @classmethod
    def _none_is_given(cls, given: object) -> object:
        """An empty variable, as Compose passes one on, names no file; a path it would be the current folder."""
        return None if given == "" else given

    @field_validator("services", "workers", "outside_workers", "reviewer_topics", "oidc_algorithms", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """A JSON list, or names with commas between them."""
        if not isinstance(given, str):
            return given
        if not given.lstrip().startswith("["):
            return [part.strip() for part in given.split(",") if part.strip()]
        try:
            return json.loads(given)
        except (ValueError, RecursionError) as broken:
            raise ValueError(
                f"it begins as a JSON list and is none ({broken}); or write names with commas between them"
            ) from None

    @field_validator("postgres_logins", mode="before")
    @classmethod
    def _by_service(cls, given: object) -> object:
        """A JSON object. Never told in an error: it holds passwords."""
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given or "{}")
        except (ValueError, RecursionError):
            raise ValueError('it must be JSON: {"router": "postgresql://…", "planner": "postgresql://…"}') from None

    @field_validator("content")
    @classmethod
    def _is_place(cls, content: str) -> str:
        place_at(content)
        return content

    @model_validator(mode="after")
    def _owner_of_what_is_given(self) -> Self:
        if self.postgres.get_secret_value():
            return self
        for name, given in (("OWNER", self.postgres_owner.get_secret_value()), ("LOGINS", self.postgres_logins)):
            if given:
                raise ValueError(f"HANSARD_POSTGRES_{name} is given and HANSARD_POSTGRES, the address for services, is not")
        return self

    def model_post_init(self, context: Any, /) -> None:
        mask(*self.secrets())

    def secrets(self) -> list[str]:
        """Every value that must not be shown; of an address its password alone matters, and `mask` finds it."""
        given = [value for value in self.__dict__.values() if isinstance(value, SecretStr)]
        given += self.postgres_logins.values()
        return [*(value.get_secret_value() for value in given), self.model_url, self.otlp]

    def __repr__(self) -> str:
        return masked(super().__repr__())

    __str__ = __repr__

    @property
    def owner(self) -> str:
        """The DSN of the tables' owner: that of services where no other is given."""
        return self.postgres_owner.get_secret_value() or self.postgres.get_secret_value()

    @property
    def logins(self) -> dict[str, str]:
        """The DSN of each login that is not for all services, by the services that it is for."""
        return {services: dsn.get_secret_value() for services, dsn in self.postgres_logins.items()}

    def postgres_of(self, *services: str) -> str:
        """The DSN by which a process that runs these services connects: that of its own login, or of the one for all."""
        own = (dsn for names, dsn in self.logins.items() if {*names.split(FUSED)} == {*services})
        return next(own, self.postgres.get_secret_value())

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @property
    def ours(self) -> tuple[str, ...]:
        """The services of ours that this deployment runs: with the HTTP door, where it has an address."""
        return OURS if self.edge else SERVICES

    @property
    def ledger_file(self) -> Path:
        return (self.ledger or self.home / "ledger" / "book.sqlite3").expanduser().absolute()

    @property
    def instance_id(self) -> str:
        """Kafka's group.instance.id of this process, "" for none. No two running processes of a service may share it."""
        return socket.gethostname() if self.instance == "@host" else self.instance

    @cached_property
    def process(self) -> str:
        """A name that is unique to this run of this process."""
        return f"{self.instance_id or socket.gethostname()}-{secrets.token_hex(6)}"

    @property
    def loaded(self) -> tuple[Service[Any], ...]:
        """The services of your own that this process has loaded."""
        return self._loaded

    def with_services(self, loaded: Sequence[Service[Any]]) -> Self:
        """The same settings, where the catalogue has the topics and kinds of these, and plans may name those that take tasks."""
        takers = (service.name for service in loaded if PerformTask in service.receives)
        there = {service.name: service for service in (*self._loaded, *loaded)}
        copy = self.model_copy(update={"workers": tuple(dict.fromkeys((*self.workers, *takers)))})
        copy._loaded = tuple(there.values())
        copy.__dict__.pop("topics", None)
        return copy

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.workers, self.outside_workers, self._loaded, self.reviewer_topics)
