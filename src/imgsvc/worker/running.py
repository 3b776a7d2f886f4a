"""Keeps the arq worker of one queue running, whatever Redis does, and brings its jobs to an end in time."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from arq.worker import Worker
from redis.exceptions import RedisError

from imgsvc.logs import get_logger

log = get_logger(__name__)

_PAUSE = 1.0


async def keep_running(build: Callable[[], Worker], *, stopping: asyncio.Event, drain: float) -> None:
    """Run one queue's worker until `stopping` is set, and then for `drain` seconds at most.

    arq gives up when Redis stays away, and now and then when it comes back: then another worker is built, and the jobs
    of the old one go on. They need no Redis before their end.
    """
    async with asyncio.TaskGroup() as endings:
        while not stopping.is_set():
            worker = build()
            running = asyncio.create_task(worker.async_run())
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if running.done():
                log.warning("queue_connection_lost", queue=worker.queue_name, error=repr(running.exception()))
            endings.create_task(_end(worker, running, stopping=stopping, drain=drain))
            await pause(_PAUSE, stopping)


async def _end(worker: Worker, running: "asyncio.Task[None]", *, stopping: asyncio.Event, drain: float) -> None:
    """Pick no more, and let the jobs end by themselves until it is time to stop.

    Not arq's own `close`: that stops waiting at the first job that fails, which without Redis all of them do.
    """
    worker.allow_pick_jobs = False
    ending: asyncio.Future[Any] = asyncio.gather(*worker.tasks.values(), return_exceptions=True)
    stop: asyncio.Future[Any] = asyncio.create_task(stopping.wait())
    await asyncio.wait({ending, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    await _settle(worker.job_tasks.values(), within=drain * 5 / 6)  # the jobs themselves; lanes see `stopping`
    await _settle(worker.tasks.values(), within=drain / 6)  # arq telling Redis; what it cannot, the sweep finds out
    while not running.done():  # a cancellation that comes with a Redis answer is swallowed by wait_for of Python 3.11
        running.cancel()
        await asyncio.wait({running}, timeout=0.1)
    await asyncio.gather(*worker.tasks.values(), running, return_exceptions=True)
    with suppress(RedisError, OSError):
        await worker.pool.aclose(close_connection_pool=True)


async def _settle(tasks: Iterable["asyncio.Task[Any]"], *, within: float) -> None:
    """Wait for the end of these tasks, and cancel those that take longer."""
    if waiting := set(tasks):
        _, late = await asyncio.wait(waiting, timeout=within)
        for task in late:
            task.cancel()


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Sleep, unless it is time to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
