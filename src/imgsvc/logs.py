"""Structured logging: one JSON line per event, or human-readable lines on a terminal."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_CALL_IDS = ("job_id", "request_id")


def configure_logging(level: str = "INFO") -> None:
    """Write our events and the warnings of libraries to standard error in one format.

    On a terminal: time of day, event, fields. Otherwise JSON with all fields and times in UTC.
    """
    terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False) if terminal else _utc_time(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_for_people() if terminal else _for_machines()),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("imgsvc").setLevel(level)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of the module `name`; an event is a short snake_case name, its fields are keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _utc_time() -> Processor:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _for_machines() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _for_people() -> list[Processor]:
    # Not rich's tracebacks: they print every local variable; one took 17 s of the event loop.
    plain = structlog.dev.plain_traceback
    return [
        _drop_call_ids,
        structlog.dev.ConsoleRenderer(exception_formatter=plain, pad_event_to=18, sort_keys=False),
    ]


def _drop_call_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Remove job and request ids from info lines; they are useful only next to warnings and errors."""
    if event.get("level") == "info":
        for name in _CALL_IDS:
            event.pop(name, None)
    return event
