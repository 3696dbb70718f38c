"""Which services have diagrams, and where their pages are."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.diagrams import Machine, page, planner

ROOT = Path(__file__).parents[2]
DRAWN: Mapping[str, tuple[Machine[Any], ...]] = {"planner": planner.MACHINES}


def pages() -> dict[str, str]:
    """The pages by their paths, as they should be."""
    return {f"services/{service}/states.md": page(service, machines) for service, machines in DRAWN.items()}


def stale(root: Path = ROOT) -> Iterator[str]:
    """Each page that is not as it should be, and what to do about it."""
    for name, text in pages().items():
        path = root / name
        if not path.exists() or path.read_text("utf-8") != text:
            yield f"{name} is stale: python -m infra.diagrams"
