"""The worker process: one event loop with an arq worker per queue, so that no kind of job waits for another kind."""

import asyncio
import gc
import os
from contextlib import suppress
from functools import partial
from time import monotonic

import uvloop

from imgsvc.adapters.redis.queue import ArqQueue
from imgsvc.bootstrap import lane_policy, open_asset_processor, open_resources
from imgsvc.errors import QueueUnavailable, StorageError
from imgsvc.logs import configure_logging, get_logger
from imgsvc.process import descriptors
from imgsvc.process.supervisor import pause, stop_on_signals
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.busy_hosts import busiest
from imgsvc.settings.server import Settings
from imgsvc.worker.arq_worker import QUEUES, build_worker, keep_running, worker_id
from imgsvc.worker.jobs import WorkerContext

log = get_logger(__name__)

HEARTBEAT = 10.0
"""Seconds; a third of the time after which other workers take over the jobs of this one."""
RECONNECT_DELAY = 1.0


async def serve(settings: Settings, stopping: asyncio.Event) -> int:
    """Work until `stopping` is set, then drain; outages of Redis and of the database are waited out.

    Returns the process's exit code: 1 when it had to stop because a codec thread was stuck in an image.
    """
    async with (
        open_resources(settings) as resources,
        open_asset_processor(resources, on_overrun=stopping.set) as processor,
    ):
        context = WorkerContext(resources, processor, lane_policy(settings), stopping)
        log.info("worker_started", worker=worker_id(), codec_threads=settings.codec_threads)
        async with asyncio.TaskGroup() as group:
            group.create_task(send_heartbeats(resources.queue, processor, context))
            group.create_task(listen(resources.queue, context))
            for queue_name in QUEUES:
                build = partial(build_worker, queue_name, context)
                group.create_task(keep_running(build, stopping=stopping, drain=settings.drain_timeout))
        log.info("worker_stopped", worker=worker_id())
    return int(processor.codec.overran)


async def send_heartbeats(queue: ArqQueue, processor: AssetProcessor, context: WorkerContext) -> None:
    """Report that this worker is alive and still runs its jobs; the last time, for as long as it drains."""
    is_last = False
    while not is_last:
        is_last = context.stopping.is_set()
        running = {name: list(state.running) for name, state in context.queues.items()}
        hosts = busiest(processor.fetching.hosts.hosts, monotonic())
        with suppress(QueueUnavailable):
            await queue.heartbeat(worker_id(), processor.stats.counts, running, hosts)
        await pause(HEARTBEAT, context.stopping)
    with suppress(QueueUnavailable):
        await queue.unregister(worker_id())


async def listen(queue: ArqQueue, context: WorkerContext) -> None:
    """Wake the worker of a queue when a job of it becomes due; without Redis, or without calls, they poll slowly."""

    def wake(queue_name: str) -> None:
        for name in [queue_name] if queue_name else QUEUES:
            context.queues[name].woken.set()

    while not context.stopping.is_set():
        listening = asyncio.create_task(queue.listen(wake))
        stop = asyncio.create_task(context.stopping.wait())
        await asyncio.wait({listening, stop}, return_when=asyncio.FIRST_COMPLETED)
        for task in (listening, stop):
            task.cancel()
        with suppress(QueueUnavailable, asyncio.CancelledError):
            await listening
        await pause(RECONNECT_DELAY, context.stopping)


async def _serve_until_signal(settings: Settings) -> int:
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    return await serve(settings, stopping)


def _collect_garbage_rarely() -> None:
    """Freeze what is loaded and raise the thresholds of the garbage collector.

    Loaded modules stay, and few later objects are cyclic: with the defaults, collecting takes a tenth of the event
    loop's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def main() -> None:
    """Run the process that `imgsvc worker` and `imgsvc up` supervise."""
    settings = Settings()
    configure_logging(settings.log_level)
    descriptors.raise_limit()
    _collect_garbage_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(_serve_until_signal(settings))
        except StorageError as error:  # the supervisor restarts this process until the storage works again
            log.error("cannot_start", error=str(error))  # noqa: TRY400  # the message is enough
            code = 1
    os._exit(code)  # everything is closed; a normal exit would wait for threads that are still compressing
