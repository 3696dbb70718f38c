"""Structured logs: one event a line, with correlation ids, without message bodies or secrets."""

import logging
import sys

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from shared.foreign_text import printable_event

log: FilteringBoundLogger = structlog.get_logger("hansard")


def configure(level: str, form: str) -> None:
    """`form`: `console` for people, `json` for machines."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the default one shows locals: passwords, bodies
        )
    )
    plain = structlog.processors.format_exc_info
    structlog.configure(
        processors=[*shared, plain, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    chain = [meta, last] if form == "json" else [meta, printable_event, last]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[*shared, plain], processors=chain))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("aiokafka", "asyncpg", "httpx2", "openai"):  # our own lines report what they fail at, once
        logging.getLogger(noisy).setLevel(level if level == "DEBUG" else "CRITICAL")
