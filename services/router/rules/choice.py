"""Where something goes, by a keyword in a text or by the choice from a menu."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from services.router.rules.exact import whole
from services.router.rules.rule import Data, Input, Rule, Unfit
from shared.words import blank, fold, mentioned, plain

TEAMS = {"billing": "billing_team", "technical": "engineering", "cancel": "retention"}
DEFAULT_TEAM = "general"


def _visible(label: str) -> str:
    if blank(label):
        raise ValueError("must not be blank")
    return label


def _label(value: object) -> object:
    """JSON has one kind of number, and true is none."""
    return value if isinstance(value, str) else str(whole(value))


Label = Annotated[str, Field(max_length=200), AfterValidator(_visible)]


class Keywords(Input):
    text: str
    routes: dict[Label, Label] = Field(
        default=TEAMS, max_length=200, description="keyword to route, first match wins; else the teams here"
    )
    default: Label = DEFAULT_TEAM


def route_by_keyword(given: Keywords) -> Data:
    for keyword in mentioned(fold(given.text), given.routes):
        return {"route": given.routes[keyword], "matched_keyword": keyword, "method": "keyword_match"}
    return {"route": given.default, "matched_keyword": None, "method": "keyword_match_default"}


class Menu(Input):
    choice: Annotated[Label, BeforeValidator(_label)] = Field(description="a label or a number")
    options: list[Label] | dict[Label, Label] = Field(
        min_length=1, max_length=1000, description="labels, or label to route; a number counts from 1"
    )


def menu_choice(given: Menu) -> Data:
    labels = list(given.options)
    wanted = plain(given.choice)
    meant = {label for label in labels if plain(label) == wanted}
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 5 and 1 <= int(wanted) <= len(labels):
        meant.add(labels[int(wanted) - 1])
    if len(meant) > 1:
        raise Unfit(f"choice: could be any of {', '.join(map(repr, sorted(meant)))[:200]}")
    found = meant.pop() if meant else None
    route = given.options[found] if isinstance(given.options, dict) and found is not None else found
    return {"valid": found is not None, "choice": found, "route": route, "method": "exact_match"}


ROUTE_BY_KEYWORD = Rule("route_by_keyword", Keywords, route_by_keyword, lambda d: f"Goes to {d['route']}.", version="2")
MENU_CHOICE = Rule(
    "menu_choice",
    Menu,
    menu_choice,
    lambda d: f"{d['choice']}: goes to {d['route']}." if d["valid"] else "The menu has no such choice.",
    version="2",
)
