"""The worker of one queue while Redis is down, hangs or replies with nonsense: jobs continue, and it recovers."""

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
from arq.constants import job_key_prefix
from arq.typing import WorkerCoroutine
from arq.worker import func

from chaos.servers import Valkey
from imgsvc.adapters.redis.job import deserialize, serialize
from imgsvc.adapters.redis.queue import open_redis
from imgsvc.worker.arq_worker import keep_running
from imgsvc.worker.queue_worker import QueueState, QueueWorker
from support.fault_proxy import HANG, REFUSE, Answer, FaultProxy
from support.stack import until

pytestmark = pytest.mark.slow

QUEUE = "test:queue"
DRAIN = 3.0
TIMEOUT = 2.0
"""Seconds for one Redis command."""
JOB_TIMEOUT = 60
"""Seconds."""


@dataclass
class Jobs:
    """A record of the jobs of a test; each job runs until `may_end` is set."""

    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    workers: int = 0
    """The number of workers that were built."""
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    state: QueueState = field(default_factory=QueueState)

    async def run(self, _ctx: dict[str, Any], name: str) -> None:
        self.begun.append(name)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
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
    """A client that bypasses the proxy."""
    redis = open_redis(valkey.url, queue_name=QUEUE, timeout=60)
    yield redis
    await redis.aclose(close_connection_pool=True)


def build(jobs: Jobs, port: int) -> QueueWorker:
    jobs.workers += 1
    return QueueWorker(
        state=jobs.state,
        at_most=8,
        functions=[func(cast("WorkerCoroutine", jobs.run), name="run")],
        queue_name=QUEUE,
        redis_pool=open_redis(f"redis://127.0.0.1:{port}/0", queue_name=QUEUE, timeout=TIMEOUT),
        handle_signals=False,
        job_timeout=JOB_TIMEOUT,
        keep_result=0,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )


@asynccontextmanager
async def kept_running(proxy: FaultProxy, jobs: Jobs) -> AsyncIterator[asyncio.Event]:
    """Run a worker behind the proxy; yield the event that stops it."""
    stopping = asyncio.Event()
    keeper = asyncio.create_task(keep_running(partial(build, jobs, proxy.port), stopping=stopping, drain=DRAIN))
    try:
        yield stopping
    finally:
        stopping.set()
        await asyncio.wait_for(keeper, 30)


async def wait_for(names: list[str], name: str) -> None:
    async def is_listed() -> bool:
        return name in names

    await until(is_listed, within=JOB_TIMEOUT + 30)


async def wait_for_new_worker(jobs: Jobs) -> None:
    """Wait until the worker has given up and another one is built."""
    before = jobs.workers

    async def is_built() -> bool:
        return jobs.workers > before

    await until(is_built, within=30)


FAULTS = {
    "refuses": REFUSE,
    "hangs": HANG,
    "is loading": Answer(b"-LOADING Redis is loading the dataset in memory\r\n"),
    "rejects the password": Answer(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
    "is a web server": Answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "replies OK to everything": Answer(b"+OK\r\n"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_running_job_continues_and_others_start_when_redis_is_back(
    proxy: FaultProxy, redis: ArqRedis, fault: Any
) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs):
        await redis.enqueue_job("run", "first", _job_id="1")
        await wait_for(jobs.begun, "first")
        await proxy.misbehave(fault)
        await wait_for_new_worker(jobs)
        await redis.enqueue_job("run", "second", _job_id="2")
        assert jobs.begun == ["first"]
        await proxy.behave()
        await wait_for(jobs.begun, "second")
        jobs.may_end.set()
        await wait_for(jobs.ended, "second")
        await wait_for(jobs.ended, "first")
    assert (jobs.begun, jobs.cancelled) == (["first", "second"], [])


async def test_a_job_that_crashes_arq_delays_no_other_job(proxy: FaultProxy, redis: ArqRedis) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs):
        await redis.enqueue_job("run", "first", _job_id="1")
        await wait_for(jobs.begun, "first")
        poison: dict[str, Any] = {
            "f": "run",
            "a": ["poison"],
            "k": {},
            "t": None,
            "et": None,
        }  # arq computes the job's age from `et`
        await redis.set(f"{job_key_prefix}poison", json.dumps(poison))
        await redis.zadd(QUEUE, {"poison": 1})
        await wait_for_new_worker(jobs)
        await redis.enqueue_job("run", "second", _job_id="2")
        await wait_for(jobs.begun, "second")
        jobs.may_end.set()
        await wait_for(jobs.ended, "first")
    assert jobs.cancelled == []


async def test_repeated_outages_of_redis_leak_no_connection(proxy: FaultProxy, redis: ArqRedis) -> None:
    jobs = Jobs()

    async def connections() -> int:
        return len(await redis.client_list())

    async with kept_running(proxy, jobs):
        for outage in range(3):
            await redis.enqueue_job("run", f"{outage}", _job_id=f"{outage}")
            await wait_for(jobs.begun, f"{outage}")
            await proxy.misbehave(Answer(b"-LOADING Redis is loading the dataset in memory\r\n"))
            await wait_for_new_worker(jobs)
            await proxy.behave()
            jobs.may_end.set()
            await wait_for(jobs.ended, f"{outage}")

    async def only_this_client() -> bool:
        return await connections() == 1

    await until(only_this_client, within=30)


async def test_stopping_while_redis_hangs_waits_for_jobs_and_not_for_redis(proxy: FaultProxy, redis: ArqRedis) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs) as stopping:
        await redis.enqueue_job("run", "first", _job_id="1")
        await wait_for(jobs.begun, "first")
        await proxy.misbehave(HANG)
        stopping.set()
        jobs.may_end.set()
    assert (jobs.ended, jobs.cancelled) == (["first"], [])


async def test_a_job_that_outlasts_the_drain_is_cancelled_and_runs_again(proxy: FaultProxy, redis: ArqRedis) -> None:
    jobs = Jobs()
    async with kept_running(proxy, jobs):
        await redis.enqueue_job("run", "first", _job_id="1")
        await wait_for(jobs.begun, "first")
    assert jobs.cancelled == ["first"]
    jobs.may_end.set()
    async with kept_running(proxy, jobs):
        await wait_for(jobs.ended, "first")
