"""The reports of workers in their heartbeats: JSON in Redis, checked when it is read."""

import json
import re
from collections.abc import Sequence

from imgsvc.adapters.redis.replies import parts, wrong_type
from imgsvc.services.throttling.busy_hosts import MAX_BUSY_HOSTS, BusyHost

_MAX_NUMBER = 2**53
_HOST = re.compile(r"[a-z0-9._:-]{1,260}", re.ASCII)


def worker_stats(found: object, count: int) -> list[dict[str, int]]:
    """Return the reply as `count` JSON objects of counts by name; a missing one becomes empty.

    Raises:
        QueueUnavailable: it is not a list of `count` such objects or nulls.
    """
    return [{} if each is None else _worker_stats(each) for each in parts(found, count)]


def _worker_stats(found: object) -> dict[str, int]:
    stats = _parsed(found)
    if isinstance(stats, dict) and all(
        name.isascii() and isinstance(number, int) and _is_number(number) for name, number in stats.items()
    ):
        return stats
    raise wrong_type(found)


def busy_hosts(found: object, count: int) -> list[list[BusyHost]]:
    """Return the hosts of those of `count` workers that report some.

    What cannot be understood is left out, because workers of another version may report something else.

    Raises:
        QueueUnavailable: the reply is not a list of `count` texts or nulls.
    """
    return [_busy_hosts(_parsed(each)) for each in parts(found, count) if each is not None]


def _busy_hosts(report: object) -> list[BusyHost]:
    rows = report[:MAX_BUSY_HOSTS] if isinstance(report, list) else []
    return [BusyHost(*row) for row in rows if isinstance(row, list) and _is_host(row)]


def _is_host(row: Sequence[object]) -> bool:
    if len(row) != len(BusyHost._fields):
        return False
    name, *numbers = row
    return isinstance(name, str) and bool(_HOST.fullmatch(name)) and all(_is_number(number) for number in numbers)


def _is_number(value: object) -> bool:
    """Return whether a metric can have this value: it is a number, but neither negative, endless nor NaN."""
    return isinstance(value, int | float) and 0 <= value <= _MAX_NUMBER


def _parsed(found: object) -> object:
    """Return the JSON value, or None if it is none.

    Raises:
        QueueUnavailable: it is no text.
    """
    if not isinstance(found, bytes):
        raise wrong_type(found)
    try:
        return json.loads(found)
    except (ValueError, RecursionError):
        return None
