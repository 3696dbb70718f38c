"""People who may send or decide, as they are registered."""

from typing import Literal

from pydantic import Field

from hansard.message import Name, Value


class PersonKey(Value):
    """A public key. `id` is the beginning of the SHA-256 of its bytes."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    algorithm: Literal["Ed25519"] = "Ed25519"
    public: str = Field(description="32 bytes, base64")


class Person(Value):
    """Somebody who may send or decide, as the operator registered them."""

    name: str = Field(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+$",
        description="as reviews name them: alice@example.org; capitals and forms of Unicode make no other person",
    )
    roles: tuple[Name, ...] = ()
    keys: tuple[PersonKey, ...] = ()
    identities: tuple[str, ...] = Field(default=(), description="OIDC: issuer and subject, with a blank between them")
    topics: tuple[str, ...] = Field(default=(), description="Kafka topics to which this person's principal alone may write")
