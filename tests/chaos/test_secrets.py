"""After kills, outages, poison and refused keys no log, page or command shows a secret, and no log what was asked."""

import asyncio
import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.servers import Servers
from shared.eventstore.postgres.logins import Login
from tests.deployment import QUESTION, RULE, Deployment
from tests.processes import until
from tests.published import Json

pytestmark = pytest.mark.timeout(900)
BROKEN = "tests.chaos.broken"
ENV = ("PROVIDER_API_KEY", "HANSARD_MODEL_KEY", "HANSARD_KAFKA_PASSWORD", "SOME_PASSWORD")


class Echo(BaseHTTPRequestHandler):
    """Refuses every key, and repeats it with all that was sent, as some endpoints do."""

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["content-length"])).decode()
        key = self.headers["authorization"]
        error = {"message": f"Incorrect API key provided: {key.split()[-1]}", "headers": dict(self.headers), "sent": sent}
        body = json.dumps({"error": error}).encode()
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()


def asked(marker: str) -> list[Json]:
    """Requests that are answered, with the marker in each."""
    return [
        {"text": f"{marker} What is a quorum?"},
        {"text": f"{marker} What is poison?"},
        {"text": f"{marker} Why raise a hand?"},
        {"type": "calculate_tax", "data": {"amount": "99.99", "note": marker}},
        {"type": "calculate_tax", "data": {"amount": f"{marker} pounds"}},
        {"type": marker, "data": {"x": marker}},
        {"text": 5, "data": marker},
        {"text": f"{marker} cannot be stored: \x00 \ud800"},
        {"text": marker, "plan": {"name": "x", "steps": [{"id": marker, "worker": marker}]}},
    ]


async def put_unreadable(deployment: Deployment, marker: str) -> None:
    """Bodies that are no JSON, no UTF-8, too deep and too large, without headers and with odd ones."""
    kind = [("ce_type", b"hansard.requests.submit.v1"), ("ce_source", b"/t"), ("ce_specversion", b"1.0")]
    bodies = (f'{{"text": "{marker}', f'["{marker}"]', "[" * 5000 + f'"{marker}"', f'{{"text": "{marker} {"x" * 300_000}"}}')
    for n, body in enumerate(bodies):
        await deployment.put("requests", body.encode(), [*kind, ("ce_id", f"odd-{n}-{secrets.token_hex(4)}".encode())])
    await deployment.put("requests", marker.encode() + b"\xff", [])
    await deployment.put("control", json.dumps({"by": {"a": marker}}).encode(), [("ce_id", b"\xff" + marker.encode())])


async def disturb(own: Servers, deployment: Deployment, seen: list[str], marker: str) -> list[str]:
    """Kills services, Postgres and the broker; asks, and looks at their pages and at the doctor meanwhile. The ids asked."""
    await deployment.kill("router/1")
    deployment.restart("router/1")
    await asyncio.to_thread(own.stop, "postgres", kill=True)
    ids = await deployment.ask(*asked(marker))
    router = deployment.processes["router/1"]
    await until(lambda: router.health()[0] == 503, "it is not ready")
    seen.append(await deployment.hansard("doctor", code=1))
    seen.extend(one.health(path)[1] for one in deployment.processes.values() for path in ("ready", "metrics"))
    await deployment.kill("gateway/1")
    await asyncio.to_thread(own.start, "postgres")
    deployment.restart("gateway/1")
    await asyncio.to_thread(own.stop_broker, 1, kill=True)
    await asyncio.to_thread(own.start_broker, 1)
    await deployment.ready()
    return ids


def with_keys(deployment: Deployment, echo: str, hidden: str) -> None:
    """Puts an endpoint that refuses the key, and one that is away and has a password in its address, before the scripted one."""
    tiers = Path(deployment.environment["HANSARD_GATEWAY"])
    data: Json = yaml.safe_load(tiers.read_text())
    first: list[Json] = [
        {"name": "refusing", "url": echo, "model": "m", "key_env": "PROVIDER_API_KEY", "price": "free"},
        {"name": "away", "url": f"http://me:{hidden}@127.0.0.1:1/v1", "model": "m", "price": "free", "max_retries": 0},
    ]
    tiers.write_text(yaml.safe_dump(data | {"endpoints": first + data["endpoints"]}))


async def test_no_log_page_or_command_shows_a_secret_and_no_log_a_request(own: Servers, scripted: str) -> None:
    marker = f"marker{secrets.token_hex(6)}"
    given = {name: f"{name.lower().replace('_', '-')}-{secrets.token_hex(8)}" for name in ENV}
    hidden, traced = f"p%40ss{secrets.token_hex(6)}", secrets.token_hex(10)
    more = {"HANSARD_OTLP": f"http://t:{traced}@127.0.0.1:1/v1/traces", "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={traced[::-1]}"}
    with echoing() as echo:
        async with Deployment.open(
            own, scripted, **given, **more, HANSARD_LOG_LEVEL="DEBUG", HANSARD_LEASE_SECONDS="2"
        ) as deployment:
            with_keys(deployment, echo, hidden)
            logins = [Login.of(deployment.owner), Login.of(deployment.environment["HANSARD_POSTGRES"])]
            words = [
                *given.values(),
                hidden,
                hidden.replace("%40", "@"),
                traced,
                traced[::-1],
                *(one.password for one in logins if one),
            ]
            assert len({*words}) == 10
            deployment.serve("router", HANSARD_LOG_FORMAT="console")
            deployment.serve(f"{BROKEN}:telling_planner", key="planner/1", HANSARD_LOG_FORMAT="console")
            deployment.serve(f"{BROKEN}:telling_gateway", key="gateway/1")
            deployment.serve("specialists", "verifier", key="rest/1")
            await deployment.ready()
            seen: list[str] = []
            ids = await deployment.ask(*asked(marker))
            await put_unreadable(deployment, marker)
            ids += await disturb(own, deployment, seen, marker)
            ids += await deployment.ask(*asked(marker), QUESTION, RULE)
            await deployment.answered(ids)
            await deployment.at_rest()
            seen += [await deployment.hansard("doctor"), await deployment.hansard("dead-letters", "list", "--all")]
            seen += [await deployment.hansard("audit", "show", id_) for id_ in ids[:3]]
            seen.extend(one.health(path)[1] for one in deployment.processes.values() for path in ("ready", "metrics"))
            stored: list[Any] = await deployment.rows("select data::text from messages")
            bodies = "\n".join(row[0] for row in stored)
            deployment.stop()
            logs = {
                str(file): file.read_text(errors="replace") for home in (deployment.folder, own.home) for file in logs_of(home)
            }

    assert "Incorrect API key provided: " in bodies, "the endpoint repeated the key"
    everything = {"what commands and pages show": "\n".join(seen), "the record": bodies} | logs
    assert {(where, word) for where, text in everything.items() for word in words if word in text} == set()
    assert {where for where, text in logs.items() if marker in text} == set()
    for what in ("a decision failed", "an attempt raised an error", "waiting for the event store"):
        assert any(what in text for text in logs.values()), what
    assert any("RuntimeError: (its text" in text for text in logs.values())
    for file in logs:
        assert Path(file).stat().st_mode & 0o077 == 0


def logs_of(home: Path) -> Iterator[Path]:
    """Every log of these services and servers, and of their runs before."""
    return (file for file in (home / "logs").iterdir() if file.is_file() and not file.name.startswith("scripted"))
