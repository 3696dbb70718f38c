"""What a check of `doctor` found."""

from dataclasses import dataclass

from shared.masking import masked


@dataclass(frozen=True)
class Finding:
    """The result of one check. `fix` says what to do; it is empty where the check passed."""

    check: str
    found: str
    fix: str = ""

    def __post_init__(self) -> None:
        for name in ("found", "fix"):
            object.__setattr__(self, name, masked(getattr(self, name)))

    @property
    def ok(self) -> bool:
        return not self.fix


def one_line(text: object) -> str:
    """The first line of an error."""
    return (str(text).strip().splitlines() or [type(text).__name__])[0][:200]
