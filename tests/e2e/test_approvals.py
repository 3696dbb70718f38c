"""Approval as a process of its own on real servers: reviews signed, forged, delivered twice; its process killed; silence."""

import json
import secrets
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionProposed,
    ActionRejected,
    ReviewAccepted,
    ReviewAction,
    ReviewRefused,
)
from infra.servers import Servers
from tests.deployment import Deployment
from tests.processes import until
from tests.published import PublishedMessage, envelope
from tests.spec.approval_kit import REFUND, Someone, proposal, sha_of

NO_MODEL = "http://127.0.0.1:1/v1"
DOOR = "approvals.reviews"


@pytest.fixture
async def approving(servers: Servers) -> AsyncIterator[Deployment]:
    async with Deployment.open(servers, NO_MODEL, HANSARD_LEASE_SECONDS="2") as deployment:
        deployment.serve("approval")
        await deployment.ready()
        await deployment.listen()
        yield deployment


@pytest.fixture
async def alice(approving: Deployment, tmp_path: Path) -> Someone:
    """Registered by the operator's command, with a key that it made."""
    key = tmp_path / "alice.pem"
    await approving.hansard("people", "add", "alice@example.org", "--role", "reviewer", "--new-key", str(key))
    return Someone("alice@example.org", private=key.read_bytes())


def published(deployment: Deployment, workflow: str, *kinds: str) -> list[PublishedMessage]:
    """The messages of these kinds, without repeats."""
    return list({one.id: one for one in deployment.published if one.workflow == workflow and one.kind in kinds}.values())


async def proposed(deployment: Deployment, seconds: float | None = None) -> str:
    [workflow] = await deployment.command("approval.commands", proposal(seconds=seconds))
    await until(lambda: bool(published(deployment, workflow, ActionAssessed.kind)), "the action is assessed")
    return workflow


def review(deployment: Deployment, who: Someone, workflow: str) -> ReviewAction:
    [proposed] = published(deployment, workflow, ActionProposed.kind)
    fields = {"review": secrets.token_hex(8), "action_id": "pay.1", "sha256": sha_of(REFUND), "decision": "approve"}
    return who.signed(
        ReviewAction.model_validate(fields | {"expires_at": proposed.data["expires_at"], "reviewer": who.name}), workflow
    )


async def sent(deployment: Deployment, workflow: str, given: ReviewAction, id_: str = "") -> str:
    """Publishes it at the door; the same `id_` is the same message once more."""
    id_ = id_ or f"r-{secrets.token_hex(6)}"
    body = json.dumps(given.model_dump(mode="json")).encode()
    await deployment.put(DOOR, body, envelope(id_, given.kind, workflow=workflow), workflow.encode())
    return id_


async def holds(deployment: Deployment) -> None:
    """Everything is published, nothing is dead, and an audit decides the same."""
    await deployment.at_rest()
    assert deployment.dead_letters() == []
    differences = (await deployment.verified()).differences
    assert [one for one in differences if one.stream.service == "approval"] == []


async def test_a_signed_review_approves_once_whatever_is_forged_repeated_or_killed(approving: Deployment, alice: Someone) -> None:
    workflow = await proposed(approving)
    forged = review(approving, Someone(alice.name), workflow)
    await sent(approving, workflow, forged)
    await until(lambda: bool(published(approving, workflow, ReviewRefused.kind)), "the forged review is refused")

    genuine = review(approving, alice, workflow)
    id_ = await sent(approving, workflow, genuine)
    await approving.kill("approval/1")  # before, while or after it decides
    await sent(approving, workflow, genuine, id_)
    await sent(approving, workflow, genuine)
    approving.restart("approval/1")

    await until(lambda: bool(published(approving, workflow, ActionApproved.kind)), "it is approved")
    await until(lambda: len(published(approving, workflow, ReviewRefused.kind)) == 2, "the replay is refused")
    [approved] = published(approving, workflow, ActionApproved.kind)
    [accepted] = published(approving, workflow, ReviewAccepted.kind)
    assert (approved.data["sha256"], approved.data["by"]) == (sha_of(REFUND), [alice.name])
    assert (accepted.data["proof"], accepted.data["registration"]) == ("signature", 1)
    reasons = [one.data["reason"] for one in published(approving, workflow, ReviewRefused.kind)]
    assert reasons[0] == "bad-signature" and reasons[1] in ("used", "not-open")
    written = await approving.hansard("content", "get", sha_of(REFUND))
    assert written.strip() == approved.data["action"]
    await holds(approving)


async def test_what_nobody_decides_is_refused_also_where_nobody_was_there_to_refuse_it(
    approving: Deployment, alice: Someone
) -> None:
    silent = await proposed(approving, seconds=6)
    away = await proposed(approving, seconds=6)
    await until(lambda: bool(published(approving, silent, ActionRejected.kind)), "silence is refused")
    await approving.kill("approval/1")
    await sent(approving, away, review(approving, alice, away))
    approving.restart("approval/1")
    await until(lambda: bool(published(approving, away, ActionRejected.kind)), "it is refused after the restart")
    for workflow in (silent, away):
        [rejected] = published(approving, workflow, ActionRejected.kind)
        [assessed] = published(approving, workflow, ActionAssessed.kind)
        assert rejected.data["because"] == "expired"
        assert datetime.fromisoformat(rejected.headers["ce_time"]) >= datetime.fromisoformat(assessed.data["expires_at"])
        assert published(approving, workflow, ActionApproved.kind) == []
    await holds(approving)
