"""The workers of the queues: how each is built, and the loop that builds a new one when Redis fails.

Only this module, `worker/queue_worker.py`, `worker/jobs.py` (raises `Retry`) and `adapters/redis/` import arq;
`docs/adr/0011-arq-and-what-we-override.md` says what a replacement must offer.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from arq.cron import CronJob, cron
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError

from imgsvc.adapters.redis.job import CHANGE, CLEAN_UP, DELIVER, WORK, deserialize, serialize
from imgsvc.adapters.redis.queue import CHANGE_QUEUE, CLEAN_UP_QUEUE, CONTROL_QUEUE, SWEEP_QUEUE, WORK_QUEUE, open_redis
from imgsvc.logs import get_logger
from imgsvc.process.supervisor import pause
from imgsvc.worker import jobs
from imgsvc.worker.queue_worker import SLOW_POLL_DELAY, LaneWorker, QueueWorker

log = get_logger(__name__)

QUEUES = {WORK_QUEUE: 32, CONTROL_QUEUE: 64, SWEEP_QUEUE: 3, CHANGE_QUEUE: 4, CLEAN_UP_QUEUE: 2}
"""Maximum concurrent jobs per queue. The sweeps have a queue of their own: slow webhooks must not delay recovery, and
long removals not the end of a batch."""
_AT_MOST = {WORK_QUEUE: 2, CONTROL_QUEUE: 8, SWEEP_QUEUE: 1, CHANGE_QUEUE: 1, CLEAN_UP_QUEUE: 1}
"""Jobs that a worker takes per poll, so that several workers share them."""
LONG_TIMEOUT = 900
"""Seconds for a job on a whole batch: listing 250,000 images in a remote bucket takes minutes."""
HEALTH_INTERVAL = 60
UNLIMITED_TRIES = 1_000_000_000
"""arq drops a job after this many tries; attempts are counted in the database."""
_REDIS_RETRIES = 8
_REBUILD_DELAY = 1.0


def worker_id() -> str:
    """Return the name of this process in Redis: `host:pid`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def job_functions() -> dict[str, list[Function]]:
    """Return the functions of each queue, under the names they are enqueued by."""
    return {
        WORK_QUEUE: [func(jobs.run_lane, name=WORK)],
        CONTROL_QUEUE: [func(jobs.deliver_webhook, name=DELIVER)],
        CHANGE_QUEUE: [func(jobs.run_change, name=CHANGE)],
        # Servers of the version before enqueue changes there.
        CLEAN_UP_QUEUE: [func(jobs.run_clean_up, name=CLEAN_UP), func(jobs.run_change, name=CHANGE)],
        SWEEP_QUEUE: [],  # enqueued by arq's cron
    }


def sweep_schedule(interval: int) -> list[CronJob]:
    """Return the cron jobs that sweep at start and every `interval` seconds, each in only one of the workers."""
    seconds = set(range(0, 60, interval))
    return [
        cron(sweep, name=name, second=seconds, run_at_startup=True, max_tries=1) for name, sweep in jobs.SWEEPS.items()
    ]


def build_worker(queue_name: str, context: jobs.WorkerContext, *, burst: bool = False) -> QueueWorker:
    """Build the worker of one queue; call it inside the running event loop."""
    settings = context.resources.settings
    build = partial(LaneWorker, weights=settings.key_weights) if queue_name == WORK_QUEUE else QueueWorker
    return build(
        state=context.queues[queue_name],
        at_most=_AT_MOST[queue_name],
        functions=job_functions()[queue_name],
        queue_name=queue_name,
        cron_jobs=sweep_schedule(settings.sweep_interval) if queue_name == SWEEP_QUEUE else [],
        redis_pool=open_redis(
            settings.redis_url, queue_name=queue_name, timeout=settings.redis_timeout, retries=_REDIS_RETRIES
        ),
        ctx={jobs.CONTEXT_KEY: context},
        burst=burst,
        handle_signals=False,
        max_jobs=QUEUES[queue_name],
        job_timeout=LONG_TIMEOUT if queue_name in (CHANGE_QUEUE, CLEAN_UP_QUEUE) else settings.job_timeout,
        poll_delay=SLOW_POLL_DELAY,  # the window of arq's cron
        max_tries=UNLIMITED_TRIES,
        health_check_key=f"{queue_name}:health:{worker_id()}",
        health_check_interval=HEALTH_INTERVAL,  # arq keeps the key one second longer; nothing reads it
        job_serializer=serialize,
        job_deserializer=deserialize,
        keep_result=0,
        log_results=False,
    )


async def keep_running(build: Callable[[], Worker], *, stopping: asyncio.Event, drain: float) -> None:
    """Run the worker of one queue until `stopping` is set, then drain it for at most `drain` seconds.

    arq gives up while Redis is unavailable, and sometimes when it returns. Then a new worker is built and the jobs of
    the old one continue: they need Redis only when they end.
    """
    async with asyncio.TaskGroup() as draining:
        while not stopping.is_set():
            worker = build()
            running = asyncio.create_task(worker.async_run())
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if running.done():
                log.warning("queue_connection_lost", queue=worker.queue_name, error=repr(running.exception()))
            draining.create_task(_drain(worker, running, stopping=stopping, drain=drain))
            await pause(_REBUILD_DELAY, stopping)


async def _drain(worker: Worker, running: "asyncio.Task[None]", *, stopping: asyncio.Event, drain: float) -> None:
    """Take no more jobs, and let the running ones end by themselves until `stopping` is set.

    arq's own `close` stops waiting at the first job that fails; without Redis every job fails.
    """
    worker.allow_pick_jobs = False
    all_ended: asyncio.Future[Any] = asyncio.gather(*worker.tasks.values(), return_exceptions=True)
    stop: asyncio.Future[Any] = asyncio.create_task(stopping.wait())
    await asyncio.wait({all_ended, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    await _wait_or_cancel(worker.job_tasks.values(), within=drain * 5 / 6)  # the jobs themselves; lanes see `stopping`
    await _wait_or_cancel(
        worker.tasks.values(), within=drain / 6
    )  # arq's report to Redis; the sweep repairs a lost one
    while not running.done():  # wait_for of Python 3.11 swallows a cancellation that arrives with a Redis reply
        running.cancel()
        await asyncio.wait({running}, timeout=0.1)
    await asyncio.gather(*worker.tasks.values(), running, return_exceptions=True)
    with suppress(RedisError, OSError):
        await worker.pool.aclose(close_connection_pool=True)


async def _wait_or_cancel(tasks: Iterable["asyncio.Task[Any]"], *, within: float) -> None:
    """Wait up to `within` seconds for the tasks, then cancel those that are still running."""
    if waiting := set(tasks):
        _, late = await asyncio.wait(waiting, timeout=within)
        for task in late:
            task.cancel()
