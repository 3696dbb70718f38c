"""Who must decide is told, on real servers: webhooks that falter, vanish, stay silent or lie, and a process that is killed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from contracts.notifier import DeliveryFailed, DeliveryMissed, DeliveryStarted, Notification, WebhookDelivered
from hansard.message import Message
from infra.servers import Servers
from tests.as_service import put_on_record, stored_as_now
from tests.deployment import Deployment, connected
from tests.processes import until
from tests.published import Json
from tests.spec.notifier_kit import ASSESSED, PROPOSED, SHA256
from tests.webhook_receiver import SECRET, SILENT, TAKEN, Receiver, Request, answer

NOWHERE = "http://127.0.0.1:1/v1"
ENDED = "select workflow, kind, data->>'endpoint' from messages where topic = 'notifier.events' and kind = any($1)"
MISSED = "select data->>'reason', data->>'status' from messages where workflow = $1 and kind = $2 order by version"
HOOK = {"secret_env": "HOOK_SECRET", "timeout": 2}


@asynccontextmanager
async def opened(servers: Servers, *endpoints: Json) -> AsyncIterator[Deployment]:
    file = Path(servers.home) / f"webhooks-{uuid4().hex[:8]}.yaml"
    table = {"endpoints": [HOOK | one for one in endpoints], "retry": {"first": 0.2, "longest": 1.0}}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(table))
    async with Deployment.open(
        servers, NOWHERE, HANSARD_WEBHOOKS=str(file), HANSARD_LEASE_SECONDS="1", HOOK_SECRET=SECRET
    ) as deployment:
        yield deployment


async def pending(deployment: Deployment) -> str:
    """An action that waits for a decision, as approval's events tell it; returns its workflow."""
    workflow = str(uuid4())
    events: Sequence[Message] = (PROPOSED, ASSESSED)
    stored = [stored_as_now(one, "approval.events", workflow, f"approval/{n}") for n, one in enumerate(events)]
    async with connected(deployment.owner, deployment.settings.postgres_schema) as connection:
        await put_on_record(connection, stored)
    for message in stored:
        await deployment.publish_stored(message)
    return workflow


async def ended(deployment: Deployment, count: int) -> set[tuple[Any, ...]]:
    """How that many deliveries ended: workflow, kind, endpoint."""
    kinds = [WebhookDelivered.kind, DeliveryFailed.kind]
    rows: list[tuple[Any, ...]] = []

    async def all_ended() -> bool:
        rows[:] = await deployment.rows(ENDED, kinds)
        return len(rows) >= count

    await until(all_ended, lambda: f"{len(rows)} of {count} deliveries ended: {rows}")
    assert len(rows) == count
    return set(rows)


def of_each(payloads: Sequence[Request]) -> dict[str, set[tuple[str, bytes]]]:
    """The ids and bodies that were received, by workflow."""
    found: dict[str, set[tuple[str, bytes]]] = {}
    for one in payloads:
        payload: Any = one.verified()
        found.setdefault(payload["data"]["workflow"], set()).add((one.id, one.body))
    return found


async def test_each_delivery_goes_as_its_endpoint_has_it(servers: Servers) -> None:
    def faltering(_: Request, before: int) -> bytes:
        return answer(500) if before < 2 else TAKEN

    async with (
        Receiver(faltering) as falters,
        Receiver(lambda *_: answer(410)) as gone,
        Receiver(lambda *_: b"\x00 no http at all") as garbage,
        Receiver(lambda *_: answer(302, location="http://127.0.0.1:1/")) as redirects,
        Receiver(lambda *_: SILENT) as silent,
        Receiver() as takes,
        opened(
            servers,
            {"name": "falters", "url": falters.url},
            {"name": "gone", "url": gone.url},
            {"name": "garbage", "url": garbage.url},
            {"name": "redirects", "url": redirects.url},
            {"name": "silent", "url": silent.url, "timeout": 0.3},
            {"name": "takes", "url": takes.url},
            {"name": "elsewhere", "url": takes.url, "queues": ["seniors"]},
        ) as deployment,
    ):
        await deployment.listen()
        deployment.serve("notifier")
        await deployment.ready()
        workflow = await pending(deployment)
        ends = {endpoint: kind for _, kind, endpoint in await ended(deployment, 3)}
        assert ends == {"falters": WebhookDelivered.kind, "takes": WebhookDelivered.kind, "gone": DeliveryFailed.kind}
        assert len(falters.received) == 3 and len(gone.received) == 1 and len(takes.received) == 1
        trying = (garbage, redirects, silent)
        await until(lambda: all(len(one.received) > 1 for one in trying), "the others are tried again and again")
        for receiver in (falters, *trying):
            assert len(of_each(receiver.received)[workflow]) == 1, "each attempt has the same id and the same bytes"
        reasons = {reason for reason, _ in await deployment.rows(MISSED, workflow, DeliveryMissed.kind)}
        assert reasons == {"status", "connection", "redirect", "timeout"}
        await shows_what_is_needed(deployment, workflow)


async def shows_what_is_needed(deployment: Deployment, workflow: str) -> None:
    """On the topic for everybody's programs, in the audit, and nowhere a secret."""
    await until(lambda: any(one.kind == Notification.kind for one in deployment.published), "the notification is published")
    [told] = [one for one in deployment.published if one.topic == "notifications"]
    assert (told.workflow, told.data["action_id"], told.data["sha256"]) == (workflow, "pay.1", SHA256)
    report = await deployment.verified()
    assert [one for one in report.differences if one.stream.service == "notifier"] == []
    log = deployment.processes["notifier/1"].log_text
    dumped = str(await deployment.rows("select data::text from messages")) + log
    assert SECRET not in dumped and "/hook" not in dumped
    assert await deployment.rows("select count(*) from policies where data::text like '%127.0.0.1%'") == [(0,)]


async def test_a_process_that_is_killed_while_it_sends_sends_the_same_again(servers: Servers) -> None:
    def silent_at_first(_: Request, before: int) -> bytes:
        return SILENT if before == 0 else TAKEN

    async with (
        Receiver(silent_at_first) as receiver,
        opened(servers, {"name": "chat", "url": receiver.url, "timeout": 30}) as deployment,
    ):
        deployment.serve("notifier")
        await deployment.ready()
        workflow = await pending(deployment)
        await until(lambda: len(receiver.received) == 1, "the webhook is out")
        await deployment.kill("notifier/1")
        assert "delivery-started" in await deployment.hansard("effects", "--json"), "an effect without an outcome is listed"
        deployment.restart("notifier/1")
        assert await ended(deployment, 1) == {(workflow, WebhookDelivered.kind, "chat")}
        assert len(receiver.received) == 2 and len(of_each(receiver.received)[workflow]) == 1
        attempts = "select count(*) from messages where kind = $1"
        assert await deployment.rows(attempts, DeliveryStarted.kind) == [(2,)]


async def test_an_endpoint_that_is_away_delays_no_other(servers: Servers) -> None:
    async with (
        Receiver(lambda *_: SILENT) as away,
        Receiver() as there,
        opened(
            servers, {"name": "away", "url": away.url, "timeout": 60, "concurrency": 2}, {"name": "there", "url": there.url}
        ) as deployment,
    ):
        deployment.serve("notifier")
        await deployment.ready()
        workflows = await asyncio.gather(*(pending(deployment) for _ in range(20)))
        ends = await ended(deployment, 20)
        assert ends == {(workflow, WebhookDelivered.kind, "there") for workflow in workflows}
        assert away.most_at_once <= 2


async def test_a_webhook_that_cannot_be_signed_is_not_sent(servers: Servers) -> None:
    async with opened(servers, {"name": "chat", "url": NOWHERE, "secret_env": "NOT_GIVEN"}) as deployment:
        process = deployment.serve("notifier")
        await until(lambda: not process.alive, "it does not start")
        assert "the webhook chat cannot be signed: NOT_GIVEN holds no secret" in process.log_text
