"""A streamed answer, put together from its events. Pure."""

import json
from dataclasses import dataclass, field

from services.gateway.openai_wire.answer import NoUsableAnswer, clean
from services.gateway.openai_wire.request import Api, Json


@dataclass
class StreamedAnswer:
    """Collects server-sent events of Chat Completions or Responses."""

    api: Api
    size: int = 0  # bytes of text, about
    whole: Json = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, Json] = field(default_factory=dict)
    finish: str = ""

    def add(self, event: object) -> str:
        """Takes the next event and returns its text, if any. Skips events that hold nothing of the answer.

        Raises NoUsableAnswer for an event that reports a failure.
        """
        if not isinstance(event, dict):
            return ""
        text = self._chat(event) if self.api == "chat" else self._responses(event)
        self.size += len(text)
        return clean(text)

    def body(self) -> bytes:
        """The body that the same answer has in one piece. Raises NoUsableAnswer if the stream ended before the answer did."""
        if not (self.finish if self.api == "chat" else self.whole):
            raise NoUsableAnswer("error", "the stream ended before the answer did")
        if self.api == "responses":
            return json.dumps(self.whole).encode()
        message = {
            "content": "".join(self.text),
            "refusal": "".join(self.refusal) or None,
            "tool_calls": [self.calls[n] for n in sorted(self.calls)] or None,
        }
        return json.dumps({**self.whole, "choices": [{"message": message, "finish_reason": self.finish}]}).encode()

    def _chat(self, event: Json) -> str:
        self.whole |= {name: event[name] for name in ("id", "model", "usage") if event.get(name)}
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        self.finish = _text(choice.get("finish_reason")) or self.finish
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return ""
        for call in delta.get("tool_calls") or ():
            self._call(call)
        self.refusal.append(_text(delta.get("refusal")))
        self.text.append(text := _text(delta.get("content")))
        return text

    def _call(self, given: object) -> None:
        if not isinstance(given, dict):
            return
        number, function = given.get("index"), given.get("function")
        known = self.calls.setdefault(number if isinstance(number, int) else 0, {"function": {"name": "", "arguments": ""}})
        if isinstance(given.get("id"), str):
            known["id"] = given["id"]
        for name in ("name", "arguments"):
            piece = _text(function.get(name)) if isinstance(function, dict) else ""
            known["function"][name] += piece
            self.size += len(piece)

    def _responses(self, event: Json) -> str:
        kind, response = event.get("type"), event.get("response")
        if kind == "error":
            raise NoUsableAnswer("error", f"the endpoint failed: {clean(_text(event.get('message')))}")
        if kind in ("response.completed", "response.incomplete", "response.failed") and isinstance(response, dict):
            self.whole = response
        return _text(event.get("delta")) if kind == "response.output_text.delta" else ""


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""
