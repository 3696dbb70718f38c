"""Services of a user's own, loaded from a file or a package.

A user's repository may have folders `contracts`, `shared`, `services` and `infra` as ours does, and one process can hold
only one module of a name. So what lies in the user's folder is imported under a name of its own (`yours_1.shared.prices`),
and an import statement in a file of that folder looks there first, as it would if Python ran the file. Nothing else changes:
our modules and installed packages are found as ever, and find nothing of the user's.
"""

import builtins
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

from contracts.catalog import OURS as CATALOGUED
from hansard.checked import checked
from hansard.service import Service
from infra.cli.problem import Problem
from shared.settings import Settings

OURS = frozenset({"contracts", "shared", "services", "infra"})
HERE = Path(__file__).resolve().parents[2]
PREFIX = "yours_"

_folders: dict[Path, str] = {}  # a user's folder, and the package under which its modules are imported
HOW = "write worker.py:service (a file) or package.module:service (a module)"


def with_own(settings: Settings) -> Settings:
    """The settings with the services of HANSARD_SERVICES loaded. Raises Problem where one does not fit beside ours."""
    return taken(settings, list(listed(settings).values())) if settings.services else settings


def listed(settings: Settings) -> dict[str, Service[Any]]:
    """The services of HANSARD_SERVICES, by where each is loaded from. Raises Problem."""
    found: dict[str, Service[Any]] = {}
    for spec in settings.services:
        service = load(spec, settings)
        name = service.name
        if name in CATALOGUED or name in (other.name for other in found.values()):
            raise Problem(
                f"HANSARD_SERVICES: {spec} is called {name!r}, as another service is. Give it a name of its own.", code=2
            )
        found[spec] = service
    return found


def taken(settings: Settings, own: Sequence[Service[Any]]) -> Settings:
    """The settings whose catalogue has what these bring; one that stands in for a service of ours brings nothing."""
    settings = settings.with_services([service for service in own if service.name not in CATALOGUED])
    try:
        _ = settings.topics.all
    except ValueError as clash:
        raise Problem(f"{', '.join(service.name for service in own)}: {clash}.", code=2) from None
    return settings


def load(name: str, settings: Settings) -> Service[Any]:
    """`worker.py:service`, `package.module:service`, or the same without the attribute, which is then `service`.

    The attribute is a Service, or a function that makes one of the settings. Raises Problem.
    """
    target, _, attribute = name.rpartition(":") if ":" in name else (name, "", "service")
    if not attribute.isidentifier() or not (target.endswith(".py") or is_module(target)):
        raise Problem(f"{name!r} names no service: {HOW}.", code=2)
    module = _module(target, name)
    found = getattr(module, attribute, None)
    if found is None:
        raise Problem(f"{name} cannot be loaded: {target} has no `{attribute}`.", code=2)
    service = found if isinstance(found, Service) else _made(found, settings, name) if callable(found) else None
    if not isinstance(service, Service):
        raise Problem(f"{name} is no service: it must be a hansard.Service or a function that makes one of settings.", code=2)
    try:
        return checked(service)
    except ValueError as wrong:
        raise Problem(f"{name} is no service that can be served: {wrong}.", code=2) from None


def _made(factory: Callable[..., Any], settings: Settings, name: str) -> Any:
    """What the function makes of the settings. Raises Problem."""
    try:
        inspect.signature(factory).bind(settings)
    except TypeError as unfit:
        what = f"it must be a hansard.Service or a function that makes one of settings; it cannot be called with them: {unfit}"
        raise Problem(f"{name} is no service: {what}.", code=2) from None
    except ValueError:  # a callable of C whose arguments are not known
        pass
    try:
        return factory(settings)
    except BaseException as failed:  # whatever the user's own code raises, sys.exit among it
        raise Problem(f"{name} cannot be loaded: {_told(failed, Path.cwd())}.", code=2) from failed


def _module(target: str, name: str) -> ModuleType:
    file = file_of(target)
    root, dotted = _placed(file) if file is not None else (Path.cwd(), target)
    try:
        if file is None:
            return import_module(target)
        if root != HERE:
            return import_module(f"{_package(root)}.{dotted}")
        if str(HERE) not in sys.path:
            sys.path.append(str(HERE))
        return import_module(dotted)
    except ModuleNotFoundError as missing:
        absent = missing.name or ""
        if file is None and f"{target}.".startswith(f"{absent}."):
            raise Problem(f"{name} cannot be loaded: {missing}. {HOW[0].upper()}{HOW[1:]}.", code=2) from missing
        raise Problem(f"{name} cannot be loaded: {_not_found(missing, absent, root)}.", code=2) from missing
    except BaseException as failed:  # whatever the user's own code raises while it is imported, sys.exit among it
        raise Problem(f"{name} cannot be loaded: {_told(failed, root)}.", code=2) from failed


def _not_found(missing: ModuleNotFoundError, absent: str, root: Path) -> str:
    """Which module an import of the user's did not find, in which line, and what to do."""
    yours, (top, _, below) = absent.startswith(PREFIX), absent.partition(".")
    what = f"it imports {below if yours else absent}{_place(missing, root)}, which is not"
    return f"{what} there" if yours or top in sys.modules else f"{what} installed: pip install {top}"


def _told(failed: BaseException, root: Path) -> str:
    """What the user's own code raised, and in which line of it."""
    if isinstance(failed, SyntaxError) and failed.filename:
        return f"{type(failed).__name__} in {_short(failed.filename, root)}, line {failed.lineno}: {failed.msg}"
    text = " ".join(str(failed).split()).rstrip(".")
    return f"{type(failed).__name__}{_place(failed, root)}{f': {text}' if text else ''}"


def _place(failed: BaseException, root: Path) -> str:
    """` in worker.py, line 3`: the innermost line in the user's folder, or else the innermost of all."""
    lines = [(frame.f_code.co_filename, line) for frame, line in walk_tb(failed.__traceback__)]
    lines = [(file, line) for file, line in lines if not file.startswith("<") and file != __file__]
    users = [(file, line) for file, line in lines if Path(file).is_relative_to(root) and "site-packages" not in file]
    if not lines:
        return ""
    file, line = (users or lines)[-1]
    return f" in {_short(file, root)}, line {line}"


def _short(file: str, root: Path) -> str:
    return str(Path(file).relative_to(root)) if Path(file).is_relative_to(root) else file


def is_module(target: str) -> bool:
    """Whether this can be the dotted name of a module."""
    return all(part.isidentifier() for part in target.split("."))


def file_of(target: str) -> Path | None:
    """The file that is meant; None for a module that is installed. Raises Problem for a file that is not there."""
    if target.endswith(".py"):
        file = Path(target).expanduser().resolve()
        if not file.is_file():
            raise Problem(f"There is no file {target} (looked for {file}).", code=2)
        return file
    if not is_module(target):
        return None
    base = Path.cwd().joinpath(*target.split("."))
    for file in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _placed(file: Path) -> tuple[Path, str]:
    """The folder from which a file is imported, and its dotted name there: packages are walked up, as pytest does."""
    parts = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _package(root: Path) -> str:
    """The package under which the modules of this folder are imported."""
    if root not in _folders:
        name = _folders[root] = f"{PREFIX}{len(_folders) + 1}"
        package = ModuleType(name)
        package.__path__ = [str(root)]
        sys.modules[name] = package
        if len(_folders) == 1:
            sys.meta_path.insert(0, _Yours())
    return _folders[root]


class _Yours(MetaPathFinder):
    """Gives the modules of users' folders a loader that lets them import from their own folder."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, _: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        [root] = sys.modules[package].__path__
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": _importing(package, Path(root))}
        super().exec_module(module)


def _importing(package: str, root: Path) -> Callable[..., ModuleType]:
    """`__import__` as the files of this folder see it."""

    def import_(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not _has(root, top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        whole = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or ("",), 0)
        return whole if fromlist else sys.modules[f"{package}.{top}"]

    return import_


def _has(root: Path, top: str) -> bool:
    """Whether an import of this name means the user's folder."""
    if top == "hansard":
        return False
    if (root / f"{top}.py").is_file() or (root / top / "__init__.py").is_file():
        return True
    return (root / top).is_dir() and (top in OURS or (PathFinder.find_spec(top) is None and top not in sys.modules))
