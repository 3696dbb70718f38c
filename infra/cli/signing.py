"""Who decides, and with which key: the private key is read from a file and leaves it in no form."""

from dataclasses import dataclass
from pathlib import Path

from contracts.approval import ReviewAction
from infra.cli.problem import Problem
from shared.settings import Settings


@dataclass(frozen=True)
class Signer:
    """`key`: the id of the key, "" where none signs: only a deployment in development takes that."""

    name: str
    key: str = ""
