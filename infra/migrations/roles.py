"""The role of each service: made, and given the rights of `shared.eventstore.postgres.rights`.

What is there already is left alone, so a second run locks no table. Nothing is taken away: another installation may have services
that this one does not know.
"""

from collections.abc import Iterator, Mapping, Sequence

from contracts.catalog import Topics
from shared.eventstore.postgres.admin import AlreadyThere, Connection, NotAllowed
from shared.eventstore.postgres.logins import Login, make_login
from shared.eventstore.postgres.rights import (
    Policy,
    grants,
    policies,
    quoted,
    rights,
    role_of,
    shared_policies,
    with_roles,
    writer_of,
)

_GRANTED = """
select r.rolname, c.relname, lower(a.privilege_type), '*'
  from pg_class c, aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
 where c.relnamespace = $1::text::regnamespace and r.rolname = any($2)
 union all
select r.rolname, c.relname, lower(a.privilege_type), t.attname
  from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a join pg_roles r on r.oid = a.grantee
 where c.relnamespace = $1::text::regnamespace and r.rolname = any($2)"""
_POLICIES = """
select c.relname, p.polname, obj_description(p.oid, 'pg_policy')
  from pg_policy p join pg_class c on c.oid = p.polrelid where c.relnamespace = $1::text::regnamespace"""
_MAY_USE = """
select r.rolname from pg_roles r
 where r.rolname = any($2) and has_schema_privilege(r.oid, $1::text::regnamespace, 'usage')
   and has_function_privilege(r.oid, ($1 || '.oldest_transaction()')::regprocedure, 'execute')"""


async def provide(connection: Connection, schema: str, topics: Topics) -> None:
    """Makes what is missing, in the caller's transaction. Roles that this user may not make are left to an administrator: the
    services work without them, by the role with the rights of all."""
    place, names = quoted(schema), with_roles(topics)
    await connection.execute(f"set local search_path to {place}")
    if await connection.fetchval("select to_regprocedure($1) is null", f"{place}.oldest_transaction()"):
        return  # a schema that is migrated up to 0001 only
    there = await _made(connection, {name: role_of(schema, name) for name in names})
    roles = list(there.values())
    granted = set(map(tuple, await connection.fetch(_GRANTED, place, roles)))
    usable = {row[0] for row in await connection.fetch(_MAY_USE, place, roles)}
    known = set(map(tuple, await connection.fetch(_POLICIES, place)))
    wanted = [policy for name in there for policy in policies(schema, name, topics)]
    if await _exists(connection, writer_of(schema)):
        wanted += shared_policies(schema)
    for sql in (*_grants(place, there, topics, granted, usable), *_new(wanted, known)):
        await connection.execute(sql)


def _grants(
    place: str, there: Mapping[str, str], topics: Topics, granted: set[tuple[object, ...]], usable: set[str]
) -> Iterator[str]:
    for service, role in there.items():
        if role not in usable:
            yield f"grant usage on schema {place} to {quoted(role)}"
            yield f"grant execute on function {place}.oldest_transaction() to {quoted(role)}"
        for table, right in rights(service, topics).items():
            if missing := [one for one in right.granted() if (role, table, *one) not in granted]:
                yield grants(f"{place}.{table}", missing, role)


def _new(wanted: Sequence[Policy], known: set[tuple[object, ...]]) -> Iterator[str]:
    names = {(table, name) for table, name, _ in known}
    for policy in wanted:
        if (policy.table, policy.name, policy.comment) not in known:
            yield policy.sql(again=(policy.table, policy.name) in names)


async def _made(connection: Connection, roles: Mapping[str, str]) -> dict[str, str]:
    """The role of each service, as far as it is there or may be made."""
    there: dict[str, str] = {}
    for service, role in roles.items():
        if not await _exists(connection, role):
            try:
                async with connection.transaction():
                    await connection.execute(f"create role {quoted(role)} nologin")
            except NotAllowed:
                continue
            except AlreadyThere:
                pass  # a migration of this schema in another database of the cluster has just made it
        there[service] = role
    return there


async def let_in(connection: Connection, login: Login, roles: Sequence[str], *, renew: bool = False) -> None:
    """Makes the login a member of these roles, and makes it where there is none. Raises NotAllowed, UnknownRole."""
    async with connection.transaction():
        await make_login(connection, login, renew=renew)
        for role in roles:
            if not await connection.fetchval("select pg_has_role($1, $2, 'usage')", login.name, role):
                await connection.execute(f"grant {quoted(role)} to {login.quoted}")


async def _exists(connection: Connection, role: str) -> bool:
    return bool(await connection.fetchval("select exists (select from pg_roles where rolname = $1)", role))
