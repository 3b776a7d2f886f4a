"""One thin arq function per job: read the arguments, call one service, retry if a component is unavailable."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import structlog
from arq import Retry
from arq.typing import WorkerCoroutine

from imgsvc.adapters.redis.job import SWEEP_CLEAN_UPS, SWEEP_DELIVERIES, SWEEP_LANES
from imgsvc.bootstrap import Resources
from imgsvc.errors import EndpointBusy, StorageError, Unavailable
from imgsvc.logs import get_logger
from imgsvc.services.batches.change import apply_change
from imgsvc.services.batches.delete import clean_up_batch
from imgsvc.services.batches.remove_files import repeat_removals
from imgsvc.services.clock import utc_now
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.work import work
from imgsvc.services.results.compare_versions import compare_versions
from imgsvc.services.sweep import LaneSweep, expire_batches, wake_changes, wake_clean_ups, wake_deliveries
from imgsvc.services.webhooks.deliver import attempt_delivery
from imgsvc.worker.queue_worker import QueueState

log = get_logger(__name__)
P = ParamSpec("P")

CONTEXT_KEY = "imgsvc"
_RETRY_DELAY = 5
_MAX_ENDPOINT_DELAY = 30.0


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Objects shared by the jobs of one worker process; in arq's context under `CONTEXT_KEY`."""

    resources: Resources
    processor: AssetProcessor
    policy: LanePolicy
    stopping: asyncio.Event
    queues: dict[str, QueueState] = field(default_factory=lambda: defaultdict(QueueState))
    """The state that the arq workers of each queue share."""
    lane_sweep: LaneSweep = field(default_factory=LaneSweep)


def job(function: Callable[Concatenate[WorkerContext, P], Coroutine[Any, Any, None]]) -> WorkerCoroutine:
    """Turn `function` into an arq job that logs with its job id and runs again when it fails."""

    @wraps(function)
    async def run(ctx: dict[str, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        with structlog.contextvars.bound_contextvars(job_id=ctx["job_id"]):
            try:
                await function(ctx[CONTEXT_KEY], *args, **kwargs)
            except Retry:
                raise
            except EndpointBusy as busy:  # too frequent to log; the delay grows, so that many waiters do not poll often
                delay = min(2.0 ** min(ctx["job_try"], 10), _MAX_ENDPOINT_DELAY)
                raise Retry(defer=delay * random.uniform(0.5, 1)) from busy  # noqa: S311
            except (Unavailable, StorageError) as error:
                log.warning("job_postponed", reason=error.code, error=str(error))
                raise Retry(defer=_RETRY_DELAY) from error
            except Exception as error:  # the top of a job: arq would drop it for good, and the batch with it
                log.exception("job_failed")
                raise Retry(defer=_RETRY_DELAY) from error

    return cast("WorkerCoroutine", run)


@job
async def run_lane(context: WorkerContext, batch_id: str, api_key_id: str, lane: int) -> None:  # noqa: ARG001  # the queue takes turns by it
    next_run = await work(
        batch_id,
        lane,
        sessions=context.resources.sessions,
        queue=context.resources.queue,
        processor=context.processor,
        retention=context.resources.retention,
        policy=context.policy,
        stopping=context.stopping,
    )
    if next_run:
        raise run_again(next_run)


def run_again(at: datetime) -> Retry:
    """Return the error that puts this job back: due at a time, or if that has passed, behind all lanes that wait."""
    delay = at - utc_now()
    return Retry(defer=delay if delay > timedelta() else None)


@job
async def deliver_webhook(context: WorkerContext, delivery_id: str) -> None:
    resources = context.resources
    await attempt_delivery(
        delivery_id,
        sessions=resources.sessions,
        sender=resources.sender,
        queue=resources.queue,
        clock=resources.clock,
    )


@job
async def run_clean_up(context: WorkerContext, batch_id: str) -> None:
    resources = context.resources
    await clean_up_batch(
        batch_id,
        sessions=resources.sessions,
        inventory=resources.storage,
        clock=resources.clock,
        clean_up_after=resources.retention.clean_up_after,
    )


@job
async def run_change(context: WorkerContext, batch_id: str) -> None:
    resources = context.resources
    for apply in (apply_change, compare_versions):
        await apply(
            batch_id,
            sessions=resources.sessions,
            queue=resources.queue,
            retention=resources.retention,
            clock=resources.clock,
        )


@job
async def sweep_lanes(context: WorkerContext) -> None:
    resources = context.resources
    await context.lane_sweep.run(sessions=resources.sessions, queue=resources.queue)


@job
async def sweep_deliveries(context: WorkerContext) -> None:
    resources = context.resources
    await wake_deliveries(sessions=resources.sessions, queue=resources.queue, clock=resources.clock)


@job
async def sweep_clean_ups(context: WorkerContext) -> None:
    resources = context.resources
    await wake_changes(sessions=resources.sessions, queue=resources.queue)
    await wake_clean_ups(sessions=resources.sessions, queue=resources.queue, clock=resources.clock)
    await expire_batches(sessions=resources.sessions, clock=resources.clock)  # late: it may wait for the write lock
    await repeat_removals(
        sessions=resources.sessions,
        inventory=resources.storage,
        clock=resources.clock,
        forget_after=resources.retention.clean_up_after,
    )


SWEEPS = {SWEEP_LANES: sweep_lanes, SWEEP_DELIVERIES: sweep_deliveries, SWEEP_CLEAN_UPS: sweep_clean_ups}
"""The sweeps by name. Each is a job, so that many open batches delay no webhook and no removal."""
