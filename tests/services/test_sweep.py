"""The sweep: every wake-up call that Redis lost is repeated, and no job is enqueued twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from arq.connections import ArqRedis

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, WORK_QUEUE, ArqQueue, open_redis
from imgsvc.bootstrap import Resources
from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.domain.status import BatchStatus
from imgsvc.errors import QueueUnavailable
from imgsvc.services.sweep import LaneSweep
from support.batches import ManualClock, RecordingQueue, asset_row, batch_row, deliveries_of, store, submit_batch
from support.verbs import sweep

URL = "http://shop.example/1.jpg"


@asynccontextmanager
async def valkey(resources: Resources) -> AsyncIterator[ArqRedis]:
    redis = open_redis(resources.settings.redis_url, queue_name=WORK_QUEUE)
    yield redis
    await redis.aclose(close_connection_pool=True)


async def queued(resources: Resources) -> dict[bytes, float]:
    """Return every job in Redis and when it is due."""
    async with valkey(resources) as redis:
        return {
            job: score
            for queue in (WORK_QUEUE, CONTROL_QUEUE)
            for job, score in await redis.zrange(queue, 0, -1, withscores=True)
        }


async def announced(resources: Resources) -> str:
    webhook = "http://shop.example/hook"
    batch = await submit_batch(resources, ["ftp://shop.example/1"], on_invalid="skip", webhook_url=webhook)
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    return delivery.id


async def test_lanes_and_deliveries_are_enqueued_again_after_redis_was_wiped(resources: Resources) -> None:
    batch, delivery_id = await submit_batch(resources, [URL]), await announced(resources)
    before = set(await queued(resources))
    assert before == {f"{LOCAL_KEY}:{batch.id}:0".encode(), f"{delivery_id}:1".encode()}
    async with valkey(resources) as redis:
        await redis.flushall()
    assert await queued(resources) == {}
    await sweep(resources)
    assert set(await queued(resources)) == before


async def test_a_second_sweep_changes_nothing(resources: Resources) -> None:
    await submit_batch(resources, [URL])
    await announced(resources)
    await sweep(resources)
    once = await queued(resources)
    await sweep(resources)
    assert await queued(resources) == once


async def test_finished_cancelled_and_deleted_batches_are_not_woken(
    resources: Resources, queue: RecordingQueue
) -> None:
    cancelled = await submit_batch(resources, [URL])
    await submit_batch(resources, ["ftp://shop.example/1"], on_invalid="skip")
    async with resources.sessions.write() as session:
        await batch_queries.move(session, cancelled.id, BatchStatus.CANCELLED)
    await sweep(resources, queue)
    assert (queue.lanes, queue.deliveries) == ([], [])


async def test_a_delivery_is_woken_for_its_next_attempt_and_only_when_it_is_due(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    delivery_id = await announced(resources)
    clock.forward(-1)
    await sweep(resources, queue)
    assert queue.deliveries == []
    clock.forward(1)
    await sweep(resources, queue)
    assert queue.deliveries == [(delivery_id, 1, None)]


async def test_a_sweep_that_cannot_reach_the_queue_raises(resources: Resources) -> None:
    batch = await submit_batch(resources, [URL])
    away = ArqQueue(open_redis("unix:///nowhere/at/all", queue_name=WORK_QUEUE))
    with pytest.raises(QueueUnavailable):
        await sweep(resources, away)
    await away.aclose()
    await sweep(resources)
    assert f"{LOCAL_KEY}:{batch.id}:0".encode() in await queued(resources)


async def test_a_sweep_with_nothing_due_needs_no_queue(resources: Resources, queue: RecordingQueue) -> None:
    queue.is_unavailable = True
    await sweep(resources, queue)


async def test_a_sweep_of_many_batches_continues_where_the_last_one_stopped(
    resources: Resources, queue: RecordingQueue
) -> None:
    batches = sorted([(await submit_batch(resources, [URL])).id for _ in range(5)])
    queue.lanes.clear()
    lanes = LaneSweep(page=2, max_pages=2)
    woken = []
    for _ in range(3):
        await lanes.run(sessions=resources.sessions, queue=queue)
        woken.append(list(queue.lanes))
        queue.lanes.clear()
    assert woken == [batches[:4], batches[4:], batches[:4]]


async def test_many_open_batches_take_one_command_a_page(resources: Resources, redis_url: str) -> None:
    now = resources.clock()
    for number in range(50):
        await store(resources.sessions, batch_row(f"bat_{number}", now), asset_row(f"bat_{number}", 0, now))
    async with valkey(resources) as redis:
        await redis.config_resetstat()
        await LaneSweep(page=25).run(sessions=resources.sessions, queue=resources.queue)
        calls = {name: stats["calls"] for name, stats in (await redis.info("commandstats")).items()}
        assert await redis.zcard(WORK_QUEUE) == 50
    assert calls["cmdstat_evalsha"] == 2
    assert sum(calls[f"cmdstat_{name}"] for name in ("zscore", "set", "zadd")) == 3 * 50
