"""One queue's worker while its Redis is away, hangs or talks nonsense: jobs go on, and it comes back by itself."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.typing import WorkerCoroutine
from arq.worker import Worker, func
from redis.exceptions import RedisError

from chaos.servers import Valkey
from imgsvc.adapters.redis.queue import deserialize, open_redis, serialize
from imgsvc.worker.main import ConsiderateWorker
from imgsvc.worker.running import keep_running
from support.fault_proxy import HANG, REFUSE, Answer, FaultProxy
from support.stack import until

pytestmark = pytest.mark.slow

QUEUE = "test:queue"
DRAIN = 3.0
TIMEOUT = 2.0
"""Seconds for a command of Redis."""
MARKED = 60
"""Seconds, and ten more, that a job counts as somebody's whose worker could not tell Redis that it has ended."""


@dataclass
class Jobs:
    """What the jobs of a test did; each runs until its event is set."""

    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    broken_off: list[str] = field(default_factory=list)
    workers: int = 0
    """How many were built for them."""
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, _ctx: dict[str, Any], name: str) -> None:
        self.begun.append(name)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.broken_off.append(name)
            raise
        self.ended.append(name)


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as folder:
        async with Valkey(Path(folder)) as valkey:
            yield valkey


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(valkey.socket) as proxy:
        yield proxy


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[ArqRedis]:
    """Past the proxy."""
    redis = open_redis(valkey.url, queue_name=QUEUE, timeout=60)
    yield redis
    await redis.aclose(close_connection_pool=True)


def build(jobs: Jobs, port: int) -> Worker:
    jobs.workers += 1
    return Worker(
        functions=[func(cast("WorkerCoroutine", jobs.run), name="run")],
        queue_name=QUEUE,
        redis_pool=open_redis(f"redis://127.0.0.1:{port}/0", queue_name=QUEUE, timeout=TIMEOUT),
        handle_signals=False,
        poll_delay=0.02,
        job_timeout=MARKED,
        keep_result=0,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )


@asynccontextmanager
async def kept_running(proxy: FaultProxy, jobs: Jobs) -> AsyncIterator[asyncio.Event]:
    """A worker behind the proxy; gives the event that stops it."""
    stopping = asyncio.Event()
    keeper = asyncio.create_task(keep_running(partial(build, jobs, proxy.port), stopping=stopping, drain=DRAIN))
    try:
        yield stopping
    finally:
        stopping.set()
        await asyncio.wait_for(keeper, 30)


async def has(names: list[str], name: str) -> None:
    async def has_it() -> bool:
        return name in names

    await until(has_it, within=MARKED + 30)


async def gave_up(jobs: Jobs) -> None:
    """Until the worker has given up, so that another is built."""
    before = jobs.workers

    async def another() -> bool:
        return jobs.workers > before

    await until(another, within=30)


FAULTS = {
    "refuses": REFUSE,
    "hangs": HANG,
    "loads": Answer(b"-LOADING Redis is loading the dataset in memory\r\n"),
    "knows another password": Answer(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
    "is a web server": Answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "says OK to everything": Answer(b"+OK\r\n"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_job_under_way_goes_on_and_others_are_taken_when_redis_is_back(
    proxy: FaultProxy, redis: ArqRedis, fault: Any
) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs):
        await redis.enqueue_job("run", "first", _job_id="1")
        await has(jobs.begun, "first")
        await proxy.misbehave(fault)
        await gave_up(jobs)
        await redis.enqueue_job("run", "second", _job_id="2")
        assert jobs.begun == ["first"]
        await proxy.behave()
        await has(jobs.begun, "second")
        jobs.may_end.set()
        await has(jobs.ended, "second")
        await has(jobs.ended, "first")
    assert (jobs.begun, jobs.broken_off) == (["first", "second"], [])


async def test_a_job_that_breaks_arq_itself_holds_up_no_other(proxy: FaultProxy, redis: ArqRedis) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs):
        await redis.enqueue_job("run", "first", _job_id="1")
        await has(jobs.begun, "first")
        poison: dict[str, Any] = {
            "f": "run",
            "a": ["poison"],
            "k": {},
            "t": None,
            "et": None,
        }  # arq counts from the `et`
        await redis.set(f"{job_key_prefix}poison", json.dumps(poison))
        await redis.zadd(QUEUE, {"poison": 1})
        await gave_up(jobs)
        await redis.enqueue_job("run", "second", _job_id="2")
        await has(jobs.begun, "second")
        jobs.may_end.set()
        await has(jobs.ended, "first")
    assert jobs.broken_off == []


async def test_however_often_redis_goes_no_connection_is_left_over(proxy: FaultProxy, redis: ArqRedis) -> None:
    jobs = Jobs()

    async def connections() -> int:
        return len(await redis.client_list())

    async with kept_running(proxy, jobs):
        for turn in range(3):
            await redis.enqueue_job("run", f"{turn}", _job_id=f"{turn}")
            await has(jobs.begun, f"{turn}")
            await proxy.misbehave(Answer(b"-LOADING Redis is loading the dataset in memory\r\n"))
            await gave_up(jobs)
            await proxy.behave()
            jobs.may_end.set()
            await has(jobs.ended, f"{turn}")

    async def only_ours() -> bool:
        return await connections() == 1

    await until(only_ours, within=30)


async def test_a_stop_while_redis_hangs_waits_for_jobs_and_not_for_redis(proxy: FaultProxy, redis: ArqRedis) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs) as stopping:
        await redis.enqueue_job("run", "first", _job_id="1")
        await has(jobs.begun, "first")
        await proxy.misbehave(HANG)
        stopping.set()
        jobs.may_end.set()
    assert (jobs.ended, jobs.broken_off) == (["first"], [])


async def test_a_job_that_does_not_end_is_broken_off_by_a_stop_and_runs_again(
    proxy: FaultProxy, redis: ArqRedis
) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs):
        await redis.enqueue_job("run", "first", _job_id="1")
        await has(jobs.begun, "first")
    assert jobs.broken_off == ["first"]
    jobs.may_end.set()
    async with kept_running(proxy, jobs):
        await has(jobs.ended, "first")


async def test_a_job_that_redis_fails_at_its_beginning_is_not_marked_as_somebodys(redis: ArqRedis) -> None:
    """The mark lasts as long as the job may take; nobody else would begin it meanwhile."""
    jobs = Jobs()
    jobs.may_end.set()
    await redis.enqueue_job("run", "tidying", _job_id="one")
    await redis.lpush(retry_key_prefix + "one", "a list where arq counts")  # type: ignore[misc]  # it is awaitable
    worker = ConsiderateWorker(
        functions=[func(cast("WorkerCoroutine", jobs.run), name="run")],
        queue_name=QUEUE,
        redis_pool=redis,
        burst=True,
        handle_signals=False,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
    with pytest.raises(RedisError):
        await worker.async_run()
    assert jobs.begun == []
    assert await redis.exists(in_progress_key_prefix + "one") == 0
