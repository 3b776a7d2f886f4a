"""The queue on the Valkey of the session."""

from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, WORK_QUEUE, ArqQueue, open_redis

TIMEOUT = 60.0


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    """A client to read what the queue wrote."""
    redis = open_redis(redis_url, queue_name=WORK_QUEUE, timeout=TIMEOUT)
    yield redis
    await redis.aclose(close_connection_pool=True)


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[ArqQueue]:
    queue = ArqQueue(open_redis(redis_url, queue_name=CONTROL_QUEUE, timeout=TIMEOUT), timeout=TIMEOUT)
    yield queue
    await queue.aclose()
