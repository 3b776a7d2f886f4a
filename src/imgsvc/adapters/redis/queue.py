"""Jobs in Redis; no other module enqueues. A job has an id: enqueuing it again while it is queued changes nothing."""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from arq.connections import ArqRedis
from arq.constants import expires_extra_ms
from redis.asyncio import ConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from imgsvc.adapters.redis.flat_retry import FlatRetry
from imgsvc.adapters.redis.job import CHANGE, CLEAN_UP, DELIVER, Job, deserialize, lane_job, serialize
from imgsvc.adapters.redis.replies import in_time, integer, names, reply
from imgsvc.adapters.redis.running_jobs import listen, renew
from imgsvc.adapters.redis.scripts import ENQUEUE, running_key
from imgsvc.adapters.redis.worker_reports import busy_hosts, worker_stats
from imgsvc.services.throttling.busy_hosts import BusyHost, busiest_of_all

WORK_QUEUE = "imgsvc:lanes"  # not the former "imgsvc:work": workers of both versions may run during an upgrade
CONTROL_QUEUE = "imgsvc:control"
SWEEP_QUEUE = "imgsvc:sweep"
CLEAN_UP_QUEUE = "imgsvc:tidy"
CHANGE_QUEUE = "imgsvc:change"
WORKERS = "imgsvc:workers"
"""Sorted set: worker id → time of its last heartbeat, in seconds."""
STATS = "imgsvc:tally:"
"""Key prefix, followed by the worker id: the worker's stats since it started, as JSON."""
HOSTS = "imgsvc:hosts:"
"""Key prefix, followed by the worker id: the busiest hosts of the worker, as JSON."""
WORKER_TIMEOUT = timedelta(seconds=30)

_NOTHING: Mapping[str, Any] = {}
_MIN_LANES = 4
_LANES_PER_WORKER = 2


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def open_redis(url: str, *, queue_name: str, timeout: float = 2.0, retries: int = 0) -> ArqRedis:
    """Return a client for Redis at `url` (redis://, rediss:// or unix://); each try may take `timeout` seconds."""
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=FlatRetry(ExponentialBackoff(cap=1, base=0.05), retries),
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

    async def wake_lane(self, batch_id: str, api_key_id: str, *, lane: int = 0, at: datetime | None = None) -> None:
        async with in_time(self._timeout):
            if lane >= _MIN_LANES and lane >= _LANES_PER_WORKER * await self._live_workers():
                return
            await self._enqueue(WORK_QUEUE, [lane_job(batch_id, api_key_id, lane)], at=at)

    async def wake_lanes(self, batches: Sequence[tuple[str, str]]) -> None:
        async with in_time(self._timeout):
            jobs = [lane_job(batch_id, api_key_id, 0) for batch_id, api_key_id in batches]
            await self._enqueue(WORK_QUEUE, jobs, only_new=True)

    async def wake_delivery(self, delivery_id: str, *, attempt: int, at: datetime | None = None) -> None:
        async with in_time(self._timeout):
            await self._enqueue(CONTROL_QUEUE, [Job(f"{delivery_id}:{attempt}", DELIVER, (delivery_id,))], at=at)

    async def wake_clean_up(self, batch_id: str) -> None:
        async with in_time(self._timeout):
            await self._enqueue(CLEAN_UP_QUEUE, [Job(f"{batch_id}:tidy", CLEAN_UP, (batch_id,))])

    async def wake_change(self, batch_id: str) -> None:
        async with in_time(self._timeout):
            await self._enqueue(CHANGE_QUEUE, [Job(f"{batch_id}:change", CHANGE, (batch_id,))])

    async def waiting(self) -> int:
        async with in_time(self._timeout):
            return integer(await reply(self._redis.zcount(WORK_QUEUE, "-inf", _now_ms())))

    async def live_workers(self) -> int:
        """Return the number of workers with a recent heartbeat.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        async with in_time(self._timeout):
            return await self._live_workers()

    async def heartbeat(
        self,
        worker_id: str,
        stats: Mapping[str, int] = _NOTHING,
        running: Mapping[str, Collection[str]] = _NOTHING,
        hosts: Sequence[BusyHost] = (),
    ) -> None:
        """Record that a worker is alive, with its stats and hosts, and forget workers that have been silent for long.

        The jobs that it is `running`, by queue, stay out of the queues for another `VISIBILITY`.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        now = datetime.now(UTC)
        oldest = (now - 10 * WORKER_TIMEOUT).timestamp()
        async with in_time(self._timeout):
            for queue_name, job_ids in running.items():
                await renew(self._redis, queue_name, job_ids)
            await reply(self._redis.zadd(WORKERS, {worker_id: now.timestamp()}))
            await reply(self._redis.zremrangebyscore(WORKERS, "-inf", oldest))
            await reply(self._redis.set(STATS + worker_id, json.dumps(stats), ex=WORKER_TIMEOUT))
            await reply(self._redis.set(HOSTS + worker_id, json.dumps(hosts), ex=WORKER_TIMEOUT))

    async def worker_stats(self) -> dict[str, dict[str, int]]:
        """Return the stats of each worker with a recent heartbeat, since its start.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        workers, found = await self._reports(STATS)
        return dict(zip(workers, worker_stats(found, len(workers)), strict=True))

    async def busy_hosts(self) -> list[BusyHost]:
        """Return the busiest hosts of all workers, as of their last heartbeats.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        workers, found = await self._reports(HOSTS)
        return busiest_of_all(busy_hosts(found, len(workers)))

    async def unregister(self, worker_id: str) -> None:
        """Remove a worker that stops from the registry.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
        async with in_time(self._timeout):
            await reply(self._redis.zrem(WORKERS, worker_id))
            await reply(self._redis.delete(STATS + worker_id, HOSTS + worker_id))

    async def listen(self, wake: Callable[[str], None]) -> NoReturn:
        """Call `wake` with the name of a queue whenever a job of it becomes due at once, and first of all with "".

        Raises:
            QueueUnavailable: Redis is unavailable; calls may have been missed.
        """
        await listen(self._redis, wake)

    async def aclose(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def _live_workers(self) -> int:
        since = (datetime.now(UTC) - WORKER_TIMEOUT).timestamp()
        return integer(await reply(self._redis.zcount(WORKERS, since, "+inf")))

    async def _reports(self, prefix: str) -> tuple[list[str], object]:
        """Return the workers with a recent heartbeat, and what is stored for each under `prefix`."""
        async with in_time(self._timeout):
            since = (datetime.now(UTC) - WORKER_TIMEOUT).timestamp()
            workers = names(await reply(self._redis.zrangebyscore(WORKERS, since, "+inf")))
            return workers, await reply(self._redis.mget([prefix + worker for worker in workers])) if workers else []

    async def _enqueue(
        self, queue_name: str, jobs: Sequence[Job], *, at: datetime | None = None, only_new: bool = False
    ) -> None:
        """Enqueue jobs in one command; one that runs stays as it is.

        One that is scheduled is brought forward, or stays as it is if `only_new`.
        """
        now = _now_ms()
        # Round up, so that the job does not run just before it is due.
        delay = max(0, math.ceil(at.timestamp() * 1000) - now) if at else 0
        data = [word for job in jobs for word in (job.id, job.serialize(now))]
        arguments = [now + delay if delay else "", delay + expires_extra_ms, "NX" if only_new else "LT", *data]
        await reply(self._redis.register_script(ENQUEUE)([queue_name, running_key(queue_name)], arguments))
