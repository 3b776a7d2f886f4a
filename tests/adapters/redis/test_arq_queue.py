"""The queue on a real Valkey: job ids, JSON only, and the registry of workers."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix

from imgsvc.adapters.redis.queue import (
    CONTROL_QUEUE,
    WORK_QUEUE,
    WORKER_TIMEOUT,
    WORKERS,
    ArqQueue,
    deserialize,
    open_redis,
    serialize,
)

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


async def jobs(redis: ArqRedis, name: str = WORK_QUEUE) -> list[str]:
    return sorted(job.decode() for job in await redis.zrange(name, 0, -1))


async def assert_waiting(queue: ArqQueue, lanes: int) -> None:
    """Poll until `lanes` are waiting: arq rounds to milliseconds, so a lane may be due half of one after enqueuing."""
    deadline = monotonic() + 60
    while await queue.waiting() != lanes:
        assert monotonic() < deadline
        await asyncio.sleep(0.001)


# -- jobs -------------------------------------------------------------------------------------------------------------


async def test_a_batch_gets_four_lanes_however_often_it_is_woken(queue: ArqQueue, redis: ArqRedis) -> None:
    for _ in range(3):
        await queue.wake_lanes("bat_1")
    await queue.wake_lanes("bat_2")
    assert await jobs(redis) == [f"bat_{batch}:{lane}" for batch in (1, 2) for lane in range(4)]
    assert await jobs(redis, CONTROL_QUEUE) == []


async def test_many_workers_get_two_lanes_each(queue: ArqQueue, redis: ArqRedis) -> None:
    for number in range(5):
        await queue.heartbeat(f"worker {number}")
    await queue.wake_lanes("bat_1")
    assert len(await jobs(redis)) == 10
    await queue.unregister("worker 0")
    await queue.wake_lanes("bat_2")
    assert len(await jobs(redis)) == 18


async def test_each_attempt_at_a_delivery_is_enqueued_once(queue: ArqQueue, redis: ArqRedis) -> None:
    at = datetime.now(UTC) + timedelta(hours=5)
    await queue.wake_delivery("evt_1", attempt=1)
    await queue.wake_delivery("evt_1", attempt=1, at=at)
    await queue.wake_delivery("evt_1", attempt=2, at=at)
    assert await jobs(redis, CONTROL_QUEUE) == ["evt_1:1", "evt_1:2"]
    scores = [await redis.zscore(CONTROL_QUEUE, job) for job in ("evt_1:1", "evt_1:2")]
    assert scores[0] == pytest.approx(datetime.now(UTC).timestamp() * 1000, abs=60_000)
    assert 0 < scores[1] - at.timestamp() * 1000 < 2  # never before it is due
    assert await jobs(redis) == []


async def test_a_scheduled_attempt_is_brought_forward_and_never_postponed(queue: ArqQueue, redis: ArqRedis) -> None:
    at = datetime.now(UTC) + timedelta(hours=5)
    await queue.wake_delivery("evt_1", attempt=2, at=at)
    await queue.wake_delivery("evt_1", attempt=2)
    now = datetime.now(UTC).timestamp() * 1000
    rescheduled = await redis.zscore(CONTROL_QUEUE, "evt_1:2")
    assert rescheduled == pytest.approx(now, abs=60_000)
    for later in (None, at):
        await queue.wake_delivery("evt_1", attempt=2, at=later)
    assert await redis.zscore(CONTROL_QUEUE, "evt_1:2") == rescheduled
    assert await jobs(redis, CONTROL_QUEUE) == ["evt_1:2"]


async def test_waking_a_delivery_whose_job_is_ending_leaves_no_queue_entry(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_delivery("evt_1", attempt=1)
    await redis.zrem(CONTROL_QUEUE, "evt_1:1")  # as arq does first when a job has ended
    await queue.wake_delivery("evt_1", attempt=1)
    assert await jobs(redis, CONTROL_QUEUE) == []


async def test_an_attempt_a_day_ahead_does_not_expire_before_it_is_due(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_delivery("evt_1", attempt=10, at=datetime.now(UTC) + timedelta(days=1))
    assert await redis.pttl(f"{job_key_prefix}evt_1:10") > timedelta(days=1.5) / timedelta(milliseconds=1)


# -- JSON -------------------------------------------------------------------------------------------------------------


async def test_jobs_in_redis_are_json(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_lanes("bat_1")
    await queue.wake_delivery("evt_1", attempt=1)
    for job, function, arguments in [("bat_1:3", "work", ["bat_1", 3]), ("evt_1:1", "deliver", ["evt_1"])]:
        stored = json.loads(await redis.get(job_key_prefix + job))
        assert (stored["f"], stored["a"], stored["k"]) == (function, arguments, {})


class Bomb:
    """Runs a program when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


async def test_code_in_a_job_that_was_planted_in_redis_is_not_run(
    redis: ArqRedis, drain_queues: Callable[[], Awaitable[None]], tmp_path: Path
) -> None:
    bomb = pickle.dumps({"f": "work", "a": (Bomb(tmp_path / "boom"), 0), "k": {}, "t": None, "et": 0})
    for name in (WORK_QUEUE, CONTROL_QUEUE):
        await redis.set(f"{job_key_prefix}{name}:bomb", bomb)
        await redis.zadd(name, {f"{name}:bomb": 1})
    await drain_queues()
    assert not (tmp_path / "boom").exists()
    assert [await jobs(redis, name) for name in (WORK_QUEUE, CONTROL_QUEUE)] == [[], []]


async def test_a_result_that_is_not_json_is_stored_as_its_text() -> None:
    assert deserialize(serialize({"r": ValueError("broken"), "s": False})) == {"r": "ValueError('broken')", "s": False}


# -- counts -----------------------------------------------------------------------------------------------------------


async def test_waiting_counts_lanes_that_are_due_and_not_running(queue: ArqQueue, redis: ArqRedis) -> None:
    await assert_waiting(queue, 0)
    await queue.wake_lanes("bat_1")
    await queue.wake_delivery("evt_1", attempt=1)
    await assert_waiting(queue, 4)
    await redis.set(f"{in_progress_key_prefix}bat_1:0", b"1")
    await assert_waiting(queue, 3)
    later = (datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000
    await redis.zadd(WORK_QUEUE, {"bat_1:1": later, "bat_1:2": later})
    await assert_waiting(queue, 1)


async def test_a_worker_counts_as_live_while_it_sends_heartbeats(queue: ArqQueue, redis: ArqRedis) -> None:
    assert await queue.live_workers() == 0
    for worker in ("one", "two", "two"):
        await queue.heartbeat(worker)
    assert await queue.live_workers() == 2
    silent = datetime.now(UTC) - WORKER_TIMEOUT - timedelta(seconds=1)
    await redis.zadd(WORKERS, {"one": silent.timestamp()})
    assert await queue.live_workers() == 1
    await queue.unregister("two")
    assert await queue.live_workers() == 0
    await queue.unregister("two")


async def test_workers_long_gone_are_forgotten(queue: ArqQueue, redis: ArqRedis) -> None:
    await redis.zadd(WORKERS, {"old": (datetime.now(UTC) - timedelta(hours=1)).timestamp()})
    await queue.heartbeat("new")
    assert await redis.zrange(WORKERS, 0, -1) == [b"new"]
