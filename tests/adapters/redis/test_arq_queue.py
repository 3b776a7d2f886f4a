"""The queue on a real Valkey: job ids, JSON only, and the registry of workers."""

import asyncio
import json
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import job_key_prefix

from imgsvc.adapters.redis.job import deserialize, serialize
from imgsvc.adapters.redis.queue import CONTROL_QUEUE, WORK_QUEUE, WORKER_TIMEOUT, WORKERS, ArqQueue
from imgsvc.adapters.redis.running_jobs import put_back, take
from imgsvc.adapters.redis.scripts import CHANNEL
from support.stack import until


async def jobs(redis: ArqRedis, name: str = WORK_QUEUE) -> list[str]:
    return sorted(job.decode() for job in await redis.zrange(name, 0, -1))


# -- jobs -------------------------------------------------------------------------------------------------------------


async def test_a_lane_is_enqueued_once_however_often_it_is_woken(queue: ArqQueue, redis: ArqRedis) -> None:
    for _ in range(3):
        await queue.wake_lane("bat_1", "key_1")
        await queue.wake_lanes([("bat_1", "key_1"), ("bat_2", "key_2")])
    await queue.wake_lane("bat_1", "key_1", lane=1)
    assert await jobs(redis) == ["key_1:bat_1:0", "key_1:bat_1:1", "key_2:bat_2:0"]
    assert await jobs(redis, CONTROL_QUEUE) == []


async def test_a_batch_gets_four_lanes_or_two_for_each_live_worker(queue: ArqQueue, redis: ArqRedis) -> None:
    async def lanes(batch_id: str) -> int:
        for lane in range(20):
            await queue.wake_lane(batch_id, "key_1", lane=lane)
        return sum(f":{batch_id}:" in job for job in await jobs(redis))

    assert await lanes("bat_1") == 4
    for number in range(5):
        await queue.heartbeat(f"worker {number}")
    assert await lanes("bat_2") == 10
    await queue.unregister("worker 0")
    assert await lanes("bat_3") == 8


async def test_a_scheduled_lane_is_brought_forward_and_never_postponed(queue: ArqQueue, redis: ArqRedis) -> None:
    later = datetime.now(UTC) + timedelta(hours=5)
    await queue.wake_lane("bat_1", "key_1", at=later)
    assert await queue.waiting() == 0
    await queue.wake_lane("bat_1", "key_1", at=later - timedelta(hours=1))
    [(_, score)] = await redis.zrange(WORK_QUEUE, 0, -1, withscores=True)
    assert 0 <= score - (later - timedelta(hours=1)).timestamp() * 1000 < 1
    for at in (None, later):
        await queue.wake_lane("bat_1", "key_1", at=at)
        await until(lambda: is_waiting(queue, 1))


async def test_each_attempt_at_a_delivery_is_enqueued_once(queue: ArqQueue, redis: ArqRedis) -> None:
    at = datetime.now(UTC) + timedelta(hours=5)
    await queue.wake_delivery("evt_1", attempt=1)
    await queue.wake_delivery("evt_1", attempt=1, at=at)
    await queue.wake_delivery("evt_1", attempt=2, at=at)
    assert await jobs(redis, CONTROL_QUEUE) == ["evt_1:1", "evt_1:2"]
    scores = [await redis.zscore(CONTROL_QUEUE, job) for job in ("evt_1:1", "evt_1:2")]
    assert scores[0] == pytest.approx(datetime.now(UTC).timestamp() * 1000, abs=60_000)
    assert 0 <= scores[1] - at.timestamp() * 1000 < 1  # never before it is due
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


async def test_an_attempt_a_day_ahead_does_not_expire_before_it_is_due(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_delivery("evt_1", attempt=10, at=datetime.now(UTC) + timedelta(days=1))
    assert await redis.pttl(f"{job_key_prefix}evt_1:10") > timedelta(days=1.5) / timedelta(milliseconds=1)


# -- wake-up calls ----------------------------------------------------------------------------------------------------


async def test_workers_are_called_once_for_each_job_that_becomes_due(queue: ArqQueue, redis: ArqRedis) -> None:
    calls: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(queue.listen(calls.put_nowait))
    assert await calls.get() == ""  # earlier calls may have been missed

    async def is_subscribed() -> bool:
        return bool(await redis.pubsub_numsub(CHANNEL) == [(CHANNEL.encode(), 1)])

    await until(is_subscribed)
    await queue.wake_delivery("evt_1", attempt=1, at=datetime.now(UTC) + timedelta(hours=1))
    for _ in range(2):
        await queue.wake_lanes([("bat_1", "key_1"), ("bat_2", "key_2")])
    await take(redis, WORK_QUEUE, at_most=1)
    await put_back(redis, WORK_QUEUE, "key_1:bat_1:0", at_ms=None)
    await queue.wake_delivery("evt_1", attempt=1)
    assert [await calls.get() for _ in range(3)] == [WORK_QUEUE, WORK_QUEUE, CONTROL_QUEUE]
    listening.cancel()
    await asyncio.wait({listening})


# -- JSON -------------------------------------------------------------------------------------------------------------


async def test_jobs_in_redis_are_json(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_lane("bat_1", "key_1", lane=3)
    await queue.wake_delivery("evt_1", attempt=1)
    lane = "key_1:bat_1:3"
    for job, function, arguments in [(lane, "work", ["bat_1", "key_1", 3]), ("evt_1:1", "deliver", ["evt_1"])]:
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


async def is_waiting(queue: ArqQueue, lanes: int) -> bool:
    """Return whether `lanes` wait; Redis and Python round a millisecond differently."""
    return await queue.waiting() == lanes


async def test_waiting_counts_lanes_that_are_due_and_not_running(queue: ArqQueue, redis: ArqRedis) -> None:
    assert await queue.waiting() == 0
    for lane in range(4):
        await queue.wake_lane("bat_1", "key_1", lane=lane)
    await queue.wake_delivery("evt_1", attempt=1)
    await until(lambda: is_waiting(queue, 4))
    await take(redis, WORK_QUEUE, at_most=1)
    assert await queue.waiting() == 3


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
