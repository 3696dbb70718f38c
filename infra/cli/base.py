"""What every command stands on: settings with the addresses of what runs, errors for people, one way to run async work."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from infra.cli import access, logins, screen
from infra.cli.loading import with_own
from infra.cli.problem import Problem
from infra.servers import MODEL_NAME, Addresses, Servers
from shared.eventstore.ports import EventStore
from shared.masking import mask
from shared.postgres_address import SETTING, BadAddress, address
from shared.settings import UNPROVEN, Settings

T = TypeVar("T")


NOTHING_RUNS = "Nothing is running: start everything with `hansard up`, or give addresses (HANSARD_KAFKA, HANSARD_POSTGRES)."


def local() -> Settings:
    """The settings as the environment gives them; addresses may be empty. Raises Problem where one is not valid."""
    try:
        settings = Settings()
        if dsn := settings.postgres.get_secret_value():
            address(dsn)
        if settings.unproven_identities:
            screen.warn(UNPROVEN)
        return settings
    except ValidationError as invalid:
        raise Problem(f"{'; '.join(map(_wrong, invalid.errors(include_url=False)))}.", code=2) from None
    except BadAddress as bad:
        raise Problem(f"{SETTING} is not valid: {bad}.", code=2) from None


def _wrong(error: ErrorDetails) -> str:
    """What is wrong with one setting. Never its value, which may be a secret."""
    if not error["loc"]:  # about several settings together, which it names
        return error["msg"].removeprefix("Value error, ")
    name, *places = error["loc"]
    where = f", item {places[0] + 1}" if places and isinstance(places[0], int) else ""
    return f"HANSARD_{str(name).upper()}{where} is not valid: {error['msg'].removeprefix('Value error, ')}"


def with_addresses(settings: Settings, found: Addresses) -> Settings:
    """The same settings, with the servers found where an address is empty."""
    own_model = found.model and not settings.model_url and not settings.gateway
    mask(found.postgres, found.postgres_owner, found.model)
    if not settings.kafka and found.kafka_security:
        login = {name: value for name, value in asdict(found).items() if name.startswith("kafka_")}
        settings = access.with_login(settings, login)
    own = {} if settings.postgres.get_secret_value() else {"postgres": found.postgres, "postgres_owner": found.postgres_owner}
    changes = {
        **{name: SecretStr(address) for name, address in own.items()},
        "kafka": settings.kafka or found.kafka,
        "model_url": settings.model_url or found.model,
        "model_name": settings.model_name or (MODEL_NAME if own_model else ""),
        "small_model": settings.small_model or bool(own_model),
    }
    return settings.model_copy(update=changes)


def environment(settings: Settings) -> dict[str, str]:
    """These settings' addresses, for processes that are started with them; never the owner's."""
    given = {
        "HANSARD_KAFKA": settings.kafka,
        "HANSARD_POSTGRES": settings.postgres.get_secret_value(),
        "HANSARD_MODEL_URL": settings.model_url,
        "HANSARD_MODEL_NAME": settings.model_name,
        "HANSARD_SMALL_MODEL": "true" if settings.small_model else "",
        "HANSARD_HOME": str(settings.home),
    }
    return {name: value for name, value in given.items() if value} | access.variables(settings)


def for_children(settings: Settings) -> dict[str, str]:
    """The same for the services that are started with them. They know those of your own by name and import none of their code,
    but for the one that they run."""
    return environment(settings) | {"HANSARD_SERVICES": "[]", "HANSARD_WORKERS": json.dumps(settings.workers)}


def for_service(settings: Settings, name: str) -> dict[str, str]:
    """What the process of this service alone gets beside `for_children`: its own logins."""
    return access.variables(settings, name) | {"HANSARD_POSTGRES": logins.of(settings, name)}


def addressed(settings: Settings, *, administrator: bool = False) -> Settings:
    """The settings with the addresses of what runs in their home, and the login of the people who operate it, or of the
    administrator."""
    found = with_addresses(settings, Servers(settings.home).found() or Addresses())
    return access.as_administrator(found) if administrator else access.acting_as(found)


def running(*, kafka: bool = False, postgres: bool = False, administrator: bool = False) -> Settings:
    """Settings with the addresses of what runs, and your own services loaded. `administrator`: for what changes Kafka itself, or
    publishes where only services do. Raises Problem where one that is needed is missing."""
    settings = addressed(local(), administrator=administrator)
    missing = [
        name
        for name, needed, there in (
            ("Kafka", kafka, settings.kafka),
            ("Postgres", postgres, settings.postgres.get_secret_value()),
        )
        if needed and not there
    ]
    if len(missing) == kafka + postgres and missing:
        raise Problem(NOTHING_RUNS)
    if missing:
        raise Problem(f"{' and '.join(missing)} is not running: `hansard up`, or set HANSARD_{missing[0].upper()}.")
    return with_own(settings)


@contextlib.asynccontextmanager
async def record(settings: Settings) -> AsyncIterator[EventStore]:
    """The event store, opened and closed. Raises Problem when it cannot be reached."""
    from shared.eventstore.postgres import PostgresEventStore

    dsn, schema = settings.postgres.get_secret_value(), settings.postgres_schema
    with store_reached():
        store = await PostgresEventStore.open(dsn, schema=schema, pooler=settings.postgres_pooler)
        await store.ping()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def known_record(settings: Settings) -> AsyncIterator[EventStore | None]:
    """The event store, or None if no address of one is known: a client may have that of Kafka alone. Raises Problem."""
    if not settings.postgres.get_secret_value():
        yield None
        return
    async with record(settings) as store:
        yield store


@contextlib.contextmanager
def store_reached() -> Iterator[None]:
    """Turns it into a Problem where Postgres cannot be reached."""
    from shared.eventstore.model import StoreUnavailable

    try:
        yield
    except (StoreUnavailable, OSError) as away:
        raise Problem(f"Postgres does not answer ({away}). `hansard doctor` looks closer.") from away


@contextlib.contextmanager
def as_owner() -> Iterator[None]:
    """For what only the owner of the tables may do. Raises Problem where Postgres refuses it, or cannot be reached."""
    from infra.migrations import MigrationError
    from shared.eventstore.model import StoreUnavailable
    from shared.eventstore.postgres.admin import NotAllowed

    try:
        with store_reached():
            try:
                yield
            except StoreUnavailable as away:
                raise away.__cause__ if isinstance(away.__cause__, NotAllowed) else away from None
    except NotAllowed as refused:
        raise Problem(
            f"Postgres refuses this ({refused}): it needs the owner of the tables, and services are none."
            " Name the owner's address in HANSARD_POSTGRES_OWNER."
        ) from refused
    except MigrationError as impossible:
        raise Problem(f"{impossible}.") from impossible


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs async work to its end; Ctrl-C ends it quietly."""
    return asyncio.run(work)


def terminal_in() -> bool:
    """Whether a person sits at standard input."""
    try:
        return os.isatty(0)
    except OSError:
        return False
