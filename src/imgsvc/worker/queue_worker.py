"""The arq worker of one queue, with our way to wait for jobs and to take them.

For each override, `docs/adr/0011-arq-and-what-we-override.md` cites the lines of arq that make it necessary.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

from arq.utils import timestamp_ms
from arq.worker import Worker

from imgsvc.adapters.redis.running_jobs import Taken, put_back, remove, take, take_lanes

SLOW_POLL_DELAY = 1.0
"""Seconds between two polls without a wake-up call; the longest that a new job waits if its call was lost."""
MIN_POLL_DELAY = 0.02
_LAG_PER_LANE = 0.002
_MAX_LAG = 0.03
"""Seconds that a worker leaves new lanes to workers that run fewer."""


@dataclass(slots=True)
class QueueState:
    """The state shared by the arq workers of one queue in a process; one that lost Redis still runs its jobs."""

    running: dict[str, int] = field(default_factory=dict)
    """Job id → when it was taken, in milliseconds."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a job of the queue has become due, and when a job has ended here."""


class QueueWorker(Worker):
    """The arq worker of one queue: it takes jobs by script, and polls when it is woken or when a job is due."""

    def __init__(self, *, state: QueueState, at_most: int, **options: Any) -> None:
        """`at_most`: jobs taken per poll."""
        super().__init__(**options)
        self._state = state
        self._at_most = at_most

    async def main(self) -> None:
        """Take jobs until this is cancelled; in burst mode, until none is queued or running."""
        while True:
            self._state.woken.clear()
            polled_at = monotonic()
            delay = await self._poll()
            self._remove_ended_tasks()
            await self.heart_beat()
            if self.burst and not self.tasks and not await self.pool.zcard(self.queue_name):
                return
            await self._wait(delay, polled_at)

    async def _poll(self) -> float:
        """Start the jobs that are due; return the seconds until the next poll, if nothing happens before."""
        running = self._state.running
        free = self.max_jobs - len(running)
        if not self.allow_pick_jobs or free <= 0:
            return SLOW_POLL_DELAY
        at_most = min(free, self._at_most)
        taken = await self._take(at_most, free)
        for job_id in taken.job_ids:
            if job_id not in running:  # Redis believed this worker dead, and has returned its job
                self._start(job_id)
        if len(taken.job_ids) == at_most:
            return 0
        return SLOW_POLL_DELAY if taken.next_due is None else min(taken.next_due, SLOW_POLL_DELAY)

    async def _take(self, at_most: int, free: int) -> Taken:  # noqa: ARG002  # `free` is for lanes
        return await take(self.pool, self.queue_name, at_most=at_most)

    def _start(self, job_id: str) -> None:
        taken_at = self._state.running[job_id] = timestamp_ms()
        task = self.tasks[job_id] = self.loop.create_task(self.run_job(job_id, taken_at))
        task.add_done_callback(partial(self._ended, job_id, taken_at))

    def _ended(self, job_id: str, taken_at: int, _task: "asyncio.Task[None]") -> None:
        if self._state.running.get(job_id) == taken_at:  # its end could not be recorded
            del self._state.running[job_id]
        self._state.woken.set()

    def _remove_ended_tasks(self) -> None:
        for job_id, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[job_id]
                task.result()  # raises what went wrong in arq or Redis, not in the job

    async def _wait(self, delay: float, polled_at: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._state.woken.wait()
        await asyncio.sleep(max(self._lag(), polled_at + MIN_POLL_DELAY - monotonic()))

    def _lag(self) -> float:
        return 0

    async def finish_job(  # arq's signature
        self,
        job_id: str,
        finish: bool,
        result_data: bytes | None,  # noqa: ARG002
        result_timeout_s: float | None,  # noqa: ARG002
        keep_result_forever: bool,  # noqa: ARG002
        incr_score: int | None,
        keep_in_progress: float | None,
    ) -> None:
        """Record in Redis that a job has ended or runs again later; no results are kept."""
        # No longer running, before another worker or this one may take it again.
        taken_at = self._state.running.pop(job_id, timestamp_ms())
        if finish:
            remember = timedelta(seconds=keep_in_progress) if keep_in_progress else None
            await remove(self.pool, self.queue_name, job_id, remember=remember)
        else:
            at_ms = taken_at + incr_score if incr_score else None
            await put_back(self.pool, self.queue_name, job_id, at_ms=at_ms)

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:  # noqa: ARG002
        """Remove a job that arq cannot run."""
        self._state.running.pop(job_id, None)
        await remove(self.pool, self.queue_name, job_id, remember=None)


class LaneWorker(QueueWorker):
    """The arq worker of the lanes: they are taken in turn between API keys, and shared between the workers."""

    def __init__(self, *, weights: Mapping[str, float], **options: Any) -> None:
        super().__init__(**options)
        self._weights = weights

    async def _take(self, at_most: int, free: int) -> Taken:
        held = Counter(job_id.partition(":")[0] for job_id in self._state.running)
        return await take_lanes(
            self.pool, self.queue_name, at_most=at_most, free=free, weights=self._weights, held=held
        )

    def _lag(self) -> float:
        return min(_LAG_PER_LANE * len(self._state.running), _MAX_LAG)
