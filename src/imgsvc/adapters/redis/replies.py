"""Calls to Redis: errors of the client become QueueUnavailable; our own errors are left unchanged."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from traceback import walk_tb
from typing import TypeVar

from redis.exceptions import DataError, RedisError

from imgsvc.errors import QueueUnavailable

T = TypeVar("T")

CLIENTS = frozenset({"redis", "limits"})
"""Packages that talk to Redis and convert its replies."""


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Limit the calls of a block to `seconds` in total.

    Raises:
        QueueUnavailable: they took longer.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise QueueUnavailable(f"Redis is unavailable: no reply within {seconds:g} s") from exc


async def reply(call: Awaitable[T]) -> T:
    """Await one call of redis-py, arq or limits.

    Raises:
        QueueUnavailable: Redis is unavailable, refuses, or sends a reply of the wrong type, for which the client raises
            a TypeError or ValueError (`parse_zadd` of redis-py). Such an error from outside the client is our own bug
            and is raised unchanged, like a DataError, which is about our arguments.
    """
    try:
        return await call
    except DataError:
        raise
    except (RedisError, OSError) as exc:
        raise _unavailable(exc) from exc
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        if not _is_from_client(exc):
            raise
        raise _unavailable(exc) from exc


def integer(found: object) -> int:
    """Return the reply as an integer.

    Raises:
        QueueUnavailable: it is not one.
    """
    if not isinstance(found, int):
        raise wrong_type(found)
    return found


def names(found: object) -> list[str]:
    """Return the reply as a list of texts.

    Raises:
        QueueUnavailable: it is not one.
    """
    if not isinstance(found, list):
        raise wrong_type(found)
    return [text(name) for name in found]


def parts(found: object, count: int) -> list[object]:
    """Return the reply as a list of `count` parts.

    Raises:
        QueueUnavailable: it is not one.
    """
    if not isinstance(found, list) or len(found) != count:
        raise wrong_type(found)
    return found


def text(found: object) -> str:
    """Return the reply as a text.

    Raises:
        QueueUnavailable: it is not one.
    """
    try:
        if isinstance(found, bytes):
            return found.decode()
    except UnicodeDecodeError as exc:
        raise wrong_type(found) from exc
    raise wrong_type(found)


def wrong_type(found: object) -> QueueUnavailable:
    """Return the error for a reply that is not what was asked for."""
    return QueueUnavailable(f"Redis is unavailable: a reply of the wrong type ({type(found).__name__})")


def _unavailable(exc: Exception) -> QueueUnavailable:
    return QueueUnavailable(f"Redis is unavailable: {str(exc) or type(exc).__name__}")


def _is_from_client(exc: Exception) -> bool:
    modules = (str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(exc.__traceback__))
    return any(module.partition(".")[0] in CLIENTS for module in modules)
