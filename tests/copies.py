"""Copies of the project, for tests that change it or run it elsewhere."""

import shutil
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# `*.pyc.*` is bytecode that another process writes at this moment
LEFT_OUT = shutil.ignore_patterns("*.pyc.*", "node_modules", "*.log")


def copied(names: Iterable[str], into: Path) -> Path:
    """Copies these folders and files of the project. Bytecode comes along: without it each process there compiles all of it."""
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=LEFT_OUT)
        else:
            shutil.copy2(source, into / name)
    return into
