"""Webhooks over HTTP on this machine: what is taken, what is missed, and that nobody waits for the slow."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from shared.masking import masked
from shared.webhooks.endpoints import Endpoints
from shared.webhooks.sender import DETAIL, Reply, Sender, open_sender
from tests.spec.notifier_kit import endpoints
from tests.webhook_receiver import ENDLESS, SECRET, SILENT, Receiver, answer

BODY = '{"type": "approval.escalated"}'


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


@asynccontextmanager
async def sender_to(receiver: Receiver, **options: Any) -> AsyncIterator[Sender]:
    async with open_sender(endpoints({"name": "chat", "url": receiver.url} | options)) as sender:
        yield sender


async def sent(sender: Sender, name: str = "chat", seconds: float = 30, id: str = "") -> Reply:
    return await sender.send(name, id or f"msg_{uuid4().hex}", BODY, now=datetime.now(UTC), seconds=seconds)


async def test_a_webhook_is_signed_and_taken() -> None:
    async with Receiver() as receiver, sender_to(receiver) as sender:
        reply = await sent(sender, id="msg_1")
    assert (reply.status, reply.problem) == (204, "") and reply.latency_ms > 0
    [request] = receiver.received
    assert request.verified() == {"type": "approval.escalated"}
    assert (request.id, request.headers["content-type"], request.path) == ("msg_1", "application/json", "/hook")


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
async def test_an_answer_that_is_no_success_is_reported_with_its_beginning(status: int) -> None:
    async with Receiver(lambda *_: answer(status, b"no \x00 \xff" + b"y" * 10_000)) as receiver, sender_to(receiver) as sender:
        reply = await sent(sender)
    assert (reply.status, reply.problem) == (status, "")
    assert reply.detail.startswith("no � �") and len(reply.detail) == DETAIL


async def test_a_redirect_is_not_followed() -> None:
    async with Receiver() as elsewhere:
        moved = answer(307, location=elsewhere.url)
        async with Receiver(lambda *_: moved) as receiver, sender_to(receiver) as sender:
            assert (await sent(sender)).status == 307
        assert elsewhere.received == []


async def test_an_endpoint_says_when_it_wants_to_be_asked_again() -> None:
    now = datetime.now(UTC)
    async with Receiver(lambda *_: answer(429, retry_after="120")) as receiver, sender_to(receiver) as sender:
        reply = await sender.send("chat", "msg_1", BODY, now=now, seconds=30)
    assert reply.retry_at == now + timedelta(seconds=120)


async def test_silence_ends_with_the_time_of_the_attempt() -> None:
    async with Receiver(lambda *_: SILENT) as receiver, sender_to(receiver, timeout=0.2) as sender:
        assert (await sent(sender)).problem == "timeout"
        assert (await sent(sender, seconds=0.1)).detail == "no answer within 0.1 s"


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    async with Receiver(lambda *_: ENDLESS) as receiver, sender_to(receiver) as sender:
        reply = await sent(sender)
        assert (reply.status, len(reply.detail)) == (500, DETAIL)


@pytest.mark.parametrize("garbage", [b"\x00\xff garbage\r\n\r\n", b"HTTP/1.1 200", b"", b"HTTP/1.1 999999 Odd\r\n\r\n"])
async def test_what_is_no_http_is_a_failed_connection(garbage: bytes) -> None:
    async with Receiver(lambda *_: garbage) as receiver, sender_to(receiver) as sender:
        assert (await sent(sender)).problem == "connection"


async def test_nobody_there_is_a_failed_connection() -> None:
    async with Receiver() as receiver:
        pass
    async with sender_to(receiver) as sender:
        assert (await sent(sender)).problem == "connection"


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    made = [*request, *alternative, "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with Receiver(tls=tls) as receiver, sender_to(receiver) as sender:
        reply = await sent(sender)
        assert reply.problem == "connection" and "certificate" in reply.detail.lower()
        assert receiver.received == []


async def test_an_endpoint_that_is_slow_delays_no_other() -> None:
    async with Receiver(lambda *_: SILENT) as slow, Receiver() as quick:
        table = endpoints({"name": "slow", "url": slow.url, "concurrency": 2, "timeout": 60}, {"name": "quick", "url": quick.url})
        async with open_sender(table) as sender:
            out = [asyncio.create_task(sent(sender, "slow", seconds=60)) for _ in range(2)]
            async with asyncio.timeout(30):
                while slow.at_once < 2:
                    await asyncio.sleep(0.01)
            assert (await sent(sender, "slow")).problem == "busy", "a third attempt is not made"
            assert (await sent(sender, "quick")).status == 204
            assert not any(task.done() for task in out), "nobody waited for them"
            assert slow.most_at_once == 2
            for task in out:
                task.cancel()
            await asyncio.gather(*out, return_exceptions=True)
            assert (await sent(sender, "slow", seconds=0.1)).problem == "timeout", "its slots are free again"


async def test_the_secret_and_the_secret_part_of_an_address_are_masked() -> None:
    async with Receiver(lambda request, _: answer(500, f"{SECRET} {request.path}".encode())) as receiver:
        table = endpoints({"name": "chat", "url": receiver.url.replace("/hook", "/T0PS3CRET/path")})
        async with open_sender(table) as sender:
            reply = await sent(sender)
    assert SECRET not in reply.detail and "T0PS3CRET" not in reply.detail
    assert masked(f"posted to {receiver.url}: {SECRET}") == f"posted to {receiver.url}: ***"


async def test_without_its_secret_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    with pytest.raises(ValueError, match="the webhook chat cannot be signed: HOOK_SECRET holds no secret"):
        async with open_sender(endpoints({"name": "chat"})):
            pass
    async with open_sender(Endpoints()) as sender:
        assert sender.endpoints == {}
