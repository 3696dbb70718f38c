"""Who asked for an action, through real processes: signed by the command, checked by approval, shown to whoever decides."""

import json
from pathlib import Path

from contracts.approval import ActionAssessed
from contracts.notifier import Notification
from infra.servers import Servers
from tests.deployment import Deployment
from tests.processes import until
from tests.published import Json, PublishedMessage

NO_MODEL = "http://127.0.0.1:1/v1"
REFUND: Json = {"tool": "ledger", "about": "Process $2,500 refund for service outage", "amount": "2500", "recipient": "acct-9"}
GATED: Json = {"steps": [{"id": "pay", "worker": "ledger", "verify": "none", "gate": {"action": REFUND, "cost": "2500.00"}}]}
BOB = "bob@example.org"


async def of(deployment: Deployment, workflow: str, kind: str) -> PublishedMessage:
    """The first message of this kind."""

    def found() -> list[PublishedMessage]:
        return [one for one in deployment.published if (one.workflow, one.kind) == (workflow, kind)]

    await until(lambda: bool(found()), f"{workflow} has a {kind}")
    return found()[0]


async def test_a_request_that_is_signed_by_the_command_has_a_proven_requester_and_a_forged_one_has_not(
    servers: Servers, tmp_path: Path
) -> None:
    async with Deployment.open(servers, NO_MODEL) as deployment:
        deployment.serve("router", "planner", "approval", "notifier", key="all")
        await deployment.ready()
        await deployment.listen()
        bobs, other = tmp_path / "bob.pem", tmp_path / "mallory.pem"
        await deployment.hansard("people", "add", BOB, "--new-key", str(bobs))
        await deployment.hansard("people", "add", "mallory@example.org", "--new-key", str(other))
        for workflow, key in (("genuine", bobs), ("forged", other)):
            file = tmp_path / f"{workflow}.jsonl"
            file.write_text(json.dumps({"id": workflow, "text": "Refund the outage.", "plan": GATED, "budget": "1.50"}))
            await deployment.hansard("submit", str(file), "--as", BOB, "--key", str(key))
        for workflow, proof in (("genuine", "signature"), ("forged", "unproven")):
            assessed = await of(deployment, workflow, ActionAssessed.kind)
            assert (assessed.data["requester"]["name"], assessed.data["requester"]["proof"]) == (BOB, proof)
            needed = await of(deployment, workflow, Notification.kind)
            assert needed.data["requester"] == assessed.data["requester"]
            case = json.loads(await deployment.hansard("approvals", "show", workflow, "--json"))
            assert case["requester"] == needed.data["requester"]
        assert (await deployment.verified()).differences == []
