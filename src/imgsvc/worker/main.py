"""The worker process: an arq queue for each kind of job in one event loop, so that none waits for another kind."""

import asyncio
import gc
import os
import socket
from contextlib import suppress
from functools import partial

import uvloop
from arq.constants import in_progress_key_prefix
from arq.cron import CronJob, cron
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError

from imgsvc.adapters.redis.queue import (
    CLEAN_UP,
    CLEAN_UP_QUEUE,
    CONTROL_QUEUE,
    DELIVER,
    SWEEP,
    SWEEP_QUEUE,
    WORK,
    WORK_QUEUE,
    ArqQueue,
    deserialize,
    open_redis,
)
from imgsvc.adapters.redis.queue import serialize as serialize_job
from imgsvc.bootstrap import lane_policy, open_asset_processor, open_resources
from imgsvc.errors import QueueUnavailable, StorageError
from imgsvc.logs import configure_logging, get_logger
from imgsvc.process import descriptors
from imgsvc.process.supervisor import stop_on_signals
from imgsvc.services.processing.worker_stats import WorkerStats
from imgsvc.settings.server import Settings
from imgsvc.worker import jobs
from imgsvc.worker.running import keep_running, pause

log = get_logger(__name__)

POLL_DELAY = 0.05
"""Seconds; how long a new lane waits at most for an idle worker to look."""
SLOW_POLL_DELAY = 0.5
MAX_AT_ONCE = 2
"""Jobs that a worker takes at one poll: half of the lanes of a batch."""
UNLIMITED = 1_000_000_000
"""arq drops a job after this many tries; attempts are counted in the database."""
QUEUES = {WORK_QUEUE: 32, CONTROL_QUEUE: 64, SWEEP_QUEUE: 1, CLEAN_UP_QUEUE: 2}
"""How many jobs of each may run at a time. The sweep has one to itself: slow webhooks must not hold up recovery."""
CLEAN_UP_TIMEOUT = 900
"""Seconds; in a bucket far away 250,000 images take minutes to list. What a killed worker was tidying waits as long."""
HEARTBEAT = 10.0
HEALTH_INTERVAL = 60
_REDIS_RETRIES = 8


def job_functions() -> dict[str, list[Function]]:
    """The functions of each queue, under the names they are enqueued by."""
    return {
        WORK_QUEUE: [func(jobs.work, name=WORK)],
        CONTROL_QUEUE: [func(jobs.deliver, name=DELIVER)],
        CLEAN_UP_QUEUE: [func(jobs.clean_up, name=CLEAN_UP)],
        SWEEP_QUEUE: [],  # arq's cron enqueues it
    }


def sweep_schedule(interval: int) -> CronJob:
    """Every `interval` seconds and at start; one worker of all takes it."""
    seconds = set(range(0, 60, interval))
    return cron(jobs.sweep, name=SWEEP, second=seconds, run_at_startup=True, max_tries=1)


class ConsiderateWorker(Worker):
    """arq's worker, except that it leaves other workers their share, and Redis in peace about its own jobs.

    The original takes every job that waits: of two workers the first would get all lanes of a batch. And at each poll
    it asks about every job that runs, with three commands.
    """

    async def run_job(self, job_id: str, score: int) -> None:
        """Let others have the job when Redis failed us between marking it as ours and beginning or ending it.

        Its mark lasts as long as the job may take: one that nobody works on kept a batch from being tidied for an hour.
        """
        try:
            await super().run_job(job_id, score)
        except (RedisError, OSError):
            with suppress(RedisError, OSError):
                await self.pool.delete(in_progress_key_prefix + job_id)
            raise

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        running = len(self.tasks)
        for job_id in job_ids:
            if job_id.decode() not in self.tasks:
                await super().start_jobs([job_id])
            if len(self.tasks) >= running + MAX_AT_ONCE:
                return


def build_worker(queue_name: str, parts: jobs.WorkerContext, *, burst: bool = False) -> Worker:
    """An arq worker for one queue; call it inside the running loop."""
    settings = parts.resources.settings
    return ConsiderateWorker(
        functions=job_functions()[queue_name],
        queue_name=queue_name,
        cron_jobs=[sweep_schedule(settings.sweep_interval)] if queue_name == SWEEP_QUEUE else [],
        redis_pool=open_redis(
            settings.redis_url, queue_name=queue_name, timeout=settings.redis_timeout, retries=_REDIS_RETRIES
        ),
        ctx={jobs.CONTEXT_KEY: parts},
        burst=burst,
        handle_signals=False,
        max_jobs=QUEUES[queue_name],
        job_timeout=CLEAN_UP_TIMEOUT if queue_name == CLEAN_UP_QUEUE else settings.job_timeout,
        keep_result=0,
        poll_delay=SLOW_POLL_DELAY if queue_name in (SWEEP_QUEUE, CLEAN_UP_QUEUE) else POLL_DELAY,
        queue_read_limit=1_000,
        max_tries=UNLIMITED,
        health_check_key=f"{queue_name}:health:{worker_id()}",
        health_check_interval=HEALTH_INTERVAL,  # arq keeps the key a second longer, and nobody asks for it
        job_serializer=serialize_job,
        job_deserializer=deserialize,
        log_results=False,
    )


def worker_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


async def serve(settings: Settings, stopping: asyncio.Event) -> int:
    """Work until `stopping` is set, then drain: whatever happens to Redis or the database meanwhile is waited out.

    Returns the process's exit code: 1 when it had to stop because a codec thread was stuck in an image.
    """
    async with (
        open_resources(settings) as resources,
        open_asset_processor(resources, on_overrun=stopping.set) as processor,
    ):
        parts = jobs.WorkerContext(resources, processor, lane_policy(settings), stopping)
        log.info("worker_started", worker=worker_id(), codec_threads=settings.codec_threads)
        async with asyncio.TaskGroup() as group:
            group.create_task(_beat(resources.queue, processor.stats, stopping))
            for queue_name in QUEUES:
                build = partial(build_worker, queue_name, parts)
                group.create_task(keep_running(build, stopping=stopping, drain=settings.drain_timeout))
        log.info("worker_stopped", worker=worker_id())
    return int(processor.codec.overran)


async def _beat(queue: ArqQueue, stats: WorkerStats, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        with suppress(QueueUnavailable):
            await queue.heartbeat(worker_id(), stats.counts)
        await pause(HEARTBEAT, stopping)
    with suppress(QueueUnavailable):
        await queue.farewell(worker_id())


async def _main(settings: Settings) -> int:
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    return await serve(settings, stopping)


def _collect_rarely() -> None:
    """What is loaded stays, and hardly anything of what follows is cyclic: by default a tenth of the event loop's time
    goes into looking for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def main() -> None:
    """The process that `imgsvc worker` and `imgsvc up` supervise."""
    settings = Settings()
    configure_logging(settings.log_level)
    descriptors.raise_limit()
    _collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(_main(settings))
        except StorageError as error:  # it was there when our supervisor began, who starts us again until it is back
            log.error("cannot_start", error=str(error))  # noqa: TRY400  # its words say everything
            code = 1
    os._exit(code)  # everything is closed; a usual end would wait for the threads that still work on images
