"""People in a real deployment: registered by the command, reviewing by signature, by token and by a topic of their own.

Approval and the HTTP door run as processes, on a real Kafka and Postgres, beside a small OpenID provider.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from contracts.approval import ActionApproved, ActionProposed, ProposeAction, ReviewAction, ReviewRefused
from hansard.actions import Action, action_bytes, action_reference
from hansard.signer import Signer
from infra.audit.differences import Difference
from infra.audit.verify import verify
from infra.cli.running import services
from infra.servers import Servers, process
from tests.deployment import Deployment
from tests.processes import until
from tests.published import Json, PublishedMessage

provider_mock = pytest.importorskip("oidc_provider_mock")  # of the extra `dev`
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

OWN = "approvals.reviews.carol"
REFUND = Action(tool="ledger", about="Process $50 refund for delayed shipment", amount="50", recipient="acct-9")
CALLBACK = "http://localhost:1/callback"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
async def deployment(servers: Servers, issuer: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    settings = {
        "HANSARD_ENVIRONMENT": "development",  # in production approval does not start: this Kafka has no access rules
        "HANSARD_REVIEWER_TOPICS": OWN,
        "HANSARD_EDGE": f"127.0.0.1:{process.free_port()}",
        "HANSARD_OIDC_ISSUER": issuer,
        "HANSARD_OIDC_AUDIENCE": "hansard",
        "HOME": str(tmp_path),
    }
    async with Deployment.open(servers, "http://127.0.0.1:1/v1", **settings) as deployment:
        deployment.serve("approval")
        deployment.serve("edge")
        await deployment.listen()
        await deployment.ready()
        yield deployment


async def token(issuer: str, subject: str) -> str:
    """As a browser gets it: the authorization code flow with PKCE."""
    async with httpx.AsyncClient() as browser:
        places = (await browser.get(f"{issuer}/.well-known/openid-configuration")).json()
        verifier = secrets.token_urlsafe(40)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {"client_id": "hansard", "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid", "state": "s"}
        asked |= {"nonce": "n", "code_challenge": challenge, "code_challenge_method": "S256"}
        answer = await browser.post(places["authorization_endpoint"], params=asked, data={"sub": subject})
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
        tokens = (await browser.post(places["token_endpoint"], data=given, auth=("hansard", "secret"))).json()
    return str(tokens["id_token"])


async def proposed(deployment: Deployment) -> str:
    """The workflow of an action that waits for people."""
    data = action_bytes(REFUND)
    reference = action_reference(data)
    [workflow] = await deployment.command(
        "approval.commands",
        ProposeAction(
            action_id="pay.1",
            action=data.decode(),
            action_ref=reference,
            sha256=reference.sha256,
            gate="always",
            proposer="planner",
        ),
    )
    await until(lambda: bool(events(deployment, workflow, "hansard.approval.assessed.v1")), "the action is assessed")
    return workflow


def events(deployment: Deployment, workflow: str, kind: str) -> list[PublishedMessage]:
    return [one for one in deployment.published if (one.workflow, one.kind) == (workflow, kind)]


def review(deployment: Deployment, workflow: str, name: str) -> Json:
    [proposed] = {one.id: one.data for one in events(deployment, workflow, ActionProposed.kind)}.values()
    sha256 = hashlib.sha256(action_bytes(REFUND)).hexdigest()
    fields = {"review": f"r-{secrets.token_hex(8)}", "action_id": "pay.1", "decision": "approve", "reviewer": name}
    return fields | {"sha256": sha256, "expires_at": proposed["expires_at"]}


async def posted(deployment: Deployment, path: str, credential: str, body: Json, **headers: str) -> tuple[int, Any]:
    async with httpx.AsyncClient(base_url=f"http://{deployment.settings.edge}") as client:
        answer = await client.post(path, json=body, headers={"Authorization": f"Bearer {credential}", **headers})
    return answer.status_code, answer.json()


async def end(deployment: Deployment, workflow: str, kind: str = ActionApproved.kind) -> Any:
    await until(lambda: bool(events(deployment, workflow, kind)), f"{kind} of {workflow}")
    return events(deployment, workflow, kind)[-1].data


async def differences(deployment: Deployment, workflow: str) -> list[Difference]:
    """What an audit finds of approval and the HTTP door. (The planner's command was put on record without a planner.)"""
    settings = deployment.settings
    report = await verify(await deployment.store(), services(settings), settings.topics, "default", workflow)
    assert report.decided
    return [one for one in report.differences if one.stream.service in ("approval", "edge")]


async def test_each_proof_counts_as_its_persons_and_an_audit_finds_the_same(
    deployment: Deployment, issuer: str, tmp_path: Path
) -> None:
    key = tmp_path / "alice.pem"
    await deployment.hansard("people", "add", "alice", "--role", "reviewer", "--new-key", str(key))
    await deployment.hansard("people", "add", "bob", "--role", "reviewer", "--identity", f"{issuer} bob@example.org")
    await deployment.hansard("people", "add", "carol", "--role", "reviewer", "--topic", OWN)
    signature, oidc, principal = [await proposed(deployment) for _ in range(3)]

    signed = Signer.of("alice", key).review(
        ReviewAction.model_validate(review(deployment, signature, "alice")).model_dump(mode="json"), "default", signature
    )
    await deployment.publish(signature, ReviewAction.kind, signed, "approvals.reviews")
    sent = {"workflow": oidc, "review": review(deployment, oidc, "bob")}
    status, answer = await posted(deployment, "/v1/reviews", await token(issuer, "bob@example.org"), sent)
    assert (status, answer["workflow"]) == (202, oidc)
    await deployment.publish(principal, ReviewAction.kind, review(deployment, principal, "carol"), OWN)

    for workflow, name, proof in ((signature, "alice", "signature"), (oidc, "bob", "oidc"), (principal, "carol", "principal")):
        assert (await end(deployment, workflow))["by"] == [name]
        [accepted] = events(deployment, workflow, "hansard.approval.review-accepted.v1")
        assert accepted.data["proof"] == proof
    await until(lambda: len(events(deployment, "people", "hansard.approval.person-registered.v1")) == 3, "people are published")
    for workflow in (signature, oidc, principal, "people"):
        assert await differences(deployment, workflow) == []


async def test_a_proof_of_somebody_else_is_refused_and_the_refusal_is_on_record(
    deployment: Deployment, issuer: str, tmp_path: Path
) -> None:
    await deployment.hansard("people", "add", "alice", "--role", "reviewer", "--new-key", str(tmp_path / "alice.pem"))
    await deployment.hansard("people", "add", "mallory", "--new-key", str(tmp_path / "mallory.pem"))
    by_token, by_key, by_topic, unsigned = [await proposed(deployment) for _ in range(4)]

    sent = {"workflow": by_token, "review": review(deployment, by_token, "alice")}
    status, _ = await posted(deployment, "/v1/reviews", await token(issuer, "mallory"), sent)
    assert status == 202
    fields = ReviewAction.model_validate(review(deployment, by_key, "alice")).model_dump(mode="json")
    forged = Signer.of("mallory", tmp_path / "mallory.pem").review(fields, "default", by_key) | {"reviewer": "alice"}
    await deployment.publish(by_key, ReviewAction.kind, forged, "approvals.reviews")
    await deployment.publish(by_topic, ReviewAction.kind, review(deployment, by_topic, "alice"), OWN)
    await deployment.publish(unsigned, ReviewAction.kind, review(deployment, unsigned, "alice"), "approvals.reviews")

    for workflow, reason in ((by_token, "unproven"), (by_key, "bad-signature"), (by_topic, "unproven"), (unsigned, "unproven")):
        assert (await end(deployment, workflow, ReviewRefused.kind))["reason"] == reason
        assert events(deployment, workflow, ActionApproved.kind) == []


async def test_a_program_submits_requests_by_its_key_until_that_is_revoked(deployment: Deployment) -> None:
    made = json.loads(await deployment.hansard("keys", "add", "import", "--tenant", "acme", "--json"))
    again = {"Idempotency-Key": "order-77"}
    status, answer = await posted(deployment, "/v1/requests", made["key"], {"text": "What is a quorum?"}, **again)
    assert (status, answer) == (202, {"workflow": "order-77", "tenant": "acme"})
    [used] = [json.loads(line) for line in (await deployment.hansard("keys", "list", "--tenant", "acme", "--json")).splitlines()]
    assert used["last_used_at"]
    await deployment.hansard("keys", "revoke", made["id"], "--tenant", "acme")
    assert (await posted(deployment, "/v1/requests", made["key"], {"text": "x"}))[0] == 401
