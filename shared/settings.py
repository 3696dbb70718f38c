"""Settings, from the environment: `HANSARD_KAFKA=broker:9092 HANSARD_POSTGRES=postgresql://… hansard serve router`."""

import json
import os
import secrets
import socket
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.catalog import Topics
from hansard.service import Service
from hansard.tasks import PerformTask


class Settings(BaseSettings):
    """Every setting is an environment variable with the prefix `HANSARD_`."""

    model_config = SettingsConfigDict(env_prefix="HANSARD_", env_file=None, extra="ignore", frozen=True)

    # Kafka
    kafka: str = Field(default="", description="bootstrap servers; empty: a broker of our own on this machine")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_username: str = ""
    kafka_password: SecretStr = SecretStr("")
    kafka_ca: Path | None = Field(default=None, description="PEM file of the authority that signed the brokers' certificates")
    kafka_cert: Path | None = None
    kafka_key: Path | None = None
    topic_prefix: str = Field(default="", description="put before every topic and consumer group")
    partitions: int = Field(
        default_factory=lambda: min(6, max(2, os.cpu_count() or 1)),
        ge=1,
        description="of each topic, when it is created; so many processes of a service share its work. Not given: as many"
        " as this machine has processors, 2 to 6, or as many as the topics have that are there. Given: those with fewer get more",
    )
    replication: int = Field(
        default=0,
        ge=0,
        description="of each topic, when it is created; 0: as many as there are brokers, at most 3",
    )

    # Postgres
    postgres: SecretStr = Field(default=SecretStr(""), description="DSN; empty: a server of our own on this machine")
    postgres_schema: str = Field(default="hansard", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    postgres_pool: int = Field(default=4, ge=1)
    postgres_pooler: bool = Field(default=False, description="a transaction pooler stands between: no prepared statements")

    # The model
    model_url: str = Field(default="", description="OpenAI-compatible address; empty: a small model of our own on this machine")
    model_name: str = ""
    model_key: SecretStr = SecretStr("")
    gateway: Path | None = Field(
        default=None, description="YAML file with the tiers of the gateway; overrides the model settings"
    )

    stream_tokens: bool = Field(default=False, description="answers go to whoever watches while they are being written")

    # What users add
    roles: Path | None = Field(default=None, description="folder with further roles (YAML)")
    plans: Path | None = Field(default=None, description="folder with further plans (YAML)")
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

    # A process
    home: Path = Field(default=Path(".hansard"), description="data and logs of the servers that we start")
    instance: str = Field(
        default="",
        description="name of this process among those of its service, stable over a restart: it goes on where it was at once;"
        " `@host`: the host's name; empty: a new member of its group each time",
    )
    http: str = Field(default="", description="host:port for /health, /ready and /metrics; empty: not served")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"
    log_payloads: bool = Field(default=False, description="write message bodies to the log; they may hold personal data")
    otlp: str = Field(default="", description="OTLP/HTTP address for traces; empty: not traced")

    # Limits
    batch: int = Field(default=500, ge=1, description="messages decided together at most")
    max_request_bytes: int = Field(default=256 * 1024, ge=1024, description="body of a message at a door")
    max_message_bytes: int = Field(default=900 * 1024, ge=1024, description="body of a message of ours")
    workflow_seconds: float = Field(default=600, gt=0, description="a workflow's deadline where the caller gives none")
    cache_streams: int = Field(default=20_000, ge=1, description="folded states that a process keeps")
    lease_seconds: float = Field(default=5, gt=0, description="a performer that falls silent for so long is taken over")
    crash_attempts: int = Field(default=3, ge=1, description="a message during which the process ended so often is a dead letter")

    @field_validator("services", "workers", "outside_workers", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """A JSON list, or names with commas between them."""
        if not isinstance(given, str):
            return given
        return (
            json.loads(given) if given.lstrip().startswith("[") else [part.strip() for part in given.split(",") if part.strip()]
        )

    @field_validator("home")
    @classmethod
    def _whole(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @property
    def member(self) -> str:
        """The name of this process among those of its service; no two that run may have the same."""
        return socket.gethostname() if self.instance == "@host" else self.instance

    @cached_property
    def process(self) -> str:
        """The name of this run of this process, unlike any other's."""
        return f"{self.member or socket.gethostname()}-{secrets.token_hex(6)}"

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
        return Topics(self.workers, self.outside_workers, self._loaded)
