"""The API process is killed between commit and wake-up: the stored batch is still processed."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest
from sqlmodel import select

from imgsvc.adapters.redis.queue import WORK_QUEUE, open_redis
from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Batch
from imgsvc.services.clock import Clock, utc_now
from support.batches import consistent_batch
from support.origin_server import OriginServer, image_bytes
from support.paths import ROOT
from support.verbs import sweep


@pytest.fixture
def clock() -> Clock:
    return utc_now  # as that of the process that is killed


async def test_a_batch_of_a_process_killed_before_the_wake_up_waits_for_the_sweep(
    resources: Resources, origin: OriginServer, drain_queues: Callable[[], Awaitable[None]]
) -> None:
    url = origin.serve("/1.jpg", image_bytes())
    command = (sys.executable, "-m", "support.dying_upload", resources.settings.database, url)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT / "tests")
    assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL

    async with resources.sessions.read() as session:
        [batch] = await session.exec(select(Batch))
    assert batch.status == "pending"
    redis = open_redis(resources.settings.redis_url, queue_name=WORK_QUEUE)
    assert await redis.zcard(WORK_QUEUE) == 0
    await redis.aclose(close_connection_pool=True)

    await sweep(resources)
    await drain_queues()
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
