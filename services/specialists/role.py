"""Roles: data, one YAML file each, named by its file. Those beside this file are shipped; a user's folder adds to them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from contracts.gateway import ModelClass
from hansard.message import Name

SHIPPED = Path(__file__).parent / "roles"
SMALL, LARGE = 10_000, 100_000  # characters: with the answer within 4,096 tokens; within 32,768
_NAME = TypeAdapter(Name)


class BadRole(ValueError):
    """A file that is not a role. The text names the file and what is wrong with it."""


class Role(BaseModel):
    """Who a specialist is. `context`: how many characters of request and material together its model is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[str, Field(min_length=1, description="the system message")]
    about: str = ""
    model_class: ModelClass = "fast"
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    context: Annotated[int, Field(ge=500, le=1_000_000)] | None = None


def load(folder: Path) -> dict[str, Role]:
    """Every role of a folder (`*.yaml`, `*.yml`) by its name. Raises BadRole; OSError where there is no such folder."""
    found: dict[str, Role] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")):
        if file.stem in found:
            raise BadRole(f"{file.name}: another file of this folder has that name too")
        found[file.stem] = read(file.stem, file.read_text(encoding="utf-8"), file.name)
    return found


def read(name: str, text: str, origin: str) -> Role:
    """One role from YAML. Raises BadRole."""
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise BadRole(f"{origin}: a role is named by its file, in letters, digits, '.', '_' and '-'; not {name!r}") from None
    try:
        given = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as bad:
        raise BadRole(f"{origin}: {bad}") from None
    if not isinstance(given, Mapping):
        raise BadRole(f"{origin}: a role is a mapping with at least a `prompt`")
    try:
        return Role.model_validate(given)
    except ValidationError as bad:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in bad.errors(include_url=False))
        raise BadRole(f"{origin}: {problems}") from None


def to_data(roles: Mapping[str, Role]) -> dict[str, JsonValue]:
    """As they are kept on the record."""
    return {name: role.model_dump(mode="json") for name, role in roles.items()}


def of_data(data: Mapping[str, Any]) -> dict[str, Role]:
    """Raises ValueError for what is no role today."""
    return {name: Role.model_validate(role) for name, role in data.items()}
