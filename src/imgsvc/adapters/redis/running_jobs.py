"""Jobs as a worker sees them: take those that are due, renew them while they run, remove them or put them back."""

import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import NamedTuple, NoReturn

from arq.connections import ArqRedis
from arq.constants import job_key_prefix, retry_key_prefix

from imgsvc.adapters.redis.replies import integer, names, parts, reply, text
from imgsvc.adapters.redis.scripts import CHANNEL, PUT_BACK, RENEW, TAKE, TAKE_LANES, running_key, turns_key
from imgsvc.errors import QueueUnavailable

VISIBILITY = timedelta(seconds=30)
"""Time without a renewal after which a job goes back to its queue: its worker is dead, or cannot reach Redis."""

_LISTEN_TIMEOUT = 30.0
"""Seconds without a message after which the connection is tested."""


class Taken(NamedTuple):
    """Jobs that this worker runs now, and the seconds until another job of the queue is due (None: none is known)."""

    job_ids: list[str]
    next_due: float | None


async def take(redis: ArqRedis, queue_name: str, *, at_most: int) -> Taken:
    """Take the jobs of the queue that have been due for longest, in one command.

    Raises:
        QueueUnavailable: Redis is unavailable.
    """
    keys = [queue_name, running_key(queue_name)]
    return _taken(await reply(redis.register_script(TAKE)(keys, [_ms(VISIBILITY), at_most])))


async def take_lanes(
    redis: ArqRedis,
    queue_name: str,
    *,
    at_most: int,
    free: int,
    weights: Mapping[str, float],
    held: Mapping[str, int],
) -> Taken:
    """Take lanes in turn between API keys, by weight, in one command.

    `held` are the places of this worker that each key holds; a key may hold at most three times the `free` ones.

    Raises:
        QueueUnavailable: Redis is unavailable.
    """
    keys = [queue_name, running_key(queue_name), turns_key(queue_name)]
    arguments: list[str | int] = [_ms(VISIBILITY), at_most, free, json.dumps(dict(weights)), json.dumps(dict(held))]
    return _taken(await reply(redis.register_script(TAKE_LANES)(keys, arguments)))


async def renew(redis: ArqRedis, queue_name: str, job_ids: Collection[str]) -> None:
    """Keep running jobs out of the queue for another `VISIBILITY`.

    Raises:
        QueueUnavailable: Redis is unavailable.
    """
    if job_ids:
        await reply(redis.register_script(RENEW)([running_key(queue_name)], [_ms(VISIBILITY), *job_ids]))


async def remove(redis: ArqRedis, queue_name: str, job_id: str, *, remember: timedelta | None) -> None:
    """Remove a job that has ended; its id cannot be enqueued again by arq's cron for the time `remember`.

    Raises:
        QueueUnavailable: Redis is unavailable.
    """
    job_key = job_key_prefix + job_id
    async with redis.pipeline(transaction=True) as pipe:
        pipe.zrem(running_key(queue_name), job_id)
        pipe.zrem(queue_name, job_id)
        pipe.delete(retry_key_prefix + job_id, *([] if remember else [job_key]))
        if remember:
            pipe.pexpire(job_key, remember)
        await reply(pipe.execute())


async def put_back(redis: ArqRedis, queue_name: str, job_id: str, *, at_ms: int | None) -> None:
    """Put a job back into the queue, due now or at a time in milliseconds, behind the jobs that wait.

    Raises:
        QueueUnavailable: Redis is unavailable.
    """
    keys = [queue_name, running_key(queue_name)]
    await reply(redis.register_script(PUT_BACK)(keys, [job_id, "" if at_ms is None else at_ms]))


async def listen(redis: ArqRedis, wake: Callable[[str], None]) -> NoReturn:
    """Call `wake` with the name of a queue whenever a job of it becomes due at once, and first of all with "".

    Raises:
        QueueUnavailable: Redis is unavailable; calls may have been missed.
    """
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await reply(pubsub.subscribe(CHANNEL))
        wake("")
        is_tested = False
        while True:
            message = await reply(pubsub.get_message(timeout=_LISTEN_TIMEOUT))
            if message is None and is_tested:
                raise QueueUnavailable(f"Redis is unavailable: silent for {_LISTEN_TIMEOUT:g} s")
            if message is None:
                await reply(pubsub.ping())
            elif message["type"] == "message":
                wake(text(message["data"]))
            is_tested = message is None


def _taken(found: object) -> Taken:
    next_due, job_ids = parts(found, 2)
    delay = integer(next_due)
    return Taken(names(job_ids), None if delay < 0 else delay / 1000)


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)
