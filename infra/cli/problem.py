"""What goes wrong in a command and can be put right by whoever typed it."""


class Problem(Exception):
    """Something that a person can put right: one sentence, and what to do. `code` is the exit code."""

    def __init__(self, sentence: str, *, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code
