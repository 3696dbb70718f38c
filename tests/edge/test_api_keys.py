"""API keys on a real Postgres: made by the command, seen and used by services, which can neither make nor change one."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from contracts.control import CancelWorkflow
from contracts.requests import SubmitRequest
from infra.cli import app
from infra.cli.problem import Problem
from shared.eventstore.postgres import PostgresEventStore
from shared.identity.api_keys import BadApiKey, known


@pytest.fixture(autouse=True)
def operator(postgres_dsn: str, service_dsn: str, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"POSTGRES": service_dsn, "POSTGRES_OWNER": postgres_dsn, "POSTGRES_SCHEMA": schema, "HOME": str(tmp_path)}
    for name, value in given.items():
        monkeypatch.setenv(f"HANSARD_{name}", value)


async def typed(*words: str) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, app, ["keys", *words], env={"COLUMNS": "200"})
    if isinstance(done.exception, Problem):
        raise done.exception
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return done.stdout


async def test_a_key_is_shown_once_stored_as_a_hash_and_its_use_is_shown(
    store: PostgresEventStore, raw: asyncpg.Connection
) -> None:
    text = (await typed("add", "nightly import", "--tenant", "acme")).strip()
    secret = text.rpartition("_")[2]
    assert secret not in str(await raw.fetch("select * from api_keys")) + await typed("list", "--tenant", "acme")
    listed = json.loads(await typed("list", "--tenant", "acme", "--json"))
    assert (listed["name"], listed["kinds"], listed["last_used_at"]) == ("nightly import", [SubmitRequest.kind], None)
    assert "never" in await typed("list", "--tenant", "acme")
    key = await known(text, store.api_keys, store.now)
    assert (key.tenant, key.id) == ("acme", listed["id"])
    assert json.loads(await typed("list", "--tenant", "acme", "--json"))["last_used_at"]
    assert "has no keys" in await typed("list")


async def test_a_revoked_key_counts_nowhere(store: PostgresEventStore) -> None:
    made = json.loads(await typed("add", "a", "--kind", "cancel", "--kind", SubmitRequest.kind, "--json"))
    assert made["kinds"] == [CancelWorkflow.kind, SubmitRequest.kind]
    assert "is revoked" in await typed("revoke", made["id"])
    with pytest.raises(BadApiKey):
        await known(made["key"], store.api_keys, store.now)
    assert "revoked 2" in await typed("list")
    for words in (("revoke", made["id"]), ("revoke", "0" * 16), ("revoke", made["id"], "--tenant", "acme")):
        with pytest.raises(Problem, match="has no key"):
            await typed(*words)


@pytest.mark.parametrize("kind", ["review", "hansard.approval.review.v1", "approved", "redrive", "no-such-kind", ""])
async def test_no_key_is_made_for_what_needs_a_person_or_comes_from_services(kind: str) -> None:
    with pytest.raises(Problem, match="--kind"):
        await typed("add", "a", "--kind", kind)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 257])
async def test_a_key_has_a_name(name: str) -> None:
    with pytest.raises(Problem, match="needs a name"):
        await typed("add", name)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into api_keys (id, tenant, name, created_by, kinds, hash) values ('x', 't', 'n', 'b', '{}', sha256('x'))",
        "update api_keys set revoked_at = null",
        "update api_keys set hash = sha256('mine')",
        "update api_keys set tenant = 'acme'",
        "update api_keys set kinds = '{}'",
        "delete from api_keys",
        "truncate api_keys",
        "drop table api_keys",
    ],
)
async def test_a_service_can_make_change_and_unrevoke_none(service_dsn: str, schema: str, statement: str) -> None:
    service = await asyncpg.connect(service_dsn, server_settings={"search_path": schema})
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement)
    finally:
        await service.close()


async def test_every_other_text_is_refused(store: PostgresEventStore) -> None:
    text = (await typed("add", "a")).strip()
    other = (await typed("add", "b")).strip()
    id_, secret = text.split("_", 2)[1:]
    stolen = f"hansard_{other.split('_', 2)[1]}_{secret}"
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")
    for bad in (
        "",
        id_,
        secret,
        stolen,
        changed,
        text + "\n",
        f" {text}",
        text.upper(),
        text + "x",
        text[:-1] + "é",
        f"Bearer {text}",
    ):
        with pytest.raises(BadApiKey) as refused:
            await known(bad, store.api_keys, store.now)
        assert secret not in str(refused.value)
    assert (await known(text, store.api_keys, store.now)).id == id_
