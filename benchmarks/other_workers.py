"""A worker in this process that takes lanes and never ends them, as many other workers do that are busy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from arq.worker import func

from imgsvc.adapters.redis.job import WORK, deserialize, serialize
from imgsvc.adapters.redis.queue import WORK_QUEUE, open_redis
from imgsvc.worker.queue_worker import QueueState, QueueWorker


@asynccontextmanager
async def lanes_elsewhere(redis_url: str) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Hold lanes until the end of the block; yield a function that waits for a number of them, then takes no more."""
    lanes = asyncio.Semaphore(0)

    async def busy(*_: Any, **__: Any) -> None:
        lanes.release()
        await asyncio.Event().wait()

    async def wait_for(count: int) -> None:
        for _ in range(count):
            await lanes.acquire()
        worker.allow_pick_jobs = False  # those of the second key are left to the others

    worker = QueueWorker(
        state=QueueState(),
        at_most=100,
        functions=[func(busy, name=WORK)],
        queue_name=WORK_QUEUE,
        redis_pool=open_redis(redis_url, queue_name=WORK_QUEUE),
        handle_signals=False,
        max_jobs=100_000,
        job_timeout=3_600,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
    running = asyncio.create_task(worker.async_run())
    try:
        yield wait_for
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await worker.close()
