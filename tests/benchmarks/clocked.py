"""`hansard` with a clock at each phase of its work. `python -m tests.benchmarks.clocked FOLDER serve SERVICE`

The begin and end of every call of the functions below are kept, in seconds of the system's clock, and written to
`FOLDER/SERVICE.json` when the process ends.
"""

import atexit
import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

POINTS = {  # by phase, its functions: `module:Class.function`
    "read": ("shared.runtime.inbound:InboundParser.parse",),
    "load": ("shared.eventstore.postgres:PostgresEventStore.load",),
    "fold": ("shared.runtime.processor:Processor.fold",),
    "decide, encode": ("shared.runtime.processor:Processor.process",),
    "append": ("shared.eventstore.postgres:PostgresEventStore.append",),
    "producer handover": ("shared.kafka.producer:Producer.publish",),
    "model SDK": ("openai:AsyncOpenAI.post",),
}
Note = Callable[[str, float, float], None]


def found(point: str) -> tuple[Any, str]:
    """The class of this function, and its name there. Raises ImportError or AttributeError where it is gone."""
    module, _, path = point.partition(":")
    holder, _, name = path.rpartition(".")
    owner = getattr(importlib.import_module(module), holder)
    getattr(owner, name)
    return owner, name


def clocked(function: Callable[..., Any], phase: str, note: Note) -> Callable[..., Any]:
    """The same function; `note` is called with the begin and end of each call."""
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*given: Any, **named: Any) -> Any:
            began = time.time()
            try:
                return await function(*given, **named)
            finally:
                note(phase, began, time.time())

        return awaited

    @wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        began = time.time()
        try:
            return function(*given, **named)
        finally:
            note(phase, began, time.time())

    return called


def main() -> None:
    spans: list[tuple[str, float, float]] = []
    for phase, points in POINTS.items():
        for owner, name in map(found, points):
            setattr(owner, name, clocked(getattr(owner, name), phase, lambda *span: spans.append(span)))
    from infra.cli import main as hansard
    from tests.benchmarks.deployments import short

    path = Path(sys.argv.pop(1)) / f"{short(sys.argv[-1])}.json"
    atexit.register(lambda: path.write_text(json.dumps(spans)))
    hansard()


if __name__ == "__main__":
    main()
