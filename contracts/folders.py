"""Imports what is in a folder of `contracts/`, and says in one sentence what is wrong with one that cannot be imported."""

from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

_HERE = Path(__file__).parent


class BadContract(Exception):
    """A folder of `contracts/` is not as it must be. The text names the file to be edited."""


def imported(folder: str, name: str) -> ModuleType:
    """A module of a folder of `contracts/`. Raises BadContract."""
    module = f"contracts.{folder}.{name}"
    try:
        return import_module(module)
    except Exception as failed:  # whatever the folder's own code raises while it is imported
        file = f"contracts/{folder}/{name}.py"
        if isinstance(failed, ModuleNotFoundError) and failed.name in (module, f"contracts.{folder}"):
            raise BadContract(f"There is no {file}: write it, or correct the names in contracts/catalog.py.") from None
        files = [Path(frame.filename) for frame in extract_tb(failed.__traceback__)]
        [*_, last] = [file, *(f"contracts/{path.relative_to(_HERE)}" for path in files if path.is_relative_to(_HERE / folder))]
        raise BadContract(f"{last} cannot be imported: {type(failed).__name__}: {failed}.") from failed
