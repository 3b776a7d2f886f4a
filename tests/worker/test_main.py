"""The worker process: it renews the jobs of all its queues, and hears of new ones."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from arq.connections import ArqRedis

from imgsvc.adapters.redis.queue import CLEAN_UP_QUEUE, WORK_QUEUE, open_redis
from imgsvc.adapters.redis.running_jobs import take
from imgsvc.adapters.redis.scripts import running_key
from imgsvc.bootstrap import Resources, lane_policy, open_asset_processor
from imgsvc.services.throttling.concurrency_limit import INITIAL_LIMIT
from imgsvc.services.throttling.flow import Flow
from imgsvc.worker.jobs import WorkerContext
from imgsvc.worker.main import listen, send_heartbeats
from support.stack import until


@pytest.fixture
async def context(resources: Resources) -> AsyncIterator[WorkerContext]:
    async with open_asset_processor(resources) as processor:
        yield WorkerContext(resources, processor, lane_policy(resources.settings), asyncio.Event())


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    redis = open_redis(redis_url, queue_name=WORK_QUEUE, timeout=60)
    yield redis
    await redis.aclose(close_connection_pool=True)


async def test_a_heartbeat_renews_the_jobs_of_every_queue(context: WorkerContext, redis: ArqRedis) -> None:
    queue = context.resources.queue
    await queue.wake_lane("bat_1", "key_1")
    await queue.wake_clean_up("bat_1")
    for name in (WORK_QUEUE, CLEAN_UP_QUEUE):
        for job_id in (await take(redis, name, at_most=1)).job_ids:
            context.queues[name].running[job_id] = 1
            await redis.zadd(running_key(name), {job_id: 1})
    heartbeats = asyncio.create_task(send_heartbeats(queue, context.processor, context))

    async def are_renewed() -> bool:
        scores = [await redis.zrange(running_key(name), 0, -1, withscores=True) for name in context.queues]
        return all(score > 1 for [(_, score)] in scores)

    await until(are_renewed)
    assert await queue.live_workers() == 1
    context.stopping.set()
    await heartbeats
    assert await queue.live_workers() == 0


async def test_a_heartbeat_reports_the_hosts_that_are_fetched_from(context: WorkerContext) -> None:
    queue, processor = context.resources.queue, context.processor
    processor.fetching.hosts.reserve("shop.example:443", Flow("key_1", "bat_1"), 5)
    heartbeats = asyncio.create_task(send_heartbeats(queue, processor, context))
    [host] = await until(queue.busy_hosts)
    assert (host.name, host.limit) == ("shop.example:443", INITIAL_LIMIT)
    context.stopping.set()
    await heartbeats
    assert await queue.busy_hosts() == []


async def test_keys_share_a_host_by_the_weights_in_the_settings(resources: Resources) -> None:
    settings = resources.settings.model_copy(update={"key_weights": {"key_1": 3}})
    async with open_asset_processor(replace(resources, settings=settings)) as processor:
        hosts = processor.fetching.hosts
        first, second = (Flow(key, "bat_1") for key in ("key_1", "key_2"))
        rooms = hosts.reserve("shop.example:443", first, 1_000)
        assert hosts.reserve("shop.example:443", second, 1_000) == []
        for room in rooms:
            room.release()
        assert len(hosts.reserve("shop.example:443", second, 1_000)) == pytest.approx(len(rooms) / 4, abs=1)


async def test_a_new_lane_wakes_the_worker_of_its_queue_alone(context: WorkerContext) -> None:
    listening = asyncio.create_task(listen(context.resources.queue, context))
    lanes, clean_ups = context.queues[WORK_QUEUE], context.queues[CLEAN_UP_QUEUE]
    await asyncio.wait_for(clean_ups.woken.wait(), 60)  # all are, in case of an earlier call
    clean_ups.woken.clear()
    lanes.woken.clear()

    async def is_woken() -> bool:
        await context.resources.queue.wake_lane("bat_1", "key_1")
        await context.resources.queue._redis.flushall()
        return lanes.woken.is_set()

    await until(is_woken)
    assert not clean_ups.woken.is_set()
    context.stopping.set()
    await listening
