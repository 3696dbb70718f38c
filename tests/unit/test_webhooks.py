"""Webhooks as data: endpoints, signatures, waits. No network."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from standardwebhooks.exceptions import WebhookVerificationError

import services.notifier
from hansard.identity import webhook_id
from hansard.policy import canonical_json, matches_version
from hansard.testing import NOON
from shared.webhooks.endpoints import Endpoints, Retry, read_endpoints
from shared.webhooks.sender import secrets_of
from shared.webhooks.signing import headers, payload, secrets_in
from tests.spec.notifier_kit import endpoints
from tests.webhook_receiver import SECRET

FILE = """
endpoints:
  - name: chat
    url: https://chat.example.org/hooks/T0PS3CRET-path?token=abcdef123
    secret_env: CHAT_SECRET
    events: [approval.*]
    queues: [reviewers]
  - name: pager
    url: http://127.0.0.1:8080/page
    secret_file: /run/secrets/pager
retry: {first: 2, hours: 1}
"""


def test_a_file_names_the_endpoints(tmp_path: Path) -> None:
    file = tmp_path / "webhooks.yaml"
    file.write_text(FILE)
    read = read_endpoints(file)
    assert [one.name for one in read.endpoints] == ["chat", "pager"]
    assert (read.retry.first, read.retry.longest, read.retry.hours) == (2, 3600, 1)
    assert read_endpoints(None) == Endpoints()


def test_the_example_is_one() -> None:
    example = read_endpoints(Path(services.notifier.__file__).with_name("example.yaml"))
    assert [one.name for one in example.endpoints] == ["chat", "pager", "console"] and example.retry == Retry()
    assert [one.takes("approval.approved", tenant="acme") for one in example.endpoints] == [False, False, True]


def test_the_policy_holds_no_address_and_no_secret_and_decides_again(tmp_path: Path) -> None:
    file = tmp_path / "webhooks.yaml"
    file.write_text(FILE)
    read = read_endpoints(file)
    stored = canonical_json(read.data)
    assert not any(part in stored for part in (b"example.org", b"T0PS3CRET", b"CHAT_SECRET", b"/run/secrets", b"8080"))
    assert matches_version(stored, read.policy)
    then = Endpoints.of_then(read.policy, read.data)  # type: ignore[arg-type]
    assert (then.policy, then.data) == (read.policy, read.data)
    moved = FILE.replace("chat.example.org", "talk.example.org")
    file.write_text(moved)
    assert read_endpoints(file).policy == read.policy, "another address decides nothing else"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"url": "ftp://example.org"}, "must begin with https://"),
        ({"url": "https:///hook"}, "name a host"),
        ({"url": "http://example.org/hook"}, "plain_http"),
        ({"url": "http://127.0.0.1.example.org/hook"}, "plain_http"),
        ({"secret_env": ""}, "secret_env or by secret_file"),
        ({"secret_file": "/run/secrets/x"}, "secret_env or by secret_file"),
        ({"events": ["approval.decision-neded"]}, "there is no 'approval.decision-neded'"),
        ({"evnts": []}, "evnts"),
        ({"timeout": 3600}, "timeout"),
    ],
)
def test_a_mistake_in_the_file_is_found_and_shows_no_address(wrong: dict[str, object], why: str) -> None:
    given = {"name": "chat", "url": "https://example.org/T0PS3CRET"} | wrong
    with pytest.raises(ValueError, match=why) as found:
        endpoints(given)
    assert "T0PS3CRET" not in str(found.value)


def test_two_endpoints_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        endpoints({"name": "chat"}, {"name": "chat"})


def test_http_to_this_machine_or_where_it_is_asked_for_is_taken() -> None:
    assert endpoints({"name": "a", "url": "http://localhost:1/"}, {"name": "b", "url": "http://b.local/", "plain_http": True})


def test_an_endpoint_shows_its_address_nowhere() -> None:
    [endpoint] = endpoints({"name": "chat", "url": "https://example.org/T0PS3CRET"}).endpoints
    assert "T0PS3CRET" not in repr(endpoint) and "T0PS3CRET" not in str(endpoint)


# Signatures


def test_what_is_signed_is_verified_by_the_library_of_the_specification() -> None:
    body = payload("approval.escalated", NOON, {"about": "Refund für Ada", "amount": "2500"})
    signed = headers("msg_1", datetime.now(UTC), body, [SECRET])
    assert Webhook(SECRET).verify(body, signed)["data"]["about"] == "Refund für Ada"
    for changed in (signed | {"webhook-id": "msg_2"}, signed | {"webhook-timestamp": str(int(signed["webhook-timestamp"]) + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace("2500", "9500"), signed)


def test_a_time_in_another_zone_is_the_same_time() -> None:
    there = datetime.now(timezone(timedelta(hours=9)))
    Webhook(SECRET).verify("{}", headers("msg_1", there, "{}", [SECRET]))


def test_while_a_secret_is_changed_both_verify() -> None:
    new = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    signed = headers("msg_1", datetime.now(UTC), "{}", secrets_in(f"{new}\n{SECRET}\n"))
    for secret in (new, SECRET):
        Webhook(secret).verify("{}", signed)


@pytest.mark.parametrize("wrong", ["", "whsec_", "whsec_c2hvcnQ=", SECRET.removeprefix("whsec_"), "whsec_!!!", f"{SECRET} short"])
def test_what_is_no_secret_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 random bytes") as found:
        secrets_in(wrong)
    assert not wrong.removeprefix("whsec_") or wrong not in str(found.value)


def test_the_body_is_the_same_bytes_whenever_it_is_made() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=2)))
    assert payload("t", NOON, {"b": 1, "a": [1.5, "ü"]}) == payload("t", there, {"a": [1.5, "ü"], "b": 1})


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    by_variable, by_file = endpoints(
        {"name": "a", "secret_env": "A_SECRET"}, {"name": "b", "secret_env": "", "secret_file": str(file)}
    ).endpoints
    assert secrets_of(by_file) == (SECRET,)
    with pytest.raises(ValueError, match="the webhook a cannot be signed: A_SECRET holds no secret"):
        secrets_of(by_variable)
    monkeypatch.setenv("A_SECRET", SECRET)
    assert secrets_of(by_variable) == (SECRET,)


# Waits and ids


def test_a_wait_is_between_half_of_its_bound_and_the_bound_and_spread() -> None:
    retry = Retry(first=8, longest=100)
    shares = [retry.wait(f"msg_{n}", 1).total_seconds() / 8 for n in range(500)]
    assert 0.5 <= min(shares) < 0.55 and 0.95 < max(shares) <= 1
    assert retry.wait("msg_1", 1) == retry.wait("msg_1", 1)
    assert all(50 <= retry.wait("msg_1", n).total_seconds() <= 100 for n in (5, 50, 10**9))


def test_the_id_of_a_webhook_is_pinned_and_differs_between_tenants_workflows_and_deliveries() -> None:
    first = webhook_id("default", "order-77", "pay.1/1/chat")
    assert first == "msg_" + PINNED
    others = [
        ("acme", "order-77", "pay.1/1/chat"),
        ("default", "order-78", "pay.1/1/chat"),
        ("default", "order-77", "pay.1/2/chat"),
    ]
    assert len({first, *(webhook_id(*one) for one in others)}) == 4


PINNED = "ed91d3327fe7544c95553a53c40b4273"
