"""What a model thinks aloud before its answer, which is no part of the answer. Pure."""

import re
from dataclasses import dataclass

# How it begins and ends. Only at the beginning of an answer: in its midst the marks are what the answer is about.
MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|channel|>analysis<|message|>": "<|end|>",
    "<|start|>assistant<|channel|>final<|message|>": "",
    "<|channel|>final<|message|>": "",
}
LONGEST = max(map(len, MARKS))
BLANKS = 1_000  # characters: an answer that begins with more has begun, since each piece would be read from the beginning
# Some templates put the opening mark into the prompt, so that an answer has only the closing one, on a line of its own.
_CLOSED_ONLY = re.compile(r"(?:\A|\n)[ \t]*</(?:think|thinking|thought)>[ \t]*(?:\n|\Z)")


@dataclass
class Thinking:
    """Lets the answer through as it comes, without what was thought before it."""

    held: str = ""
    until: str = ""  # the mark that ends what is being thought
    answering: bool = False
    thought: bool = False

    def add(self, text: str) -> str:
        if self.answering:
            return text
        self.held += text
        while not self.answering:
            if self.until:
                before, mark, after = _parted(self.held, self.until)
                if not mark:
                    self.held = before[-len(self.until) :]
                    return ""
                self.held, self.until = after, ""
            start = self.held.lstrip()
            if not start and len(self.held) > BLANKS:
                self.answering = True
                break
            opening = next((mark for mark in MARKS if start[: len(mark)].lower() == mark), None)
            if opening is not None:
                self.held, self.until, self.thought = start[len(opening) :], MARKS[opening], True
            elif any(mark.startswith(start[:LONGEST].lower()) for mark in MARKS):
                return ""  # it may still become a mark
            else:
                self.answering = True
        return self.rest()

    def rest(self) -> str:
        """What was held back, if it is part of the answer."""
        held, self.held = self.held, ""
        return "" if self.until else held.lstrip() if self.thought else held


def _parted(text: str, mark: str) -> tuple[str, str, str]:
    at = text.lower().find(mark)
    return (text, "", "") if at < 0 else (text[:at], mark, text[at + len(mark) :])


def without_thinking(text: str) -> str:
    if "hink" not in text and "thought" not in text and "HINK" not in text and "<|" not in text:
        return text
    thinking = Thinking()
    answer = thinking.add(text) + thinking.rest()
    if not thinking.thought and (closed := _CLOSED_ONLY.search(answer)):
        return answer[closed.end() :].lstrip()
    return answer
