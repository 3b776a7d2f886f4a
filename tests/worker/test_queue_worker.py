"""The arq worker of one queue on a real Valkey, and the parts of arq that it relies on."""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any, cast

import pytest
from arq import Retry
from arq.connections import ArqRedis
from arq.constants import job_key_prefix, retry_key_prefix
from arq.cron import CronJob, cron
from arq.typing import WorkerCoroutine
from arq.utils import timestamp_ms
from arq.worker import Worker, func

from imgsvc.adapters.redis.job import deserialize, serialize
from imgsvc.adapters.redis.queue import open_redis
from imgsvc.adapters.redis.running_jobs import take
from imgsvc.adapters.redis.scripts import running_key
from imgsvc.worker.queue_worker import QueueState, QueueWorker
from support.paths import ROOT
from support.stack import until

QUEUE = "test:queue"
RUNNING = running_key(QUEUE)
TIMEOUT = 60.0


@dataclass
class Runs:
    """The runs of a test's jobs; each lasts until `may_end` is set, and raises the next of `errors`."""

    begun: list[tuple[str, int]] = field(default_factory=list)
    """The job and its number of tries."""
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    errors: list[Exception] = field(default_factory=list)

    async def run(self, ctx: dict[str, Any], name: str = "cron") -> None:
        self.begun.append((name, ctx["job_try"]))
        await self.may_end.wait()
        if self.errors:
            raise self.errors.pop(0)

    async def has_begun(self, count: int) -> None:
        async def are_begun() -> bool:
            return len(self.begun) >= count

        await until(are_begun)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    redis = open_redis(redis_url, queue_name=QUEUE, timeout=TIMEOUT)
    redis.job_serializer, redis.job_deserializer = serialize, deserialize
    yield redis
    await redis.aclose(close_connection_pool=True)


def build(runs: Runs, redis: ArqRedis, *, kind: type[QueueWorker] = QueueWorker, **options: Any) -> QueueWorker:
    return kind(
        state=QueueState(),
        at_most=2,
        redis_pool=redis,
        handle_signals=False,
        keep_result=0,
        max_tries=1_000,
        job_serializer=serialize,
        job_deserializer=deserialize,
        **{
            "queue_name": QUEUE,
            "functions": [func(cast("WorkerCoroutine", runs.run), name="run")],
            **options,
        },
    )


@asynccontextmanager
async def running(*workers: QueueWorker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.async_run()) for worker in workers]
    try:
        yield
    finally:
        for task, worker in zip(tasks, workers, strict=True):
            for job in worker.tasks.values():
                job.cancel()
            task.cancel()
            await asyncio.gather(task, *worker.tasks.values(), return_exceptions=True)


async def is_empty(redis: ArqRedis) -> bool:
    return not await redis.exists(QUEUE, RUNNING)


# -- jobs -------------------------------------------------------------------------------------------------------------


async def test_two_workers_share_the_jobs_that_are_due(redis: ArqRedis) -> None:
    runs = Runs()
    for number in range(8):
        await redis.enqueue_job("run", str(number), _job_id=str(number))
    first, second = build(runs, redis), build(runs, redis)
    async with running(first, second):
        await runs.has_begun(8)
        assert min(len(first.tasks), len(second.tasks)) >= 2
        runs.may_end.set()
        await until(lambda: is_empty(redis))
    assert await redis.keys(job_key_prefix + "*") == await redis.keys(retry_key_prefix + "*") == []


async def test_a_job_runs_again_at_the_time_it_asks_for(redis: ArqRedis) -> None:
    runs = Runs(errors=[Retry(), Retry(defer=3_600)])
    runs.may_end.set()
    await redis.enqueue_job("run", "one", _job_id="one")
    started = timestamp_ms()

    async def is_put_back() -> Any:
        score = await redis.zscore(QUEUE, "one")
        return score if score and score > timestamp_ms() else None

    async with running(build(runs, redis)):
        due = await until(is_put_back)
    assert runs.begun == [("one", 1), ("one", 2)]
    assert 3_600_000 <= due - started <= 3_600_000 + timestamp_ms() - started
    assert await redis.zcard(RUNNING) == 0


async def test_a_cancelled_job_is_due_again_at_once(redis: ArqRedis) -> None:
    runs = Runs()
    await redis.enqueue_job("run", "one", _job_id="one")
    worker = build(runs, redis)
    async with running(worker):
        await runs.has_begun(1)
        worker.allow_pick_jobs = False
        worker.job_tasks["one"].cancel()

        async def is_put_back() -> bool:
            return bool(await redis.zscore(QUEUE, "one"))

        await until(is_put_back)
    assert (await take(redis, QUEUE, at_most=1)).job_ids == ["one"]


async def test_a_job_that_still_runs_here_is_not_started_again(redis: ArqRedis) -> None:
    """Redis was away for longer than the jobs stay out of the queue without a renewal."""
    runs = Runs()
    await redis.enqueue_job("run", "one", _job_id="one")
    async with running(build(runs, redis)):
        await runs.has_begun(1)
        await redis.zadd(RUNNING, {"one": 1})

        async def is_taken_again() -> bool:
            return bool(await redis.zscore(RUNNING, "one") > 1)

        await until(is_taken_again)
        await redis.enqueue_job("run", "two", _job_id="two")
        await runs.has_begun(2)
    assert [name for name, _ in runs.begun] == ["one", "two"]


async def test_a_full_worker_leaves_jobs_to_others(redis: ArqRedis) -> None:
    runs = Runs()
    for number in range(3):
        await redis.enqueue_job("run", str(number), _job_id=str(number))
    worker = build(runs, redis, max_jobs=1)
    async with running(worker):
        await runs.has_begun(1)
        assert len((await take(redis, QUEUE, at_most=9)).job_ids) == 2
        assert len(worker.tasks) == 1


async def test_a_job_that_cannot_be_read_is_removed(redis: ArqRedis) -> None:
    runs = Runs()
    for job_id, data in {"broken": b"\x80", "unknown": b'{"f": "no", "a": [], "k": {}, "t": null, "et": 0}'}.items():
        await redis.set(job_key_prefix + job_id, data)
        await redis.zadd(QUEUE, {job_id: 1})
    async with running(build(runs, redis)):
        await until(lambda: is_empty(redis))
    assert runs.begun == []


async def test_a_cron_job_runs_once_however_many_workers_schedule_it(redis: ArqRedis) -> None:
    runs = Runs()
    runs.may_end.set()
    now = datetime.now().astimezone()  # arq's cron uses the time zone of the system
    for _ in range(3):
        # Its next time is half a year away: the end of a minute may fall into the test.
        half_a_year_away = (now.month + 5) % 12 + 1
        schedule = cron(cast("WorkerCoroutine", runs.run), name="cron", month=half_a_year_away, day=1, hour=0, minute=0)
        schedule.next_run = now

        async def is_over(schedule: CronJob = schedule) -> bool:
            return schedule.next_run != now and await is_empty(redis)

        async with running(build(runs, redis, functions=[], cron_jobs=[schedule])):
            await runs.has_begun(1)
            await until(is_over)
    assert len(runs.begun) == 1


# -- arq --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["main", "finish_job", "finish_failed_job"])
def test_a_method_that_replaces_one_of_arq_has_its_parameters(name: str) -> None:
    ours, arqs = (list(inspect.signature(getattr(worker, name)).parameters) for worker in (QueueWorker, Worker))
    assert ours == arqs


def test_arq_is_pinned_to_the_version_whose_inside_is_tested_here() -> None:
    [pinned] = re.findall(r'"arq==([^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned == version("arq")


async def test_arq_computes_the_time_of_a_retry_from_the_score_it_was_given(redis: ArqRedis) -> None:
    """`finish_job` gets the difference to the score; QueueWorker adds the two."""
    received: list[int | None] = []

    class Observed(QueueWorker):
        async def finish_job(self, job_id: str, finish: bool, *rest: Any) -> None:
            received.append(rest[3])
            await super().finish_job(job_id, True, *rest)

    runs = Runs(errors=[Retry(defer=100)])
    runs.may_end.set()
    await redis.enqueue_job("run", "one", _job_id="one")
    async with running(build(runs, redis, kind=Observed)):
        await until(lambda: is_empty(redis))
    [difference] = received
    assert difference is not None
    assert 100_000 <= difference < 200_000
