"""The door for requests."""

from contracts.requests.messages import (
    Architecture,
    SubmitRequest,
)

__all__ = ["Architecture", "SubmitRequest"]
