"""The action of a gated step, from the fields that its plan and its answers give."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from hansard.actions import Action, BadAction


def action_of(fields: Mapping[str, Any]) -> Action:
    """Raises BadAction."""
    refuse_unknown(fields)
    try:
        return Action.model_validate(fields)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        raise BadAction(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}") from None


def refuse_unknown(fields: Mapping[str, Any]) -> None:
    """Raises BadAction for a field that no action has: a misspelled amount would be no amount."""
    if unknown := [name for name in fields if name not in Action.model_fields]:
        near = get_close_matches(unknown[0], Action.model_fields, 1)
        raise BadAction(f"no action has a field {unknown[0]!r}{f', perhaps {near[0]!r}' if near else ''}")
