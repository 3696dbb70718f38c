"""The logins of a deployment's services in tests: services apart have one each, as where `hansard up` starts them."""

from infra.migrations import migrate
from infra.servers.passwords import service_login
from shared.eventstore.postgres.rights import with_roles
from shared.settings import Settings


async def migrated(settings: Settings, owner: str) -> None:
    """Brings the schema to the form of today's code, with a login for each service."""
    topics, service = settings.topics, settings.postgres.get_secret_value()
    own = {name: service_login(service, name) for name in with_roles(topics)}
    await migrate(owner, settings.postgres_schema, service=service, topics=topics, logins=own, renew=True)


def login(settings: Settings, *names: str) -> dict[str, str]:
    """What the process of one service gets; of others, nothing: they share the login for all."""
    if len(names) > 1 or names[0] not in with_roles(settings.topics):
        return {}
    return {"HANSARD_POSTGRES": service_login(settings.postgres.get_secret_value(), names[0])}
