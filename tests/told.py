"""The former name of `tests.decisions.decided`, for the gateway's specs."""

from tests.decisions import HERE, NOON
from tests.decisions import decided as told

__all__ = ["HERE", "NOON", "told"]
