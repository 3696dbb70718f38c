"""No Python file has more than 400 lines and no function more than 60. There are no exceptions."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("contracts", "shared", "services", "infra", "tests")  # `hansard` is in shared
FILE = 400  # lines at most
FUNCTION = 60  # lines at most, from `def` to the end of its body


def too_long(source: str) -> Iterator[str]:
    """What in this file is too long, a sentence each."""
    if (lines := len(source.splitlines())) > FILE:
        yield f"has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if (lines := node.end_lineno - node.lineno + 1) > FUNCTION:
                yield f"has {node.name} of {lines} lines in line {node.lineno}"


def python_files() -> list[Path]:
    return [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


def test_no_file_and_no_function_is_too_long() -> None:
    files = python_files()
    assert len(files) > 300
    assert [f"{file.relative_to(ROOT)} {what}" for file in files for what in too_long(file.read_text())] == []


def test_one_line_more_than_allowed_is_too_long() -> None:
    assert list(too_long("a = 1\n" * FILE)) == []
    assert list(too_long("a = 1\n" * (FILE + 1))) == ["has 401 lines"]
    for kind in ("def", "async def"):
        assert list(too_long(f"class A:\n  {kind} f(self):\n" + "    a = 1\n" * (FUNCTION - 1))) == []
        assert list(too_long(f"class A:\n  {kind} f(self):\n" + "    a = 1\n" * FUNCTION)) == ["has f of 61 lines in line 2"]
