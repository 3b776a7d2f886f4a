"""Jobs in Redis: the only module that enqueues. arq knows a job by its id, so waking what is awake changes nothing."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from imgsvc.adapters.redis.replies import in_time, integer, names, reply, worker_stats

T = TypeVar("T")

WORK_QUEUE = "imgsvc:work"
CONTROL_QUEUE = "imgsvc:control"
SWEEP_QUEUE = "imgsvc:sweep"
CLEAN_UP_QUEUE = "imgsvc:tidy"
WORKERS = "imgsvc:workers"
"""Sorted set: worker id → when it was last heard of, in seconds."""
STATS = "imgsvc:tally:"
"""And a worker's id: what it has done since it began, as JSON."""
WORKER_TIMEOUT = timedelta(seconds=30)

WORK = "work"
DELIVER = "deliver"
SWEEP = "sweep"
CLEAN_UP = "tidy"

_NOTHING: Mapping[str, int] = {}
_MIN_LANES = 4
_QUEUE_READ = 1_000


def serialize(job: dict[str, Any]) -> bytes:
    """Jobs are JSON: whoever can write to Redis must not be able to run code here."""
    return json.dumps(job, default=repr).encode()  # default: arq stores exceptions as results


def deserialize(data: bytes) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(data)
    return job


def in_progress_key(job_id: str) -> str:
    """Return the key that arq sets while a worker runs the job."""
    return in_progress_key_prefix + job_id


class _FlatRetry(Retry):
    """Retries of a command, without those that redis-py makes inside of each to connect: 81 tries took 200 s in a hang.

    Every connection has a copy of its own.
    """

    _is_trying = False

    async def call_with_retry(self, do: Callable[[], Awaitable[T]], fail: Callable[[RedisError], Any]) -> T:
        if self._is_trying:
            return await do()
        self._is_trying = True
        try:
            return await super().call_with_retry(do, fail)
        finally:
            self._is_trying = False


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def open_redis(url: str, *, queue_name: str, timeout: float = 2.0, retries: int = 0) -> ArqRedis:
    """A client for Redis or Valkey at `url` (redis://, rediss:// or unix://); `timeout` (seconds) bounds every try."""
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=_FlatRetry(ExponentialBackoff(cap=1, base=0.05), retries),
        # OSError too: the refusal of a restarting server arrives as one, and would end an arq worker
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OSError] if retries else [],
    )
    return ArqRedis(
        connection_pool=pool, default_queue_name=queue_name, job_serializer=serialize, job_deserializer=deserialize
    )


class ArqQueue:
    """The port `JobQueue` on arq, and the register of live workers."""

    def __init__(self, redis: ArqRedis, *, timeout: float = 2.0) -> None:
        self._redis = redis
        self._timeout = timeout

    async def wake_lanes(self, batch_id: str) -> None:
        async with in_time(self._timeout):
            lanes = max(_MIN_LANES, 2 * await self._live_workers())
            for lane in range(lanes):
                await reply(
                    self._redis.enqueue_job(WORK, batch_id, lane, _job_id=f"{batch_id}:{lane}", _queue_name=WORK_QUEUE)
                )

    async def wake_delivery(self, delivery_id: str, *, attempt: int, at: datetime | None = None) -> None:
        # arq counts in whole milliseconds: rounded down, the job would come before the delivery is due.
        until = at + timedelta(milliseconds=1) if at else None
        job_id = f"{delivery_id}:{attempt}"
        async with in_time(self._timeout):
            job = await reply(
                self._redis.enqueue_job(
                    DELIVER, delivery_id, _job_id=job_id, _queue_name=CONTROL_QUEUE, _defer_until=until
                )
            )
            if job is None and at is None:  # its alarm clock is set for later: a redelivery puts it forward
                await reply(self._redis.zadd(CONTROL_QUEUE, {job_id: _now_ms()}, xx=True, lt=True))

    async def wake_clean_up(self, batch_id: str) -> None:
        async with in_time(self._timeout):
            await reply(
                self._redis.enqueue_job(CLEAN_UP, batch_id, _job_id=f"{batch_id}:tidy", _queue_name=CLEAN_UP_QUEUE)
            )

    async def waiting(self) -> int:
        async with in_time(self._timeout):
            due = names(await reply(self._redis.zrangebyscore(WORK_QUEUE, "-inf", _now_ms(), start=0, num=_QUEUE_READ)))
            if not due:
                return 0
            marks = [in_progress_key(job_id) for job_id in due]
            return len(due) - integer(await reply(self._redis.exists(*marks)))

    async def live_workers(self) -> int:
        """Workers heard of lately.

        Raises:
            QueueUnavailable: Redis is away.
        """
        async with in_time(self._timeout):
            return await self._live_workers()

    async def heartbeat(self, worker_id: str, stats: Mapping[str, int] = _NOTHING) -> None:
        """Say that a worker lives and what it has done so far, and forget those that have long been silent.

        Raises:
            QueueUnavailable: Redis is away.
        """
        now = datetime.now(UTC)
        forgotten = (now - 10 * WORKER_TIMEOUT).timestamp()
        async with in_time(self._timeout):
            await reply(self._redis.zadd(WORKERS, {worker_id: now.timestamp()}))
            await reply(self._redis.zremrangebyscore(WORKERS, "-inf", forgotten))
            await reply(self._redis.set(STATS + worker_id, json.dumps(stats), ex=WORKER_TIMEOUT))

    async def worker_stats(self) -> dict[str, dict[str, int]]:
        """What each worker that was heard of lately has done since it began.

        Raises:
            QueueUnavailable: Redis is away.
        """
        async with in_time(self._timeout):
            since = (datetime.now(UTC) - WORKER_TIMEOUT).timestamp()
            workers = names(await reply(self._redis.zrangebyscore(WORKERS, since, "+inf")))
            keys = [STATS + worker for worker in workers]
            told = await reply(self._redis.mget(keys)) if keys else []
        return dict(zip(workers, worker_stats(told, len(keys)), strict=True))

    async def farewell(self, worker_id: str) -> None:
        """Say that a worker is going.

        Raises:
            QueueUnavailable: Redis is away.
        """
        async with in_time(self._timeout):
            await reply(self._redis.zrem(WORKERS, worker_id))
            await reply(self._redis.delete(STATS + worker_id))

    async def aclose(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def _live_workers(self) -> int:
        since = (datetime.now(UTC) - WORKER_TIMEOUT).timestamp()
        return integer(await reply(self._redis.zcount(WORKERS, since, "+inf")))
