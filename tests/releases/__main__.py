"""Keeps the wheel of a release: `python -m tests.releases 0.2.0`, once it is tagged. Earlier ones go."""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.releases import KEPT, of_tag


def main(tag: str) -> None:
    with tempfile.TemporaryDirectory() as work:
        wheel = of_tag(tag, Path(work))
        for earlier in KEPT.glob("hansard-*.whl"):
            earlier.unlink()
        print(shutil.copy(wheel, KEPT))


if __name__ == "__main__":
    main(*sys.argv[1:])
