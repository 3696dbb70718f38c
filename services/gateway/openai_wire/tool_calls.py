"""Tool calls, whole or in pieces. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from contracts.gateway import ToolCall
from services.gateway.openai_wire.tolerant import Json, clean, listed, mapping, string


@dataclass
class _Call:
    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether its arguments are complete."""
        return _is_object("".join(self.pieces))


@dataclass
class ToolCallPieces:
    """Puts calls together. A piece belongs to the call of its id or else of its index or else to the last one; another id, or a
    name again when the arguments are complete, begins another call, also under the same index."""

    calls: list[_Call] = field(default_factory=list)
    at: dict[object, _Call] = field(default_factory=dict)  # by index: the call that its pieces belong to
    size: int = 0  # characters

    def add(self, given: object) -> None:
        if not isinstance(given, dict):
            return
        function = mapping(given.get("function")) or given
        id, name, arguments = string(given.get("id")), string(function.get("name")), _written(_arguments_of(function))
        index = given.get("index")
        call = self._call(index if isinstance(index, int | str) else None, id, name, arguments)
        call.name = name if name.startswith(call.name) else call.name + name if name else call.name
        if arguments:
            call.pieces.append(arguments)
        self.size += len(name) + len(arguments)

    def _call(self, index: int | str | None, id: str, name: str, arguments: str) -> _Call:
        known = next((call for call in self.calls if call.id == id), None) if id else None
        if known is None:
            known = self.at.get(index) if index is not None else self.calls[-1] if self.calls else None
            begins = known is None or bool(id and known.id and id != known.id)
            if known is None or begins or (name and not id and known.whole and arguments):
                self.calls.append(known := _Call(id))
            known.id = known.id or id
        self.at[index] = known
        return known

    def all(self) -> tuple[ToolCall, ...]:
        return _distinct((call.id, call.name, _joined(call.pieces)) for call in self.calls)


def tool_calls(given: object) -> tuple[ToolCall, ...]:
    """Those of a whole message."""
    functions = [(one, mapping(one.get("function")) or one) for one in listed(given) if isinstance(one, dict)]
    return _distinct(
        (string(one.get("id")), string(function.get("name")), _joined([_written(_arguments_of(function))]))
        for one, function in functions
    )


def _distinct(calls: Iterable[tuple[str, str, str]]) -> tuple[ToolCall, ...]:
    """Every call with a name, each under an id of its own."""
    made: dict[str, ToolCall] = {}
    for n, (id, name, arguments) in enumerate(calls):
        if name:
            own = clean(id) or f"call_{n}"
            own = own if own not in made else f"{own}_{n}"
            made[own] = ToolCall(id=own, name=clean(name), arguments=clean(arguments))
    return tuple(made.values())


def _arguments_of(function: Json) -> Any:
    return next((function[name] for name in ("arguments", "input", "parameters") if function.get(name) is not None), None)


def _written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments, ensure_ascii=False)


def _joined(pieces: list[str]) -> str:
    """The pieces as one text; the last one where each piece is the text so far. A call without arguments has empty ones."""
    whole = "".join(pieces)
    if len(pieces) > 1 and not _is_object(whole) and _is_object(pieces[-1]):
        return pieces[-1]
    return (whole.strip() and whole) or "{}"


def _is_object(text: str) -> bool:
    try:
        return text.lstrip()[:1] == "{" and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
