"""Structured logs: one event a line, with correlation ids; no message bodies, no locals, no secrets.

Where an error's text may hold what a message holds, a log has its type and place; the dead letter has its text. Bodies, and all
that libraries tell of them, are logged only by `HANSARD_LOG_PAYLOADS=true`. Secrets are masked even then.
"""

import asyncio
import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from shared.eventstore.model import StoreUnavailable
from shared.foreign_text import printable_event
from shared.masking import masked

log: FilteringBoundLogger = structlog.get_logger("hansard")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

PLAIN = (OSError, StoreUnavailable, ImportError, AttributeError, NameError, asyncio.TimeoutError)  # errors that hold no body
WITHHELD = "(its text may hold a message: HANSARD_LOG_PAYLOADS=true shows it)"
# Our own lines say what these fail at, once.
SILENT = ("aiokafka", "asyncpg", "httpx", "httpx2", "httpcore", "httpcore2", "openai")
_payloads = False


def configure(level: str, form: str, payloads: bool = False) -> None:
    """`form`: `console` for people, `json` for machines. `payloads`: texts of errors, and what libraries say of bodies."""
    global _payloads
    _payloads = payloads
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_as_text),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    last: Processor = _as_json if form == "json" else _console(sys.stderr.isatty())
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    chain = [meta, last] if form == "json" else [meta, printable_event, last]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=chain))
    logging.basicConfig(level="INFO" if level == "DEBUG" and not payloads else level, handlers=[handler], force=True)
    for ours in ("hansard", "shared", "services", "infra"):
        logging.getLogger(ours).setLevel(level)
    for library in SILENT:
        logging.getLogger(library).setLevel(level if payloads else "CRITICAL")
    logging.captureWarnings(True)


def shown_error(error: BaseException | None) -> str:
    """The type of an error, with its text where that can hold nothing of a message."""
    if error is None:
        return ""
    text = str(error) if _payloads or isinstance(error, PLAIN) else WITHHELD
    return masked(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def report_unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For `loop.set_exception_handler`: asyncio's own would write the error with its text, and the task with its arguments."""
    log.error("an error that nobody handled", what=context.get("message"), exc_info=context.get("exception"))


def _as_text(exc_info: ExcInfo) -> str:
    """The calls that led to an error, without locals."""
    lines: list[str] = []
    error, seen = exc_info[1], set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        calls = "".join(traceback.format_tb(error.__traceback__))
        lines.insert(0, f"Traceback (most recent call last):\n{calls}{shown_error(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nand then:\n\n".join(lines)


def _console(colours: bool) -> Processor:
    renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)

    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        return masked(renderer(logger, name, event))

    return rendered


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return json.dumps(_masked(event), default=lambda other: masked(repr(other)))


def _masked(value: Any) -> Any:
    match value:
        case str():
            return masked(value)
        case dict():
            return {masked(str(name)): _masked(held) for name, held in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(held) for held in value]
        case _:
            return value


# Until `configure` is called, as in a command: structlog's own default shows locals.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.processors.ExceptionRenderer(_as_text),
        printable_event,
        _console(False),
    ],
    logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    cache_logger_on_first_use=False,
)
