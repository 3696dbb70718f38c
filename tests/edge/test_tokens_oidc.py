"""Tokens of a real OpenID provider, small as it is: found by its configuration, signed by its key, for its client."""

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from shared.identity.provider import ProviderKeys
from shared.identity.tokens import BadToken, TokenVerifier

provider_mock = pytest.importorskip("oidc_provider_mock")  # of the extra `dev`

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CALLBACK = "http://localhost:1/callback"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


def identity_token(issuer: str, subject: str, client: str = "hansard") -> str:
    """As a person's browser gets it: the authorization code flow with PKCE."""
    places = httpx.get(f"{issuer}/.well-known/openid-configuration").json()
    verifier = secrets.token_urlsafe(40)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": client,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "openid",
        "state": "s",
        "nonce": "n",
    }
    asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    answer = httpx.post(places["authorization_endpoint"], params=asked, data={"sub": subject})
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
    tokens = httpx.post(places["token_endpoint"], data=given, auth=(client, "secret")).json()
    return str(tokens["id_token"])


async def test_whoever_signs_in_is_named_by_issuer_and_subject(issuer: str) -> None:
    verifier = TokenVerifier(ProviderKeys(issuer), "hansard")
    identity = await verifier.verify(identity_token(issuer, "anna@example.org"))
    assert identity.name == f"{issuer} anna@example.org"


async def test_a_token_for_another_client_or_after_its_end_proves_nobody(issuer: str) -> None:
    keys = ProviderKeys(issuer)
    with pytest.raises(BadToken, match="another audience"):
        await TokenVerifier(keys, "hansard").verify(identity_token(issuer, "anna", client="billing"))
    tomorrow = TokenVerifier(keys, "hansard", clock=lambda: time.time() + 86400)
    with pytest.raises(BadToken, match="expired"):
        await tomorrow.verify(identity_token(issuer, "anna"))


async def test_a_token_of_another_provider_proves_nobody_here(issuer: str) -> None:
    with provider_mock.run_server_in_thread() as other:
        stranger = f"http://localhost:{other.server_port}"
        with pytest.raises(BadToken):
            await TokenVerifier(ProviderKeys(issuer), "hansard").verify(identity_token(stranger, "anna"))
