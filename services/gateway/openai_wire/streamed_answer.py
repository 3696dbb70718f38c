"""A streamed answer, put together from its events. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any

from services.gateway.openai_wire.answer import NoUsableAnswer, failed_answer
from services.gateway.openai_wire.errors import read_error
from services.gateway.openai_wire.events import Event, TooLarge
from services.gateway.openai_wire.request import Api
from services.gateway.openai_wire.thinking import Thinking
from services.gateway.openai_wire.tolerant import Json, clean, listed, mapping, refusal_of, string, text_of
from services.gateway.openai_wire.tool_calls import ToolCallPieces
from services.gateway.openai_wire.usage import Tokens, quarters, read_usage, whole_tokens

CALL = 64  # characters that a call takes beside its name and arguments
ENDED = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


@dataclass
class StreamedAnswer:
    """Collects server-sent events of Chat Completions or Responses, at most `largest` characters of them."""

    api: Api
    largest: int = 2**62
    size: int = 0  # characters of the answer, about
    kept: int = 0  # characters of items, which repeat what came in pieces
    quarters: int = 0  # of a token: of the answer and of reasoning
    ended: bool = False  # by its own mark; no event of it follows
    counted: bool = False  # its tokens came, which come last
    finish: object = None
    whole: Json = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: ToolCallPieces = field(default_factory=ToolCallPieces)
    items: dict[Any, Json] = field(default_factory=dict)  # of Responses, by place
    shown: Thinking = field(default_factory=Thinking)
    _half: str = ""  # the first half of a character

    def add(self, event: Event) -> str:
        """Takes the next event and returns its text, if any. Skips events that hold nothing of the answer.

        Raises NoUsableAnswer for an event that reports a failure, TooLarge at the limit.
        """
        if self.ended:
            return ""
        self.ended, data = event.end, event.data
        if isinstance(data, list):  # how Google reports errors
            data = next((one for one in data if isinstance(one, dict)), {})
        if not isinstance(data, dict):
            return ""
        text = self._chat(data, event.name) if self.api == "chat" else self._responses(data, event.name)
        self.size += len(text)
        if max(self.size + self.calls.size + CALL * len(self.calls.calls), self.kept) > self.largest:
            raise TooLarge
        self.quarters += quarters(text)
        return self._to_show(text)

    @property
    def received(self) -> int:
        """Tokens of the answer and of reasoning that have come, estimated."""
        return whole_tokens(self.quarters + self.calls.size)

    def rest(self) -> str:
        """The text that was held back because it looked like the beginning of reasoning."""
        return clean(self.shown.rest())

    def body(self) -> bytes:
        """The body that the same answer has in one piece. Raises NoUsableAnswer if the stream ended before the answer did."""
        if not (self.ended or self.counted or (self.finish if self.api == "chat" else self.whole)):
            raise NoUsableAnswer("error", "the stream ended before the answer did")
        return json.dumps(self._body()).encode()

    def _body(self) -> Json:
        text = "".join(self.text)
        calls = [call.model_dump() for call in self.calls.all()]
        if self.api == "chat":
            message = {"content": text, "refusal": "".join(self.refusal), "tool_calls": calls}
            return {**self.whole, "choices": [{"message": message, "finish_reason": self.finish}]}
        items = listed(self.whole.get("output")) or [self.items[place] for place in sorted(self.items, key=str)]
        kinds = {mapping(item).get("type") for item in items}
        if calls and "function_call" not in kinds:
            items = [*items, *({"type": "function_call", **call, "call_id": call["id"]} for call in calls)]
        if "message" not in kinds and (text or any(self.refusal)):
            refusal = {"type": "refusal", "refusal": "".join(self.refusal)}
            items = [*items, {"type": "message", "content": [{"type": "output_text", "text": text}, refusal]}]
        return {**self.whole, "output": items}

    def _chat(self, event: Json, name: str) -> str:
        self.whole |= {key: event[key] for key in ("id", "model") if event.get(key)}
        choices = [choice for choice in listed(event.get("choices")) if isinstance(choice, dict)]
        choice: Json = next((one for one in choices if not one.get("index")), {})
        if read_usage(event) != Tokens():
            self.whole |= {"usage": event.get("usage") or choice.get("usage"), "x_groq": event.get("x_groq")}
        text = self._delta(choice)
        self.finish = choice.get("finish_reason") or self.finish
        self.counted = bool(not choices and event.get("usage") and (self.text or self.calls.calls))
        error = read_error(event) or read_error(choice) or (read_error(event, anywhere=True) if name == "error" else None)
        if error is not None:
            raise failed_answer(error, "chat", self._body())
        return text

    def _delta(self, choice: Json) -> str:
        delta, message = mapping(choice.get("delta")), mapping(choice.get("message"))
        if not delta and message and not any(self.text):
            delta = message  # all at once
        for call in listed(delta.get("tool_calls")) or listed(delta.get("function_call")):
            self.calls.add(call)
        content = delta.get("content")
        refusal = string(delta.get("refusal")) or refusal_of(content)
        self.refusal.append(refusal)
        self.size += len(refusal)
        self.quarters += quarters(string(delta.get("reasoning_content")) or string(delta.get("reasoning")))
        self.text.append(text := text_of(content) or text_of(choice.get("text")))
        return text

    def _responses(self, event: Json, name: str) -> str:
        kind, response = string(event.get("type")) or name, mapping(event.get("response"))
        if error := read_error(event, anywhere=kind == "error") if kind in ("error", "") else None:
            raise failed_answer(error, "responses", self._body())
        if kind in ENDED and response:
            self.whole, self.ended = response, True
        elif kind == "response.output_item.done" and (item := mapping(event.get("item"))):
            self.items[event.get("output_index", len(self.items))] = item
            self.kept += len(str(item))
        elif kind in ("response.output_item.added", "response.function_call_arguments.done"):
            self._called(event, mapping(event.get("item")))
        elif kind == "response.refusal.delta":
            self.refusal.append(string(event.get("delta")))
            self.size += len(self.refusal[-1])
        elif kind.startswith("response.reasoning") and kind.endswith(".delta"):
            self.quarters += quarters(string(event.get("delta")))
        if kind == "response.output_text.delta":
            self.text.append(text := text_of(event.get("delta")))
            return text
        return ""

    def _called(self, event: Json, item: Json) -> None:
        """A call whose item is not repeated when it is complete."""
        if item.get("type") == "function_call" or "arguments" in event:
            id = item.get("call_id")
            arguments = event.get("arguments") or item.get("arguments")
            self.calls.add({"index": event.get("output_index"), "id": id, "name": item.get("name"), "arguments": arguments})

    def _to_show(self, text: str) -> str:
        """Without reasoning; half a character waits for the other half."""
        text, self._half = self._half + self.shown.add(text), ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return clean(text)
