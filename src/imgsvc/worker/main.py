"""The worker process: two arq queues in one event loop, so that neither lanes nor control jobs wait for the other."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import uvloop
from arq.cron import CronJob, cron
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError

from imgsvc.adapters.queue import CONTROL_QUEUE, DELIVER, SWEEP, WORK, WORK_QUEUE, ArqQueue, deserialize, open_redis
from imgsvc.adapters.queue import serialize as serialize_job
from imgsvc.bootstrap import lane_policy, open_resources, open_workshop
from imgsvc.config import Settings
from imgsvc.errors import QueueUnavailable
from imgsvc.logs import configure_logging, get_logger
from imgsvc.supervisor import stop_on_signals
from imgsvc.worker import jobs

log = get_logger(__name__)

POLL_DELAY = 0.05
"""Seconds. arq checks every running job again at each poll: 32 of them cost 9.5 % of a core at this delay."""
UNLIMITED = 1_000_000_000
"""arq drops a job after this many tries; attempts are counted in the database."""
WORK_JOBS = 32
CONTROL_JOBS = 32
HEARTBEAT = 10.0
_REDIS_RETRIES = 8
_PAUSE = 1.0


def job_functions() -> dict[str, list[Function]]:
    """The functions of each queue, under the names they are enqueued by."""
    return {
        WORK_QUEUE: [func(jobs.work, name=WORK)],
        CONTROL_QUEUE: [func(jobs.deliver, name=DELIVER)],
    }


def sweep_schedule(interval: int) -> CronJob:
    """Every `interval` seconds and at start; one worker of all takes it."""
    seconds = set(range(0, 60, interval))
    return cron(jobs.sweep, name=SWEEP, second=seconds, run_at_startup=True, max_tries=1)


def build_worker(
    queue_name: str, parts: jobs.Parts, *, cron_jobs: Sequence[CronJob] = (), burst: bool = False
) -> Worker:
    """An arq worker for one queue; call it inside the running loop."""
    settings = parts.resources.settings
    return Worker(
        functions=job_functions()[queue_name],
        queue_name=queue_name,
        cron_jobs=cron_jobs,
        redis_pool=open_redis(settings.redis_url, queue_name=queue_name, retries=_REDIS_RETRIES),
        ctx={jobs.PARTS: parts},
        burst=burst,
        handle_signals=False,
        max_jobs=WORK_JOBS if queue_name == WORK_QUEUE else CONTROL_JOBS,
        job_timeout=settings.job_timeout,
        keep_result=0,
        poll_delay=POLL_DELAY,
        queue_read_limit=1_000,
        max_tries=UNLIMITED,
        health_check_key=f"{queue_name}:health:{worker_id()}",
        job_serializer=serialize_job,
        job_deserializer=deserialize,
        log_results=False,
    )


def worker_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Work until `stopping` is set, then drain: whatever happens to Redis or the database meanwhile is waited out."""
    async with open_resources(settings) as resources, open_workshop(resources) as workshop:
        parts = jobs.Parts(resources, workshop, lane_policy(settings), stopping)
        sweeps = [sweep_schedule(settings.sweep_interval)]
        log.info("worker_started", worker=worker_id(), codec_threads=settings.codec_threads)
        async with asyncio.TaskGroup() as group:
            group.create_task(_beat(resources.queue, stopping))
            group.create_task(_keep_running(lambda: build_worker(WORK_QUEUE, parts), parts))
            group.create_task(_keep_running(lambda: build_worker(CONTROL_QUEUE, parts, cron_jobs=sweeps), parts))
        log.info("worker_stopped", worker=worker_id())


async def _beat(queue: ArqQueue, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        with suppress(QueueUnavailable):
            await queue.heartbeat(worker_id())
        await _pause(HEARTBEAT, stopping)
    with suppress(QueueUnavailable):
        await queue.farewell(worker_id())


async def _keep_running(build: Callable[[], Worker], parts: jobs.Parts) -> None:
    """Run one queue's worker, and build it anew when Redis broke it."""
    stopping = parts.stopping
    while not stopping.is_set():
        worker = build()
        running = asyncio.create_task(worker.async_run())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if running.done():
            log.warning("queue_lost", queue=worker.queue_name, error=repr(running.exception()))
        else:
            await _drain(worker, parts.resources.settings.drain_timeout)
        await _close(worker, running)
        await _pause(_PAUSE, stopping)


async def _drain(worker: Worker, seconds: float) -> None:
    """Pick no more; the lanes see `stopping` and end by themselves."""
    worker.allow_pick_jobs = False
    running: list[asyncio.Task[Any]] = list(worker.tasks.values())
    if running:
        await asyncio.wait(running, timeout=seconds)


async def _close(worker: Worker, running: "asyncio.Task[None]") -> None:
    # Jobs that are cancelled here hand their assets back; what they could not tell Redis, the sweep finds out.
    # arq stops waiting at the first that fails, which without Redis all of them do: wait for the others too.
    ending = list(worker.tasks.values())
    with suppress(RedisError, OSError, asyncio.CancelledError):
        await worker.close()
    running.cancel()
    await asyncio.gather(*ending, running, return_exceptions=True)


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def _main(settings: Settings) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    await serve(settings, stopping)


def main() -> None:
    """The process that `imgsvc worker` and `imgsvc up` supervise."""
    settings = Settings()
    configure_logging(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(settings))
