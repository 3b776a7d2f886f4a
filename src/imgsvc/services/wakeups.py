"""Wake-up calls after a commit. While Redis is unavailable they are lost, and the sweep repeats them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from imgsvc.errors import QueueUnavailable
from imgsvc.logs import get_logger
from imgsvc.services.job_queue import JobQueue

log = get_logger(__name__)


async def wake_lane(batch_id: str, api_key_id: str, *, queue: JobQueue, lane: int = 0) -> None:
    async with _may_be_lost(batch_id=batch_id):
        await queue.wake_lane(batch_id, api_key_id, lane=lane)


async def wake_clean_up(batch_id: str, *, queue: JobQueue) -> None:
    async with _may_be_lost(batch_id=batch_id):
        await queue.wake_clean_up(batch_id)


async def wake_change(batch_id: str, *, queue: JobQueue) -> None:
    async with _may_be_lost(batch_id=batch_id):
        await queue.wake_change(batch_id)


async def wake_delivery(delivery_id: str, *, attempts: int, queue: JobQueue, at: datetime | None = None) -> None:
    """Wake the delivery job for attempt `attempts` + 1."""
    async with _may_be_lost(delivery_id=delivery_id):
        await queue.wake_delivery(delivery_id, attempt=attempts + 1, at=at)


@asynccontextmanager
async def _may_be_lost(**ids: str) -> AsyncIterator[None]:
    try:
        yield
    except QueueUnavailable as error:
        log.warning("wakeup_not_enqueued", **ids, error=str(error))
