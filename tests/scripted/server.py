"""The model's name is the script: `ok`, `ok@50ms`, `429@2s+ok`, `500+500+ok#mine`. Any other name answers like `ok`.

Steps are joined by `+`: one a call, the last one for all further calls. The part after `#` only keeps counters apart. A
header `X-Script` wins over the name. A step is

    ok@T        answers after T, at once without; with a schema, in that schema
    tool        calls the first tool it was given
    invalid     answers with text that is not JSON           unsure      JSON with `"confidence": 0.2`
    empty       an answer without choices                    mute        a choice without content
    cut         stops for length                             filtered    stops for its content
    loops       repeats the same few words
    500, 401 …  that status                                  429@T       with Retry-After, in seconds
    date429@T   with Retry-After as a date, and the Date     garbage     200 and no JSON
    half        half of the body that its length announces   drip@T      a byte every T
    words@T     in a stream, a word every T                  fails       an error; in a stream, half way through
    timeout     never answers                                reset       cuts the connection
    unpriced    an answer without its number of tokens       endless     begins an answer, and goes on for 64 MB

`GET /calls` returns the calls by script, `connections`, the calls `now` running and `peak`, the most at once.
"""

import asyncio
import email.utils
import json
import re
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any

from tests.scripted.streams import failing, half, streamed

_STEP = re.compile(r"(?P<kind>[a-z]*)(?P<status>\d{3})?(?:@(?P<time>[\d.]+)(?P<unit>ms|s))?\Z")
KINDS = frozenset(
    re.findall(
        r"[a-z]+",
        "ok tool invalid unsure empty mute cut filtered loops date garbage half drip words fails timeout reset unpriced endless"
        " status",
    )
)
Json = dict[str, Any]
FAILED: Json = {"error": {"code": "server_error", "type": "scripted", "message": "scripted failure in the midst"}}
LAST = b"0\r\n\r\n"  # chunk of the transfer encoding
BEGUN = b'{"id": "endless", "choices": [{"index": 0, "message": {"role": "assistant", "content": "'


@dataclass(frozen=True, slots=True)
class Step:
    kind: str
    status: int = 200
    seconds: float = 0.0


@lru_cache(maxsize=1024)
def steps(model: str) -> tuple[Step, ...]:
    matches = [_STEP.match(part) for part in model.partition("#")[0].split("+")]
    known = [one for one in matches if one and (one["kind"] or "status") in KINDS and (one["kind"] or one["status"])]
    return tuple(_step(match) for match in known) if len(known) == len(matches) else (Step("ok"),)


def _step(match: re.Match[str]) -> Step:
    seconds = float(match["time"] or 0) / (1000 if match["unit"] == "ms" else 1)
    return Step(match["kind"] or "status", int(match["status"] or 200), seconds)


class Scripted:
    """`async with Scripted() as server:` serves `server.url` on 127.0.0.1, in this event loop."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.calls: Counter[str] = Counter()
        self.seen: list[tuple[str, dict[str, str], Json]] = []  # path, headers, body of the last calls
        self.keep = 0  # how many of them
        self.connections = 0
        self.now = 0
        self.peak = 0
        self.open: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "Scripted":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for transport in list(self.open):
            transport.abort()
        await self._server.wait_closed()


class _Connection(asyncio.Protocol):
    def __init__(self, server: Scripted) -> None:
        self.server = server
        self.buffer = bytearray()
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections += 1
        self.server.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self.transport)
        if self.timer is not None:
            self.timer.cancel()
            self._done()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", "0"))
            if len(self.buffer) < end + 4 + length:
                return
            body = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            path = lines[0].split(" ")[1]
            try:
                self._respond(path, headers, json.loads(body) if body else {})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._send(400, {"error": {"message": repr(error), "type": "invalid_request_error"}})

    def _respond(self, path: str, headers: dict[str, str], body: Json) -> None:
        server = self.server
        if path == "/calls":
            counts = {"calls": server.calls, "connections": server.connections, "now": server.now, "peak": server.peak}
            return self._send(200, counts)
        if path == "/v1/models":
            return self._send(200, {"object": "list", "data": [{"id": "ok", "object": "model"}]})
        if path not in ("/v1/chat/completions", "/v1/responses"):
            return self._send(404, {"error": {"message": f"no {path} here"}})
        script = headers.get("x-script") or body["model"]
        plan = steps(script)
        step = plan[min(server.calls[script], len(plan) - 1)]
        server.calls[script] += 1
        server.now += 1
        server.peak = max(server.peak, server.now)
        if server.keep:
            server.seen = [*server.seen, (path, headers, body)][-server.keep :]
        self._play(path, body, step)

    def _play(self, path: str, body: Json, step: Step) -> None:
        loop = asyncio.get_running_loop()
        match step.kind:
            case "timeout":
                self.timer = loop.call_later(3600, self._done)
            case "reset":
                self._reset()
            case "date" | "status":
                self._refuse(step)
            case "garbage":
                self._write(200, b"<html>This is not JSON</html>", b"text/html")
                self._done()
            case "endless":
                head = b"HTTP/1.1 200 Scripted\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
                self._drip([head, _chunk(BEGUN), *[_chunk(b"x" * (1 << 20))] * 64, LAST], 0, 0.001)
            case "half" | "drip" | "words" | "fails" if body.get("stream"):
                self._stream(path, body, step)
            case "fails" if not path.endswith("/responses"):
                self._send(200, FAILED)
                self._done()
            case "half" | "drip":
                whole = _answer(path, body, step)
                self.transport.write(_head(200, b"application/json", len(whole)))
                if step.kind == "half":
                    self.transport.write(whole[: len(whole) // 2])
                    self._done()
                    self.transport.close()
                else:
                    self._drip([whole[n : n + 1] for n in range(len(whole))], 0, step.seconds or 0.05)
            case _ if step.seconds and step.kind != "words":
                self.timer = loop.call_later(step.seconds, self._reply, path, body, step)
            case _:
                self._reply(path, body, step)

    def _reply(self, path: str, body: Json, step: Step) -> None:
        if body.get("stream"):
            return self._stream(path, body, step)
        self._write(200, _answer(path, body, step), b"application/json")
        self._done()

    def _stream(self, path: str, body: Json, step: Step) -> None:
        """Server-sent events, each in one chunk of the transfer encoding."""
        events = streamed(path, body, _whole(path, body, Step("ok") if step.kind == "fails" else step))
        events = failing(path, events) if step.kind == "fails" else half(events) if step.kind == "half" else events
        chunks = [_chunk(event) for event in events]
        self.transport.write(b"HTTP/1.1 200 Scripted\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        match step.kind:
            case "half":
                self.transport.write(b"".join(chunks))
                self._done()
                self.transport.close()
            case "drip":
                whole = b"".join(chunks) + LAST
                self._drip([whole[n : n + 1] for n in range(len(whole))], 0, step.seconds or 0.05)
            case "words":
                self._drip([*chunks, LAST], 0, step.seconds or 0.05)
            case _:
                self.transport.write(b"".join(chunks) + LAST)
                self._done()

    def _refuse(self, step: Step) -> None:
        wait, now = str(step.seconds) if step.seconds % 1 else str(int(step.seconds)), int(time.time())
        if step.kind == "date":
            then, here = (email.utils.formatdate(at, usegmt=True) for at in (now + step.seconds, now))
            wait = f"{then}\r\nDate: {here}"
        extra = f"Retry-After: {wait}\r\n".encode() if step.seconds else b""
        error = {"error": {"message": f"scripted {step.status}", "type": "scripted", "code": None}}
        self._write(step.status, json.dumps(error).encode(), b"application/json", extra)
        self._done()

    def _drip(self, pieces: list[bytes], sent: int, pause: float) -> None:
        if self.transport.is_closing() or sent >= len(pieces):
            return self._done()
        self.transport.write(pieces[sent])
        self.timer = asyncio.get_running_loop().call_later(pause, self._drip, pieces, sent + 1, pause)

    def _reset(self) -> None:
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._done()
        self.transport.abort()

    def _send(self, status: int, body: Json) -> None:
        self._write(status, json.dumps(body).encode(), b"application/json")

    def _write(self, status: int, body: bytes, kind: bytes, extra: bytes = b"") -> None:
        self.transport.write(_head(status, kind, len(body), extra) + body)

    def _done(self) -> None:
        self.timer = None
        self.server.now -= 1


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _head(status: int, kind: bytes, length: int, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Scripted\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s\r\n" % (
        status,
        kind,
        length,
        extra,
    )


def _answer(path: str, body: Json, step: Step) -> bytes:
    return json.dumps(_whole(path, body, step)).encode()


def _whole(path: str, body: Json, step: Step) -> Json:
    text = _text(path, body, step)
    return _responses(body, step, text) if path.endswith("/responses") else _chat(body, step, text)


def _question(path: str, body: Json) -> str:
    if path.endswith("/responses"):
        given = body["input"]
        return given if isinstance(given, str) else str(given[-1].get("content", given[-1].get("output", "")))
    return str(body["messages"][-1]["content"])


def _text(path: str, body: Json, step: Step) -> str:
    asked = _question(path, body)
    if step.kind in ("invalid", "mute", "empty"):
        return "This is not JSON." if step.kind == "invalid" else ""
    if step.kind == "loops":
        return "again and " * 60
    form = body.get("text" if path.endswith("/responses") else "response_format", {})
    form = form.get("format", form).get("json_schema", form.get("format", form))
    if schema := form.get("schema"):
        sure = 0.2 if step.kind == "unsure" else 0.9
        return json.dumps(_instance(schema, f"Scripted answer to: {asked}", sure))
    return f"Scripted answer to: {asked}"


def _instance(schema: Json, text: str, sure: float) -> Any:
    """The smallest instance of the schema; `confidence` is `sure`."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _instance(schema[choice][0], text, sure)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            fields = schema.get("properties", {})
            wanted = schema.get("required", list(fields))
            return {name: sure if name == "confidence" else _instance(fields.get(name, {}), text, sure) for name in wanted}
        case "array":
            least = max(schema.get("minItems", 0), 0)
            return [_instance(schema.get("items", {}), text, sure)] * least
        case "integer":
            return schema.get("minimum", 1)
        case "number":
            return schema.get("minimum", 0.5)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text[: schema.get("maxLength", 10_000)]


def _tool(body: Json) -> tuple[str, str]:
    function = body["tools"][0].get("function", body["tools"][0])
    return function["name"], json.dumps(_instance(function.get("parameters", {}), "scripted", 0.9))


def _tokens(path: str, body: Json, text: str) -> tuple[int, int]:
    return max(1, len(_question(path, body)) // 4), max(1, len(text) // 4)


_FINISH = {"tool": "tool_calls", "cut": "length", "filtered": "content_filter"}


def _chat(body: Json, step: Step, text: str) -> Json:
    message: Json = {"role": "assistant", "content": text or None}
    if step.kind == "tool":
        name, arguments = _tool(body)
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        message |= {"content": None, "tool_calls": [call]}
    into, out = _tokens("", body, text)
    answer: Json = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "system_fingerprint": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": _FINISH.get(step.kind, "stop"), "logprobs": None}],
        "usage": {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out},
    }
    if step.kind == "empty":
        answer["choices"] = []
    if step.kind == "unpriced":
        del answer["usage"]
    return answer


def _responses(body: Json, step: Step, text: str) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    output: list[Json] = [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}]
    if step.kind == "tool":
        name, arguments = _tool(body)
        output = [{"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments}]
    into, out = _tokens("/responses", body, text)
    answer: Json = {
        "id": "resp_scripted",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "status": "incomplete" if step.kind in ("cut", "filtered") else "completed",
        "output": [] if step.kind == "empty" else output,
        "usage": {"input_tokens": into, "output_tokens": out, "total_tokens": into + out},
    }
    if step.kind in ("cut", "filtered"):
        reason = "max_output_tokens" if step.kind == "cut" else "content_filter"
        answer["incomplete_details"] = {"reason": reason}
    if step.kind == "fails":
        answer |= {"status": "failed", "output": [], **FAILED}
    if step.kind == "unpriced":
        del answer["usage"]
    return answer
