"""YAML as a person means it: the one loader of plans, roles, tiers and answers.

What a plain word becomes is JSON's rule, and YAML 1.2's: `true`, `false`, `null`, and numbers as JSON writes them. Everything
else is text: `no`, `on`, `12:30`, `010`, `0x1F`, `1_000`, `2026-01-05`. (By YAML 1.1, PyYAML's own rule, Norway is false and
half past twelve is 750.) Keys are text, a mapping has each of them once, and what aliases unfold to is bounded.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from shared.json_text import finite, parsed
from shared.text_files import read_text

MAX_SIZE = 256 * 1024  # characters of a file: a plan is part of a request
MAX_VALUES = 100_000  # of a file, each as often as an alias repeats it
MAX_DEPTH = 100

_TAG = "tag:yaml.org,2002:"
_INT = r"-?(?:0|[1-9][0-9]*)"
_PLAIN: Mapping[str, tuple[str, Callable[[str], Any]]] = {  # what a plain word may be, and what is made of it
    "null": (r"~|null|Null|NULL|", lambda _: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (_INT, int),
    "float": (rf"{_INT}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", finite),
    "merge": (r"<<", str),
    "str": (r"(?s:.*)", str),  # the last one: whatever is none of the others
}


class BadYaml(ValueError):
    """The text is no YAML, or not such as we take. One sentence, with the line; it names no file."""


def read_yaml(path: Path) -> Any:
    """What a file holds; one that is called `.json` is read as JSON. Raises NotText, BadYaml, BadJson; OSError."""
    text = read_text(path)
    return parsed(text) if path.suffix == ".json" else parsed_yaml(text)


def parsed_yaml(text: str) -> Any:
    """The value of a YAML text: what JSON can hold. Raises BadYaml, and no other error."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_SIZE:
        raise BadYaml(f"it has more than {MAX_SIZE:,} characters")
    try:
        return _Values().of(_Composer(text).get_single_node())
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        also = f"{bad.context}, " if bad.context and str(bad.problem).startswith("but ") else ""
        raise BadYaml(f"{_place(mark) if mark else ''}{also}{bad.problem or bad.context}") from None
    except ReaderError as bad:
        line = text.count("\n", 0, bad.position) + 1
        raise BadYaml(f"line {line}: the character U+{int(bad.character):04X} may not stand in YAML") from None
    except RecursionError:
        raise BadYaml("it is nested too deep") from None


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: "


def _refused(node: Node, what: str) -> BadYaml:
    return BadYaml(f"{_place(node.start_mark)}{what}")


class _Composer(Reader, Scanner, Parser, Composer, BaseResolver):
    """Text to nodes, with the plain words of `_PLAIN` and no others."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadYaml(f"{_place(self.get_mark())}it is nested more than {MAX_DEPTH} levels deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


for _name in list(_PLAIN)[:-1]:  # in this order: a whole number is no float
    _Composer.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_PLAIN[_name][0]})\Z"), None)


class _Values:
    """Nodes to values. Counts them, since aliases of aliases unfold to millions."""

    def __init__(self) -> None:
        self._count = 0
        self._open: set[int] = set()

    def of(self, node: Node | None) -> Any:
        if node is None:
            return None
        self._count += 1
        if self._count > MAX_VALUES:
            raise _refused(node, f"with what its aliases repeat, it holds more than {MAX_VALUES:,} values")
        if id(node) in self._open:
            raise _refused(node, "an alias is inside of what it names")
        self._open.add(id(node))
        try:
            return self._made(node)
        finally:
            self._open.remove(id(node))

    def _made(self, node: Node) -> Any:
        match node:
            case ScalarNode():
                return _scalar(node)
            case SequenceNode(tag=tag) if tag == f"{_TAG}seq":
                return [self.of(one) for one in node.value]
            case MappingNode(tag=tag) if tag == f"{_TAG}map":
                return self._mapping(node)
        raise _refused(node, f"the tag {_named(node.tag)} is not taken")

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, name, value in _members(node):
            if key.tag == f"{_TAG}merge":
                merged = self._merged(value)
            else:
                own[name] = self.of(value)
        return merged | own

    def _merged(self, node: Node) -> dict[str, Any]:
        """What `<<` brings: a mapping, or several of which the earlier ones win."""
        found: dict[str, Any] = {}
        for part in node.value if isinstance(node, SequenceNode) else [node]:
            given = self.of(part)
            if not isinstance(given, dict):
                raise _refused(part, "`<<` takes a mapping, or a list of mappings")
            found = given | found
        return found


def _members(node: MappingNode) -> Iterator[tuple[ScalarNode, str, Node]]:
    """The members of a mapping: the key, its text, the value. A key is the text that was written, also where it is a number."""
    lines: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            raise _refused(key, "a key must be a word, not a list or a mapping")
        name = _text(key)
        if name in lines:
            raise _refused(key, f"the key {name!r} is there twice (first in line {lines[name]}): a mapping has each key once")
        lines[name] = key.start_mark.line + 1
        yield key, name, value


def _scalar(node: ScalarNode) -> Any:
    words, made = _PLAIN.get(node.tag.removeprefix(_TAG), (None, str))
    text = _text(node)
    if words is None:
        raise _refused(node, f"the tag {_named(node.tag)} is not taken")
    if re.fullmatch(words, text) is None:
        raise _refused(node, f"{text[:40]!r} is no {_named(node.tag)}")
    try:
        return made(text)
    except ValueError as bad:  # a number that is too large
        raise _refused(node, str(bad)) from None


def _text(node: ScalarNode) -> str:
    """Its text, in which the escapes of a surrogate pair are the one character that they mean."""
    text = str(node.value)
    if text.isascii() or not re.search("[\ud800-\udfff]", text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _refused(node, "half of a surrogate pair is no character") from None


def _named(tag: str) -> str:
    return tag.replace(_TAG, "!!")
