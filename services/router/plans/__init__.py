"""Named plans: data, one YAML file each. Those here are shipped; a user's folder adds to them, and its names win."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from contracts.plans import Plan, Step

SHIPPED = Path(__file__).parent


class BadPlan(ValueError):
    """A file that is not a plan. The text names the file and what is wrong with it."""


def load(folder: Path) -> dict[str, Plan]:
    """Every plan of a folder (`*.yaml`, `*.yml`) by its name. Raises BadPlan; OSError where there is no such folder."""
    found: dict[str, Plan] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")):
        plan = read(file.read_text(encoding="utf-8"), file.name)
        if plan.name in found:
            raise BadPlan(f"{file.name}: another file of this folder has a plan named {plan.name!r} too")
        found[plan.name] = plan
    return found


def read(text: str, origin: str) -> Plan:
    """One plan from YAML. A field that a plan does not have is refused: in a file it is a misspelling. Raises BadPlan."""
    try:
        given = yaml.safe_load(text)
        if not isinstance(given, Mapping):
            raise BadPlan(f"{origin}: a plan is a mapping with `name` and `steps`")
        if "name" not in given:
            raise BadPlan(f"{origin}: a named plan needs a `name`")
        plan = Plan.model_validate(given)
    except (yaml.YAMLError, ValidationError, RecursionError) as bad:
        raise BadPlan(f"{origin}: {bad}") from None
    strange = [*_strange(given, Plan), *(name for step in given["steps"] for name in _strange(step, Step))]
    if strange:
        raise BadPlan(f"{origin}: no plan has a field {', '.join(map(repr, strange))}")
    return plan


def _strange(given: Mapping[Any, Any], shape: type[Plan] | type[Step]) -> list[str]:
    return [str(name) for name in given if name not in shape.model_fields]
