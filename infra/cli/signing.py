"""Who decides, and with which key: the private key is read from a file, and nothing of it is shown or sent."""

from dataclasses import dataclass, field
from pathlib import Path

from contracts.approval import ReviewAction
from hansard.private_keys import key_file, read_key
from hansard.reviews import BadKey, key_of, sign, statement
from infra.cli.problem import Problem
from shared.settings import Settings


@dataclass(frozen=True)
class Signer:
    """`key`: the id of the private key, "" where there is none: only a deployment in development takes that."""

    name: str
    key: str = ""
    private: bytes = field(default=b"", repr=False)

    def signed(self, review: ReviewAction, tenant: str, workflow: str) -> ReviewAction:
        """The review as this person. Raises Problem where what it holds cannot be signed."""
        own = review.model_copy(update={"reviewer": self.name, "key": self.key})
        if not self.private:
            return own
        try:
            signature = sign(self.private, statement(own.model_dump(mode="json"), tenant, workflow))
        except ValueError as unwritable:
            raise Problem(f"The review cannot be signed: {unwritable}.", code=2) from None
        return own.model_copy(update={"signature": signature})


def signer(settings: Settings, name: str, file: str) -> Signer:
    """Who decides. Raises Problem where no name is given, or no key of this name is found."""
    if not name:
        raise Problem("Who decides? Say --as NAME, or set HANSARD_REVIEWER.", code=2)
    path = Path(file).expanduser() if file else key_file(name)
    if not file and not path.exists() and settings.unproven_identities:
        return Signer(name)
    try:
        private = read_key(path)
        return Signer(name, key_of(private)["id"], private)
    except BadKey as bad:
        raise Problem(f"{bad}.", code=2) from None
