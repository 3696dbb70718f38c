"""Writes what other languages read of the contracts.

    python -m contracts.tools.generate                  write every schemas/ and asyncapi.json anew
    python -m contracts.tools.generate --check          name what is stale, and exit with 1
    python -m contracts.tools.generate --new-examples   freeze examples for kinds and fields that have none yet

Where a contract is not as it must be, it says in which file, and exits with 1.

A frozen example is never edited nor removed: messages written once are stored for good, and every later version reads them.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from contracts.catalog import FOLDERS, Topics
from contracts.folders import BadContract
from contracts.tools.asyncapi import asyncapi, schema
from contracts.tools.goldens import Golden, folder_of, misnamed, missing

HERE = Path(__file__).parents[1]
CATALOGUE = Topics()
VERSION = "2.0.0"  # of the contracts; from release 0.2.0 on the first number stays: no kind is taken away
MANIFEST = "MANIFEST.sha256"
NEW_EXAMPLES = "python -m contracts.tools.generate --new-examples"


def goldens(home: Path = HERE) -> dict[str, list[Golden]]:
    """The frozen examples by kind."""
    found: dict[str, list[Golden]] = {}
    for path in sorted(home.glob("*/examples/*.json")):
        golden = Golden.parse(path.read_text("utf-8"))
        found.setdefault(golden.kind, []).append(golden)
    return found


def generated(home: Path = HERE) -> dict[str, str]:
    """The generated files by their paths below `home`, as they should be."""
    examples = {kind: [golden.example() for golden in of_kind] for kind, of_kind in goldens(home).items()}
    kinds = CATALOGUE.kinds.values()
    schemas = {f"{folder_of(kind)}/schemas/{kind.kind}.json": schema(kind, CATALOGUE) for kind in kinds}
    documents = schemas | {"asyncapi.json": asyncapi(CATALOGUE, VERSION, examples)}
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in documents.items()}


def stale(home: Path = HERE) -> Iterator[str]:
    """The files that are not as they should be, each with the command that mends it."""
    wanted = generated(home)
    for name, text in wanted.items():
        path = home / name
        if not path.exists() or path.read_text("utf-8") != text:
            yield f"contracts/{name} is stale: make contracts"
    for path in home.glob("*/schemas/*.json"):
        name = path.relative_to(home).as_posix()
        if name not in wanted:
            yield f"contracts/{name} has no kind in the catalogue: from 0.2.0 on a kind is never taken away"
    for folder in FOLDERS:
        yield from _stale_examples(home, folder)
    for golden in missing(CATALOGUE, goldens(home)):
        yield f"contracts/{golden.path} is missing: {NEW_EXAMPLES}"


def _stale_examples(home: Path, folder: str) -> Iterator[str]:
    frozen = manifest(home, folder)
    present = {path.name: _hash(path) for path in (home / folder / "examples").glob("*.json")}
    for name in sorted(frozen.keys() | present.keys()):
        file = f"contracts/{folder}/examples/{name}"
        if name not in present:
            yield f"{file} was removed: examples are frozen, restore it"
        elif name not in frozen:
            yield f"{file} is not in {MANIFEST}: add examples by --new-examples only"
        elif frozen[name] != present[name]:
            yield f"{file} was edited: examples are frozen, undo that and add a new one (--new-examples)"


def manifest(home: Path, folder: str) -> dict[str, str]:
    """SHA-256 of each example of a folder by its file name; of the form that `sha256sum -c` reads."""
    path = home / folder / "examples" / MANIFEST
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def add_examples(home: Path = HERE) -> Iterator[str]:
    """Freezes the examples that are missing, changes none that is there, and yields the path of each."""
    added = list(missing(CATALOGUE, goldens(home)))
    for golden in added:
        path = home / golden.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(golden.text())
        with (path.parent / MANIFEST).open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"{_hash(path)}  {path.name}\n")
        yield golden.path


def write(home: Path = HERE) -> None:
    """Writes the generated files; removes nothing."""
    for name, text in generated(home).items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except BadContract as bad:
        print(bad, file=sys.stderr)
        return 1


def _run(arguments: list[str]) -> int:
    """Raises BadContract."""
    if problems := list(misnamed(CATALOGUE)):
        raise BadContract("\n".join(problems))
    if arguments == ["--check"]:
        problems = list(stale())
        print("\n".join(problems) or "schemas, examples and AsyncAPI are up to date")
        return 1 if problems else 0
    if arguments not in ([], ["--new-examples"]):
        print(__doc__)
        return 2
    for path in add_examples() if arguments else ():
        print(f"frozen: contracts/{path}")
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
