import sys

import infra.diagrams
from infra.diagrams.pages import ROOT, pages, stale


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        found = list(stale())
        print("\n".join(found) or "the diagrams are as the code says")
        return 1 if found else 0
    if arguments:
        print(infra.diagrams.__doc__)
        return 2
    for name, text in pages().items():
        (ROOT / name).write_text(text, "utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
