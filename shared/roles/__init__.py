"""The catalogue of roles: one YAML file each, named by its file. Those in this folder are shipped; a user's folder adds to them.

A role is the whole of what the services know of it: what the specialists ask a model, which words of a request name it to
the router, and that the planner may give it a step.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from contracts.gateway import ModelClass
from hansard.message import Name
from shared.text_files import NotText, read_text
from shared.yaml_files import BadYaml, parsed_yaml

FOLDER = Path(__file__).parent
_NAME = TypeAdapter(Name)
_Keyword = Annotated[str, Field(pattern=r"\S", max_length=200)]


class BadRole(ValueError):
    """A file that is not a role. The text names the file and says what is wrong with it."""


class Routing(BaseModel):
    """When the router chooses this role for a free text, and what its part is beside other roles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keywords: Annotated[tuple[_Keyword, ...], Field(min_length=1, description="each names the role")]
    gathers: bool = Field(default=False, description="works at once; roles that do not gather wait for all that do")
    part: str = Field(default="", description="its instructions where it is not the only role")
    place: int = Field(default=100, description="order in a pipeline, lowest first; roles of one place by their names")


class Role(BaseModel):
    """Who a specialist is. `context`: how many characters of request and material together its model is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[str, Field(min_length=1, description="the system message")]
    about: str = ""
    model_class: ModelClass = "fast"
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    context: Annotated[int, Field(ge=500, le=1_000_000)] | None = None
    routing: Routing | None = Field(default=None, description="none: only a plan that names the role uses it")


def catalogue(added: Path | None = None) -> dict[str, Role]:
    """The shipped roles and those of the folder `added`, by name. A user's role wins over a shipped one of its name, and is
    routed to as that one was unless it says otherwise.

    Raises BadRole; OSError where there is no such folder.
    """
    shipped = load(FOLDER)
    own = load(added) if added else {}
    for name, role in own.items():
        if role.routing is None and name in shipped:
            own[name] = role.model_copy(update={"routing": shipped[name].routing})
    return shipped | own


def load(folder: Path) -> dict[str, Role]:
    """Every role of a folder (`*.yaml`, `*.yml`) by its name. Raises BadRole; OSError where there is no such folder."""
    found: dict[str, Role] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")):
        if file.stem in found:
            raise BadRole(f"{file.name}: another file of this folder has that name too")
        try:
            found[file.stem] = read(file.stem, read_text(file), file.name)
        except NotText as bad:
            raise BadRole(f"{file.name}: {bad}") from None
    return found


def read(name: str, text: str, origin: str) -> Role:
    """One role from YAML. Raises BadRole."""
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise BadRole(f"{origin}: a role is named by its file, in letters, digits, '.', '_' and '-'; not {name!r}") from None
    try:
        given = parsed_yaml(text)
    except BadYaml as bad:
        raise BadRole(f"{origin}: {bad}") from None
    if not isinstance(given, Mapping):
        raise BadRole(f"{origin}: a role is a mapping with at least a `prompt`")
    try:
        return Role.model_validate(given)
    except ValidationError as bad:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in bad.errors(include_url=False))
        raise BadRole(f"{origin}: {problems}") from None


Routings = Mapping[str, Routing]  # by the role's name, in the order of a pipeline


def routings(roles: Mapping[str, Role]) -> Routings:
    """Those that a free text can name."""
    routed = {name: role.routing for name, role in roles.items() if role.routing is not None}
    return dict(sorted(routed.items(), key=lambda item: (item[1].place, item[0])))


SHIPPED = catalogue()


def to_data(roles: Mapping[str, Role]) -> dict[str, JsonValue]:
    """Roles as the specialists' policy keeps them: without their routing, by which a specialist decides nothing."""
    return {name: role.model_dump(mode="json", exclude={"routing"}) for name, role in roles.items()}


def from_data(data: Mapping[str, object]) -> dict[str, Role]:
    """Raises ValueError for what is no role today."""
    return {name: Role.model_validate(role) for name, role in data.items()}
