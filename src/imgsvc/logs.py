"""Structured logging: one JSON line per event, or readable lines on a terminal."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_IDS_OF_CALLS = ("job_id", "request_id")


def configure_logging(level: str = "INFO") -> None:
    """Send our events, and the warnings of the libraries below us, to standard error in one format.

    On a terminal: the time of day, the event, its facts. Elsewhere JSON with everything, times in UTC.
    """
    terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False) if terminal else _in_utc(),
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
    """A logger for the module `name`; events are short words, facts are keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _in_utc() -> Processor:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _for_machines() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _for_people() -> list[Processor]:
    # Without rich's tracebacks: they print every local variable, and one of them took 17 s of the event loop.
    plain = structlog.dev.plain_traceback
    return [
        _without_ids_of_calls,
        structlog.dev.ConsoleRenderer(exception_formatter=plain, pad_event_to=18, sort_keys=False),
    ]


def _without_ids_of_calls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """They tie lines to jobs and requests; when all is well nobody reads them."""
    if event.get("level") == "info":
        for name in _IDS_OF_CALLS:
            event.pop(name, None)
    return event
