"""`hansard up` with an address for the HTTP door: it runs, takes a request, and is shown. Without access rules in Kafka, approval
refuses a person's own topic in production, in one sentence."""

import json

import httpx

from infra.servers import process
from tests.e2e.test_own_worker import Shell, shell
from tests.processes import LONG

__all__ = ["shell"]


def given(shell: Shell, **more: str) -> str:
    """Addresses the door, and leaves the worker's file alone. Returns the address."""
    shell.environment.pop("HANSARD_SERVICES", None)
    shell.environment |= {"HANSARD_EDGE": f"127.0.0.1:{process.free_port()}", **more}
    return shell.environment["HANSARD_EDGE"]


def test_the_http_door_takes_a_request(shell: Shell) -> None:
    address = given(shell)
    shell.hansard("up", "--detach")
    key = json.loads(shell.hansard("keys", "add", "import", "--json"))["key"]
    asked = {"type": "calculate_tax", "data": {"amount": "99.99"}}
    sent = {"Authorization": f"Bearer {key}", "Idempotency-Key": "order-1"}
    answer = httpx.post(f"http://{address}/v1/requests", json=asked, headers=sent, timeout=LONG)
    assert answer.status_code == 202, answer.text
    [row] = [row for row in map(json.loads, shell.hansard("status", "--json").splitlines()) if row.get("service") == "edge"]
    assert row["ready"] and row["lag"] is not None
    [found] = [
        one for one in map(json.loads, shell.hansard("doctor", "--json", code=1).splitlines()) if one["check"] == "services"
    ]
    assert found["ok"] and found["found"].endswith(", edge")


def test_in_production_a_persons_own_topic_needs_access_rules(shell: Shell) -> None:
    given(shell, HANSARD_REVIEWER_TOPICS="approvals.reviews.alice")
    done = shell.fails("up", "--detach")
    assert "approval does not get ready" in done
    assert "whoever reaches Kafka may write to approvals.reviews.alice" in done and "Traceback" not in done
