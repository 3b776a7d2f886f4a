"""Jobs in Redis; no other module enqueues. arq identifies a job by its id, so enqueuing it twice changes nothing."""

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
"""Sorted set: worker id → time of its last heartbeat, in seconds."""
STATS = "imgsvc:tally:"
"""Key prefix, followed by the worker id: the worker's stats since it started, as JSON."""
WORKER_TIMEOUT = timedelta(seconds=30)

WORK = "work"
DELIVER = "deliver"
SWEEP = "sweep"
CLEAN_UP = "tidy"
CHANGE = "change"

_NO_STATS: Mapping[str, int] = {}
_MIN_LANES = 4
_MAX_COUNTED = 1_000


def serialize(job: dict[str, Any]) -> bytes:
    """Return the job as JSON; with pickle, anyone who can write to Redis could run code here."""
    return json.dumps(job, default=repr).encode()  # `default`: arq stores exceptions as results


def deserialize(data: bytes) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(data)
    return job


def in_progress_key(job_id: str) -> str:
    """Return the key that arq sets while a worker runs the job."""
    return in_progress_key_prefix + job_id


class _FlatRetry(Retry):
    """Retries a command, without redis-py's nested retries of the connection in each try.

    With both, a command made 81 tries in 200 s while Redis was hanging. Every connection has its own copy.
    """

    _is_retrying = False

    async def call_with_retry(self, do: Callable[[], Awaitable[T]], fail: Callable[[RedisError], Any]) -> T:
        if self._is_retrying:
            return await do()
        self._is_retrying = True
        try:
            return await super().call_with_retry(do, fail)
        finally:
            self._is_retrying = False


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def open_redis(url: str, *, queue_name: str, timeout: float = 2.0, retries: int = 0) -> ArqRedis:
    """Return a client for Redis at `url` (redis://, rediss:// or unix://); each try may take `timeout` seconds."""
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=_FlatRetry(ExponentialBackoff(cap=1, base=0.05), retries),
        # OSError: a restarting server refuses connections with it, and it would end an arq worker.
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OSError] if retries else [],
    )
    return ArqRedis(
        connection_pool=pool, default_queue_name=queue_name, job_serializer=serialize, job_deserializer=deserialize
    )


class ArqQueue:
    """The port `LaneQueue` on arq, and the registry of live workers."""

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

    async def wake_lane(self, batch_id: str, api_key_id: str, *, lane: int = 0, at: datetime | None = None) -> None:
        async with in_time(self._timeout):
            job_id = f"{batch_id}:{lane}"
            await reply(
                self._redis.enqueue_job(WORK, batch_id, lane, _job_id=job_id, _queue_name=WORK_QUEUE, _defer_until=at)
            )

    async def wake_delivery(self, delivery_id: str, *, attempt: int, at: datetime | None = None) -> None:
        # arq rounds down to milliseconds, so the job would run just before the delivery is due.
        defer_until = at + timedelta(milliseconds=1) if at else None
        job_id = f"{delivery_id}:{attempt}"
        async with in_time(self._timeout):
            job = await reply(
                self._redis.enqueue_job(
                    DELIVER, delivery_id, _job_id=job_id, _queue_name=CONTROL_QUEUE, _defer_until=defer_until
                )
            )
            if job is None and at is None:  # the job is already scheduled: a redelivery brings it forward
                await reply(self._redis.zadd(CONTROL_QUEUE, {job_id: _now_ms()}, xx=True, lt=True))

    async def wake_clean_up(self, batch_id: str) -> None:
        async with in_time(self._timeout):
            await reply(
                self._redis.enqueue_job(CLEAN_UP, batch_id, _job_id=f"{batch_id}:tidy", _queue_name=CLEAN_UP_QUEUE)
            )

    async def wake_change(self, batch_id: str) -> None:
        async with in_time(self._timeout):
            await reply(
                self._redis.enqueue_job(CHANGE, batch_id, _job_id=f"{batch_id}:change", _queue_name=CLEAN_UP_QUEUE)
            )

    async def waiting(self) -> int:
        async with in_time(self._timeout):
            due = names(
                await reply(self._redis.zrangebyscore(WORK_QUEUE, "-inf", _now_ms(), start=0, num=_MAX_COUNTED))
            )
            if not due:
                return 0
            in_progress = [in_progress_key(job_id) for job_id in due]
            return len(due) - integer(await reply(self._redis.exists(*in_progress)))

    async def live_workers(self) -> int:
        """Return the number of workers with a recent heartbeat.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        async with in_time(self._timeout):
            return await self._live_workers()

    async def heartbeat(self, worker_id: str, stats: Mapping[str, int] = _NO_STATS) -> None:
        """Record that a worker is alive, with its stats, and forget workers that have been silent for long.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        now = datetime.now(UTC)
        oldest = (now - 10 * WORKER_TIMEOUT).timestamp()
        async with in_time(self._timeout):
            await reply(self._redis.zadd(WORKERS, {worker_id: now.timestamp()}))
            await reply(self._redis.zremrangebyscore(WORKERS, "-inf", oldest))
            await reply(self._redis.set(STATS + worker_id, json.dumps(stats), ex=WORKER_TIMEOUT))

    async def worker_stats(self) -> dict[str, dict[str, int]]:
        """Return the stats of each worker with a recent heartbeat, since its start.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        async with in_time(self._timeout):
            since = (datetime.now(UTC) - WORKER_TIMEOUT).timestamp()
            workers = names(await reply(self._redis.zrangebyscore(WORKERS, since, "+inf")))
            keys = [STATS + worker for worker in workers]
            found = await reply(self._redis.mget(keys)) if keys else []
        return dict(zip(workers, worker_stats(found, len(keys)), strict=True))

    async def unregister(self, worker_id: str) -> None:
        """Remove a worker that stops from the registry.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        async with in_time(self._timeout):
            await reply(self._redis.zrem(WORKERS, worker_id))
            await reply(self._redis.delete(STATS + worker_id))

    async def aclose(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def _live_workers(self) -> int:
        since = (datetime.now(UTC) - WORKER_TIMEOUT).timestamp()
        return integer(await reply(self._redis.zcount(WORKERS, since, "+inf")))
