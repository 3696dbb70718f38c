"""A schema with a login for each service, rows of every service, and what a role does with them."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

import asyncpg

from contracts.catalog import OURS, Topics
from infra.migrations import migrate
from shared.eventstore.postgres.rights import doors_of, with_roles
from tests.conftest import _drop
from tests.edge.store_kit import EARLIER

# A column that an update changes, where one may be changed; else the first of the row.
CHANGED = {"streams": "published", "wake_ups": "holder", "attempts": "attempts", "instances": "seen"}
CHANGED |= {"epochs": "compared", "content": "at", "answers": "at", "api_keys": "last_used_at"}
FUSED = "router+planner"


def rows_of(service: str, door: str, n: int) -> dict[str, dict[str, object]]:
    """A new row of this service for each table, as far as the columns that a service may give."""
    at, other, workflow = EARLIER, secrets.token_hex(8), f"wf-{secrets.token_hex(6)}"
    stream = {"at": at, "tenant": "default", "workflow": workflow, "stream": f"{service}/{n}"}
    id_ = f"00000000-0000-4000-8000-{secrets.token_hex(6)}"
    nothing = {"hash": b"", "kind": "k"}
    return {
        "streams": stream | dict.fromkeys(("processed", "version", "processed_before", "version_before", "published"), 1),
        "inbox": stream | nothing | {"causation_id": id_, "sequence": 1, "version_before": 0, "attempt": 1, "dead": False}
        | {"code": "c", "policy": "1"},
        "messages": stream | nothing | {"id": id_, "causation_id": id_, "version": 1, "topic": "t", "traceparent": ""}
        | {"data": "{}"},
        "wake_ups": stream | {"wanted": at, "service": service, "holder": ""},
        "attempts": {"offset": n, "partition": 1, "attempts": 1, "at": at, "service": service, "topic": other},
        "instances": {"began": at, "seen": at, "service": service, "instance": other, "process": other},
        "policies": {"service": service, "version": other, "data": "{}"},
        "door_messages": {"at": at, "broker_at": at, "offset": n, "causation_id": id_, "partition": 1, "tenant": "default"}
        | {"workflow": workflow, "topic": door, "headers": "[]"},
        "door_identities": {"tenant": "default", "causation_id": id_, "hash": b"", "workflow": workflow},
        "content": {"tenant": other, "sha256": sha256(b"").digest(), "media_type": "text/plain", "data": b""},
        "epochs": {"epoch": other, "identity": ""},
        "migrations": {"name": other, "hash": ""},
        "task_key": {"key": b""},
        "api_keys": {"id": other, "tenant": "default", "name": "n", "created_by": "o", "kinds": [], "hash": bytes(32)},
        "answers": {"at": at, "tenant": other, "key": b"", "workflow": workflow, "stream": f"{service}/{n}"},
    }  # fmt: skip


@dataclass
class Roles:
    """A schema with rows of every service, and a connection by a login of each role; "" is the role with the rights of all."""

    schema: str
    topics: Topics
    owner: asyncpg.Connection
    dsn: dict[str, str]
    by: dict[str, asyncpg.Connection]

    def door(self, service: str) -> str:
        """One that this service consumes; of another: one that no other consumes, if there is one."""
        mine = doors_of(service, self.topics)
        alone = [door for door in mine if all(door not in doors_of(one, self.topics) for one in OURS if one != service)]
        return (alone or list(mine) or ["none"])[0]

    async def put(self, connection: asyncpg.Connection, table: str, row: Mapping[str, object]) -> None:
        columns, places = ", ".join(f'"{name}"' for name in row), ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await connection.execute(f"insert into {table} ({columns}) values ({places})", *row.values())

    async def there(self, service: str, table: str, n: int) -> tuple[str, list[object]]:
        """A row of this service that is there, as a condition and its arguments."""
        row = rows_of(service, self.door(service), n)[table]
        await self.put(self.owner, table, row)
        known = {name: value for name, value in row.items() if name not in ("data", "headers", "outcome")}
        return " and ".join(f'"{name}" = ${m}' for m, name in enumerate(known, 1)), list(known.values())

    async def try_(self, service: str, table: str, operation: str, of: str) -> str:
        """`done`, `nothing` (no row was reached) or `refused`; nothing of it stays."""
        connection, n = self.by[service], secrets.randbelow(2**30)
        where, arguments = await self.there(of, table, n) if operation in ("select", "update", "delete") else ("", [])
        transaction = connection.transaction()
        await transaction.start()
        try:
            if operation == "insert":
                await self.put(connection, table, rows_of(of, self.door(of), n)[table])
                return "done"
            if operation == "truncate":
                await connection.execute(f"truncate {table}")
                return "done"
            if operation == "select":
                return (
                    "done" if await connection.fetchval(f"select count(*) from {table} where {where}", *arguments) else "nothing"
                )
            column = CHANGED.get(table, where.split('"')[1])
            what = f'update {table} set "{column}" = "{column}"' if operation == "update" else f"delete from {table}"
            return "nothing" if (await connection.execute(f"{what} where {where}", *arguments)).endswith(" 0") else "done"
        except asyncpg.InsufficientPrivilegeError:
            return "refused"
        finally:
            await transaction.rollback()


@asynccontextmanager
async def roles(owner_dsn: str, service_dsn: str) -> AsyncIterator[Roles]:
    """With a worker of a user's own, `counter`, and a process of router and planner; `far` is a worker outside."""
    name, topics = f"test_{secrets.token_hex(6)}", Topics(workers=("counter",), outside=("far",))
    parts = urlsplit(owner_dsn)
    host, known = parts.netloc.rpartition("@")[2], {}
    users = {services: f"{name}_{services.replace('+', '.')}" for services in (*with_roles(topics), FUSED)}
    for services, user in users.items():
        known[services] = parts._replace(netloc=f"{user}:{secrets.token_hex(8)}@{host}").geturl()
    await migrate(owner_dsn, name, service=service_dsn, topics=topics, logins=known)
    dsn = {"": service_dsn, **known}
    async with AsyncExitStack() as stack:
        owner = await asyncpg.connect(owner_dsn, server_settings={"search_path": name})
        stack.push_async_callback(owner.close)
        stack.push_async_callback(_drop, owner_dsn, name)
        for user in users.values():
            stack.push_async_callback(owner.execute, f'drop role "{user}"')
        by = {}
        for services, address in dsn.items():
            by[services] = await asyncpg.connect(address, server_settings={"search_path": name})
            stack.push_async_callback(by[services].close)
        yield Roles(name, topics, owner, dsn, by)
