"""Named plans: data, one YAML file each. Those in this folder are shipped. A user's folder adds to them, and a user's plan
wins over a shipped one of its name."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from contracts.plans import Gate, Plan, Step, Wait
from shared.text_files import NotText, read_text
from shared.yaml_files import BadYaml, parsed_yaml

SHIPPED = Path(__file__).parent
Shape = type[Plan] | type[Step] | type[Gate] | type[Wait]


class BadPlan(ValueError):
    """A file that is not a plan. The text names the file and says what is wrong with it."""


def load(folder: Path) -> dict[str, Plan]:
    """Every plan of a folder (`*.yaml`, `*.yml`) by its name. Raises BadPlan; OSError where there is no such folder."""
    found: dict[str, Plan] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")):
        try:
            plan = read(read_text(file), file.name)
        except NotText as bad:
            raise BadPlan(f"{file.name}: {bad}") from None
        if plan.name in found:
            raise BadPlan(f"{file.name}: another file of this folder has a plan named {plan.name!r} too")
        found[plan.name] = plan
    return found


def read(text: str, origin: str) -> Plan:
    """One plan from YAML. Raises BadPlan, also for a field that no plan has: it is a misspelling."""
    try:
        given = parsed_yaml(text)
        if not isinstance(given, Mapping):
            raise BadPlan(f"{origin}: a plan is a mapping with `name` and `steps`")
        if "name" not in given:
            raise BadPlan(f"{origin}: a named plan needs a `name`")
        plan = Plan.model_validate(given)
    except (BadYaml, ValidationError) as bad:
        raise BadPlan(f"{origin}: {bad}") from None
    if names := [name for _, name, _ in unknown_fields(given)]:
        raise BadPlan(f"{origin}: no plan has a field {', '.join(map(repr, names))}")
    return plan


def unknown_fields(given: Mapping[str, object]) -> Iterator[tuple[str, str, Shape]]:
    """Fields that no plan has: where they are (`steps.0.`), their names, and the model that lacks them."""
    steps = given.get("steps")
    parts: list[tuple[str, object, Shape]] = [("", given, Plan)]
    for n, step in enumerate(steps if isinstance(steps, list) else ()):
        parts.append((f"steps.{n}.", step, Step))
        if isinstance(step, Mapping):
            parts += [(f"steps.{n}.gate.", step.get("gate"), Gate), (f"steps.{n}.wait.", step.get("wait"), Wait)]
    for place, part, shape in parts:
        for name in part if isinstance(part, Mapping) else ():
            if name not in shape.model_fields:
                yield place, str(name), shape
