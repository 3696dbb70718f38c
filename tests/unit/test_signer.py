"""Requests that are signed: by the client and by the command, as the router will read them."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from contracts.plans import Plan, Step
from contracts.requests import SubmitRequest
from hansard.codec import decode
from hansard.new_request import body
from hansard.private_keys import write_key
from hansard.reviews import BadKey, new_key, request_sha256, requester_verified, statement, verified
from hansard.signer import Signer
from infra.cli.asked import NewRequest, new_request, signed_by, signer_of
from infra.cli.problem import Problem

PEM, KEY = new_key()
BOB = Signer("bob@example.org", PEM)
EAST = timezone(timedelta(hours=5, minutes=30))
PLAN = Plan(name="two", version="1", steps=(Step(id="a", worker="research"), Step(id="b", worker="writer", timeout=30)))
REQUESTS: dict[str, dict[str, Any]] = {
    "free": {"text": "What is a quorum?"},
    "typed": {"type": "refund", "data": {"invoice": "R-17", "euros": 12.5, "n": [1, None, {"é": True}]}, "budget": "0.50"},
    "a deadline": {"text": "x", "deadline": datetime(2026, 1, 31, 12, 0, 0, 500, tzinfo=EAST)},
    "a round deadline": {"text": "x", "deadline": datetime(2026, 1, 31, 12, tzinfo=UTC)},
    "a plan": {"text": "x", "plan": PLAN},
    "a plan as JSON": {"text": "x", "plan": {"name": "t", "steps": [{"id": "a", "worker": "research", "timeout": 30}]}},
    "a named plan": {"text": "x", "plan": "parallel-analysis", "architecture": "fan-out"},
}
EVERY = dict.fromkeys(("text", "type", "data", "plan", "architecture", "deadline", "budget"))


def proven(data: bytes, *, tenant: str = "acme", workflow: str = "w", requester: str = "bob@example.org") -> bool:
    """As the services check it: of the message as it was decoded, the fields that its sender gave."""
    sent, raw = decode(SubmitRequest, data), json.loads(data)
    sha256 = request_sha256(sent.model_dump(mode="json", exclude_unset=True))
    return (raw["requester"], raw["requester_key"]) == (requester, KEY["id"]) and requester_verified(
        KEY["public"], raw["requester_signature"], sha256, tenant, workflow, requester
    )


@pytest.mark.parametrize("name", REQUESTS)
def test_what_a_client_signs_is_what_services_read(name: str) -> None:
    written = BOB.body(body(**EVERY | REQUESTS[name]), "acme", "w")
    assert proven(written)
    assert not proven(written, tenant="other") and not proven(written, workflow="v")


@pytest.mark.parametrize("name", REQUESTS)
def test_what_the_command_signs_is_what_services_read(name: str) -> None:
    given = json.loads(body(**EVERY | REQUESTS[name]))
    asked = signed_by(new_request(given, id_="w", tenant="acme"), BOB)
    assert proven(asked.data)
    assert asked.data == signed_by(asked, BOB).data, "the same request is the same bytes: sent again it changes nothing"


def test_the_command_writes_fields_as_services_do_before_it_signs() -> None:
    given = {"text": "x", "deadline": "2026-01-31T17:30:00+05:30", "budget": 1, "architecture": "fan-out"}
    assert proven(signed_by(new_request(given, id_="w", tenant="acme"), BOB).data)


def test_a_request_that_was_changed_on_its_way_is_not_proven() -> None:
    asked = json.loads(signed_by(new_request({"text": "pay 5"}, id_="w", tenant="acme"), BOB).data)
    for change in ({"text": "pay 50"}, {"budget": "9"}, {"plan": "parallel-analysis"}, {"requester": "alice"}):
        assert not proven(json.dumps(asked | change).encode())


def test_without_a_signer_nothing_is_added() -> None:
    plain = new_request({"text": "x"}, id_="w")
    assert signed_by(plain, None).data == plain.data == b'{"text":"x"}'
    assert signer_of("", "") is None


def test_what_languages_read_differently_cannot_be_signed() -> None:
    asked = NewRequest("w", "w", "default", {"type": "count", "data": {"n": 2**60}})
    with pytest.raises(Problem, match="cannot be signed"):
        signed_by(asked, BOB)
    with pytest.raises(ValueError):
        BOB.body(b'{"type": "count", "data": {"n": 1152921504606846976}}', "default", "w")


def test_a_review_is_signed_with_its_signers_name_and_key() -> None:
    review = {"review": "6f1d0c2a", "action_id": "pay.1", "decision": "approve", "reviewer": "somebody else"}
    signed = BOB.review(review, "acme", "w")
    assert (signed["reviewer"], signed["key"]) == ("bob@example.org", KEY["id"])
    assert verified(KEY["public"], signed["signature"], statement(signed, "acme", "w"))


def test_a_signer_is_found_by_name_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Problem, match=r"Nothing is sent as bob: there is no file .*bob\.pem"):
        signer_of("bob", "")
    write_key(tmp_path / ".config/hansard/bob.pem", PEM)
    write_key(tmp_path / "other.pem", new_key()[0])
    found, other = signer_of("bob", ""), signer_of("bob", "~/other.pem")
    assert found is not None and other is not None
    assert (found.name, found.key) == ("bob", KEY["id"]) and other.key != KEY["id"]
    assert PEM.decode().splitlines()[1] not in repr(found)
    with pytest.raises(Problem, match="Say --as NAME"):
        signer_of("", "~/other.pem")
    write_key(tmp_path / "none.pem", b"-----BEGIN NOTHING-----")
    with pytest.raises(BadKey):
        Signer.of("bob", tmp_path / "none.pem")
