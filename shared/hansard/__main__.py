"""The entry of the `hansard` command: `hansard …`, `python -m hansard …`, or this file by its path.

The command is made of four folders with plain names (`contracts`, `shared`, `services`, `infra`), which your repository may
have too. So this process takes those four from the installation of this file, whatever is in the current folder or on PYTHONPATH.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OURS = ("hansard", "contracts", "shared", "services", "infra")
HERE = Path(__file__).resolve().parent


def places() -> dict[str, str]:
    """The folder in which each of our packages lies: side by side once installed, `hansard` in `shared` in the repository."""
    root = next(folder for folder in HERE.parents if (folder / "infra" / "cli" / "running.py").is_file())
    return dict.fromkeys(OURS, str(root)) | {"hansard": str(HERE.parent)}


class OursFirst(MetaPathFinder):
    """Finds our packages by name before any path is searched."""

    def __init__(self) -> None:
        self._places = places()

    def find_spec(self, name: str, path: Sequence[str] | None = None, _: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or name not in self._places:
            return None
        return PathFinder.find_spec(name, [self._places[name]])


def main() -> None:
    """Runs the command."""
    sys.meta_path.insert(0, OursFirst())
    import_module("infra.cli").main()


if __name__ == "__main__":
    main()
