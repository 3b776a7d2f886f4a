"""One thin arq function for each job: read the arguments, call one service, ask for a retry if a part was away."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import structlog
from arq import Retry
from arq.typing import WorkerCoroutine

from imgsvc.bootstrap import Resources
from imgsvc.errors import EndpointBusy, StorageError, Unavailable
from imgsvc.logs import get_logger
from imgsvc.services.batches.delete import clean_up_batch
from imgsvc.services.processing import lane as lanes
from imgsvc.services.processing.lane import LanePolicy
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.sweep import expire_batches, wake_due_work
from imgsvc.services.webhooks.deliver import attempt_delivery

log = get_logger(__name__)
P = ParamSpec("P")

CONTEXT_KEY = "parts"
_AT_ONCE = 0.01  # arq puts a deferred job behind those that wait; without a delay it would keep its old place in front
_SOON = 5
_LATEST = 30.0


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the jobs of one worker process share; in arq's context under `CONTEXT_KEY`."""

    resources: Resources
    processor: AssetProcessor
    policy: LanePolicy
    stopping: asyncio.Event


def job(function: Callable[Concatenate[WorkerContext, P], Coroutine[Any, Any, None]]) -> WorkerCoroutine:
    """Make an arq job of `function`: it is logged under its job id and run again when it breaks."""

    @wraps(function)
    async def run(ctx: dict[str, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        with structlog.contextvars.bound_contextvars(job_id=ctx["job_id"]):
            try:
                await function(ctx[CONTEXT_KEY], *args, **kwargs)
            except Retry:
                raise
            except EndpointBusy as busy:  # not worth a line; the longer the line of waiters, the later it comes back
                raise Retry(defer=min(2.0 ** min(ctx["job_try"], 10), _LATEST) * random.uniform(0.5, 1)) from busy  # noqa: S311
            except (Unavailable, StorageError) as error:
                log.warning("job_postponed", reason=error.code, error=str(error))
                raise Retry(defer=_SOON) from error
            except Exception as error:  # the top of a job: arq would drop it for good, and the batch with it
                log.exception("job_failed")
                raise Retry(defer=_SOON) from error

    return cast("WorkerCoroutine", run)


@job
async def work(parts: WorkerContext, batch_id: str, lane: int) -> None:  # noqa: ARG001  # `lane` makes the job's id
    more_due = await lanes.work(
        batch_id,
        sessions=parts.resources.sessions,
        queue=parts.resources.queue,
        processor=parts.processor,
        retention=parts.resources.retention,
        clock=parts.resources.clock,
        policy=parts.policy,
        stopping=parts.stopping,
    )
    if more_due:
        raise Retry(defer=_AT_ONCE)  # enqueuing one's own id while running would be dropped in silence


@job
async def deliver(parts: WorkerContext, delivery_id: str) -> None:
    resources = parts.resources
    await attempt_delivery(
        delivery_id,
        sessions=resources.sessions,
        sender=resources.sender,
        queue=resources.queue,
        clock=resources.clock,
    )


@job
async def clean_up(parts: WorkerContext, batch_id: str) -> None:
    resources = parts.resources
    await clean_up_batch(
        batch_id,
        sessions=resources.sessions,
        inventory=resources.storage,
        clock=resources.clock,
        clean_up_after=resources.retention.clean_up_after,
    )


@job
async def sweep(parts: WorkerContext) -> None:
    resources = parts.resources
    await wake_due_work(sessions=resources.sessions, queue=resources.queue, clock=resources.clock)
    await expire_batches(sessions=resources.sessions, clock=resources.clock)  # it writes, so it may have to wait
