"""What other languages read of ours, written from the tables.

    python -m contracts.generate                  write schemas/ and asyncapi.json anew
    python -m contracts.generate --check          name what is stale, and exit with 1
    python -m contracts.generate --new-examples   freeze examples for kinds and fields that have none yet

An example is never edited nor removed: old messages stay on the record for good, and every later version reads them.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from contracts.asyncapi import asyncapi, schema
from contracts.catalog import Topics
from contracts.goldens import Golden, missing

HERE = Path(__file__).parent
TABLE = Topics()
VERSION = "2.0.0"  # of the language: its first number changes when a kind is taken away


def goldens(home: Path = HERE) -> dict[str, list[Golden]]:
    """The frozen examples by kind."""
    found: dict[str, list[Golden]] = {}
    for path in sorted((home / "examples").glob("*.json")):
        golden = Golden.parse(path.read_text("utf-8"))
        found.setdefault(golden.kind, []).append(golden)
    return found


def generated(home: Path = HERE) -> dict[str, str]:
    """The generated files by their paths, as they should be."""
    examples = {kind: [golden.example() for golden in those] for kind, those in goldens(home).items()}
    schemas = {f"schemas/{kind.kind}.json": schema(kind, TABLE) for kind in TABLE.kinds.values()}
    documents = schemas | {"asyncapi.json": asyncapi(TABLE, VERSION, examples)}
    return {name: json.dumps(made, indent=2, ensure_ascii=False) + "\n" for name, made in documents.items()}


def stale(home: Path = HERE) -> Iterator[str]:
    """What is not as it should be, each with what to do about it."""
    wanted = generated(home)
    for name, text in wanted.items():
        path = home / name
        if not path.exists() or path.read_text("utf-8") != text:
            yield f"contracts/{name} is stale: make contracts"
    for path in (home / "schemas").glob("*.json"):
        if f"schemas/{path.name}" not in wanted:
            yield f"contracts/schemas/{path.name} is of no kind in the table: a kind is never taken away"
    yield from _examples_stale(home)


def _examples_stale(home: Path) -> Iterator[str]:
    frozen = manifest(home)
    there = {path.name: _hash(path) for path in (home / "examples").glob("*.json")}
    for name in sorted(frozen.keys() | there.keys()):
        if name not in there:
            yield f"contracts/examples/{name} was removed: examples are frozen, bring it back"
        elif name not in frozen:
            yield f"contracts/examples/{name} is not in MANIFEST.sha256: add examples by --new-examples only"
        elif frozen[name] != there[name]:
            yield f"contracts/examples/{name} was edited: examples are frozen, undo that and add another (--new-examples)"
    for golden in missing(TABLE, goldens(home)):
        yield f"contracts/examples/{golden.file} is missing: python -m contracts.generate --new-examples"


def manifest(home: Path = HERE) -> dict[str, str]:
    """SHA-256 of each example by its file name; of the form that `sha256sum -c` reads."""
    path = home / "examples" / "MANIFEST.sha256"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def add_examples(home: Path = HERE) -> Iterator[str]:
    """Freezes what is missing, touches nothing that is there, and names what it added."""
    (home / "examples").mkdir(exist_ok=True)
    added = list(missing(TABLE, goldens(home)))
    for golden in added:
        with (home / "examples" / golden.file).open("x", encoding="utf-8", newline="\n") as file:
            file.write(golden.text())
        with (home / "examples" / "MANIFEST.sha256").open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"{_hash(home / 'examples' / golden.file)}  {golden.file}\n")
        yield golden.file


def write(home: Path = HERE) -> None:
    """Writes the generated files; removes nothing."""
    (home / "schemas").mkdir(exist_ok=True)
    for name, text in generated(home).items():
        (home / name).write_text(text, "utf-8", newline="\n")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        problems = list(stale())
        print("\n".join(problems) or "contracts are as the tables say")
        return 1 if problems else 0
    if arguments not in ([], ["--new-examples"]):
        print(__doc__)
        return 2
    for name in add_examples() if arguments else ():
        print(f"frozen: contracts/examples/{name}")
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
