"""Whoever catches every error says beside it, in a comment, which errors may come or why it catches them all."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("contracts", "shared", "services", "infra")  # `hansard` is in shared
BROAD = {"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"}
FOR_TOOLS = ("noqa", "type:", "pragma", "fmt:", "pyright:", "mypy:")  # comments that explain nothing
WORDS = 3  # of an explanation, at least


def unexplained(source: str) -> list[int]:
    """Lines that catch every error and have no explanation, on the line itself or alone on the line above."""
    explained = set(_explained(source))
    return [line for line in sorted(_broad(ast.parse(source))) if line not in explained]


def _broad(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=caught) if caught is None or _is_broad(caught):
                yield node.lineno
            case ast.Call(func=called, args=errors) if _last_name(called) == "suppress" and any(map(_is_broad, errors)):
                yield node.lineno


def _is_broad(caught: ast.expr) -> bool:
    named = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(_last_name(one) in BROAD for one in named)


def _last_name(expression: ast.expr) -> str:
    return ast.unparse(expression).rpartition(".")[2]


def _explained(source: str) -> Iterator[int]:
    """The lines that a comment explains."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text = token.string.lstrip("# ")
        if token.type == tokenize.COMMENT and len(text.split()) >= WORDS and not text.startswith(FOR_TOOLS):
            alone = token.line.lstrip().startswith("#")
            yield token.start[0] + alone


def test_every_broad_except_of_the_product_is_explained() -> None:
    files = [file for room in PRODUCT for file in sorted((ROOT / room).rglob("*.py"))]
    sources = {str(file.relative_to(ROOT)): file.read_text() for file in files}
    assert sum(len(list(_broad(ast.parse(source)))) for source in sources.values()) > 20
    assert [f"{path}:{line}" for path, source in sources.items() for line in unexplained(source)] == []


@pytest.mark.parametrize(
    "caught",
    [
        "except:",
        "except Exception:",
        "except BaseException as error:",
        "except builtins.Exception:",
        "except (OSError, Exception):",
        "except* Exception:",
        "except Exception:  # noqa: BLE001 it is wanted",
        "except Exception:  # whatever",
    ],
)
def test_a_broad_except_without_an_explanation_is_found(caught: str) -> None:
    assert unexplained(f"try:\n    f()  # which may raise anything\n{caught}\n    pass  # and nobody needs it\n") == [3]


@pytest.mark.parametrize("call", ["suppress(Exception)", "contextlib.suppress(OSError, BaseException)"])
def test_suppressing_every_error_without_an_explanation_is_found(call: str) -> None:
    assert unexplained(f"with {call}:\n    f()\n") == [1]


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept Exception:  # KafkaError, OSError: a finding\n    pass\n",
        "try:\n    f()\n# KafkaError, OSError: a finding\nexcept Exception:\n    pass\n",
        "try:\n    f()\nexcept (OSError, ValueError):\n    pass\n",
        "with suppress(Exception):  # nobody waits for it\n    f()\n",
        "with suppress(OSError):\n    f()\n",
    ],
)
def test_an_explained_or_narrow_except_is_not_found(source: str) -> None:
    assert unexplained(source) == []
