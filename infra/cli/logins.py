"""The logins by which services reach Postgres: who has one of its own, and how it is made."""

from pydantic import SecretStr

from contracts.catalog import OURS
from infra.servers.passwords import service_login
from infra.servers.postgres import is_of
from shared.settings import FUSED, Settings


def of(settings: Settings, *services: str) -> str:
    """The DSN by which a process of these services connects: as HANSARD_POSTGRES_LOGINS has it; where the server was started in
    this home, that of a login of its own; else the one for all."""
    if not settings.logins and _is_ours(settings):
        return service_login(settings.postgres.get_secret_value(), *services)
    return settings.postgres_of(*services)


def every(settings: Settings) -> dict[str, str]:
    """The DSN of each login that is not for all services, by the services that it is for."""
    from shared.eventstore.postgres.rights import with_roles

    if not settings.logins and _is_ours(settings):
        return {name: of(settings, name) for name in with_roles(settings.topics)}
    return settings.logins


async def migrated(settings: Settings, *fused: str) -> list[str]:
    """Migrates the schema, and makes the roles of services and their logins; also one for a process of these services. Returns
    what was applied. Raises as `infra.migrations.migrate` does."""
    from infra.migrations import migrate

    more = {FUSED.join(fused): of(settings, *fused)} if fused else {}
    return await migrate(
        settings.owner,
        settings.postgres_schema,
        service=settings.postgres.get_secret_value(),
        topics=settings.topics,
        logins=every(settings) | more,
        renew=_is_ours(settings),
    )


async def admit(settings: Settings, *services: str) -> Settings:
    """The settings of a process of these services, with its login. On this machine it gets one where it has none yet: several
    services in one process, or one that was not there when everything was started."""
    own = of(settings, *services)
    if _is_ours(settings) and settings.postgres_owner.get_secret_value() and (len(services) > 1 or services[0] not in OURS):
        await migrated(settings, *services)
    return settings.model_copy(update={"postgres": SecretStr(own), "postgres_owner": SecretStr(""), "postgres_logins": {}})


def _is_ours(settings: Settings) -> bool:
    return is_of(settings.home, settings.postgres.get_secret_value())
