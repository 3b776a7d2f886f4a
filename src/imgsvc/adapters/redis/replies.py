"""Calls to Redis: what the client raises becomes QueueUnavailable, and faults of our own stay what they are."""

import asyncio
import json
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
    """Bound the calls of a block together.

    Raises:
        QueueUnavailable: the time is over.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise QueueUnavailable(f"Redis does not answer: nothing came within {seconds:g} s") from exc


async def reply(call: Awaitable[T]) -> T:
    """Await one call of redis-py, arq or limits.

    Raises:
        QueueUnavailable: Redis is away, refuses, or answers with a reply of the wrong kind, over which the client
            stumbles with a TypeError or ValueError (`parse_zadd` of redis-py). One that the client does not raise is
            a fault of ours and passes, and so does a DataError, which is about our arguments.
    """
    try:
        return await call
    except DataError:
        raise
    except (RedisError, OSError) as exc:
        raise _unavailable(exc) from exc
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        if not _is_the_clients(exc):
            raise
        raise _unavailable(exc) from exc


def integer(found: object) -> int:
    """Raises QueueUnavailable when a reply is no integer."""
    if not isinstance(found, int):
        raise _wrong_kind(found)
    return found


def names(found: object) -> list[str]:
    """Raises QueueUnavailable when a reply is no list of texts."""
    if not isinstance(found, list):
        raise _wrong_kind(found)
    return [_text(name) for name in found]


def worker_stats(found: object, count: int) -> list[dict[str, int]]:
    """Raises QueueUnavailable when a reply is no list of `count` JSON objects, each of which may be missing."""
    if not isinstance(found, list) or len(found) != count:
        raise _wrong_kind(found)
    return [_worker_stats(each) for each in found]


def _worker_stats(found: object) -> dict[str, int]:
    try:
        parsed = {} if found is None else json.loads(_text(found))
    except ValueError as exc:
        raise _wrong_kind(found) from exc
    if not isinstance(parsed, dict):
        raise _wrong_kind(found)
    return parsed


def _text(found: object) -> str:
    try:
        if isinstance(found, bytes):
            return found.decode()
    except UnicodeDecodeError as exc:
        raise _wrong_kind(found) from exc
    raise _wrong_kind(found)


def _wrong_kind(found: object) -> QueueUnavailable:
    return QueueUnavailable(f"Redis does not answer: a reply of the wrong kind ({type(found).__name__})")


def _unavailable(exc: Exception) -> QueueUnavailable:
    return QueueUnavailable(f"Redis does not answer: {str(exc) or type(exc).__name__}")


def _is_the_clients(exc: Exception) -> bool:
    modules = (str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(exc.__traceback__))
    return any(module.partition(".")[0] in CLIENTS for module in modules)
