"""Plans as a person writes them: a YAML or JSON file, and what is wrong with it in one sentence."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from infra.cli.problem import Problem
from shared.yaml_files import BadYaml, read_yaml

HOW = "A plan is a `name` and `steps`, each with an `id` and a `worker`; `hansard init` writes one to start from"


def read_plan(text: str) -> dict[Any, Any] | str:
    """The data of a plan file; `text` itself where it is no file, and so the name of a plan. Raises Problem."""
    path = Path(text)
    if path.is_dir():
        raise Problem(f"{text} is a folder: name a plan file in it.", code=2)
    if path.suffix not in (".yaml", ".yml", ".json") and not path.is_file():
        return text
    try:
        data = read_yaml(path)
    except FileNotFoundError:
        raise Problem(f"There is no file {text}.", code=2) from None
    except BadYaml as bad:
        raise Problem(f"{text} is not valid YAML: {bad}.", code=2) from None
    except (OSError, ValueError) as bad:  # ValueError: NotText, BadJson, a name of a file that holds a NUL
        raise Problem(f"{text} cannot be read: {bad}.", code=2) from None
    if not isinstance(data, dict):
        raise Problem(f"{text} {'is empty' if data is None else 'does not hold a plan'}. {HOW}.", code=2)
    return data


def unknown_fields(data: Mapping[Any, Any]) -> Iterator[str]:
    """Fields that no plan has: a typing error that a message would silently ignore."""
    from services.router.plans import unknown_fields as fields_of_no_plan

    for place, name, shape in fields_of_no_plan(data):
        near = get_close_matches(name, shape.model_fields, 1)
        yield f"{place}{name}: no such field{f', perhaps {near[0]}' if near else ''}"


def problems(invalid: ValidationError) -> str:
    """What is wrong, in one sentence."""
    found = [(".".join(str(part) for part in one["loc"] if not str(part).startswith("<")), one) for one in invalid.errors()]
    places = [place for place, _ in found]
    return "; ".join(
        f"{place}: {_in_words(one)}".removeprefix(": ")
        for place, one in found
        # a list whose items are invalid is also reported as too short
        if one["type"] != "too_short" or not any(other.startswith(f"{place}.") for other in places)
    )


def _in_words(error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "is missing"
        case "too_short":
            return f"at least {error['ctx']['min_length']} needed"
        case _:
            return error["msg"].replace("Value error, ", "")
