"""The end of a batch: its final status and its delivery, in the transaction that ends its last open asset.

A version of a catalogue ends when it has been compared with the version before, in a job of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries import versions
from imgsvc.db.queries.counters import Counters
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.hosts import host_of
from imgsvc.domain.ids import new_id
from imgsvc.domain.status import DeliveryStatus, final_status
from imgsvc.domain.webhooks import event_body
from imgsvc.logs import get_logger
from imgsvc.services.access.api_keys import link_secret
from imgsvc.services.access.links import Links
from imgsvc.services.batches.progress import event_data
from imgsvc.services.job_queue import JobQueue
from imgsvc.services.wakeups import wake_change, wake_delivery

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """The settings for ended batches: the base of links in webhooks, and how long batches and files are kept.

    `keep_for`: time until a batch is removed with its renditions (None: never). `clean_up_after`: time until
    unreferenced files of a finished batch are removed, and until the last clean-up of a deleted one.
    """

    links: Links
    keep_for: timedelta | None
    clean_up_after: timedelta

    def expiry(self, now: datetime) -> datetime | None:
        return None if self.keep_for is None else now + self.keep_for


@dataclass(frozen=True, slots=True)
class EndedBatch:
    """A batch that has just ended, and the delivery that announces it, if it has a webhook."""

    batch_id: str
    status: str
    counters: Counters
    seconds: float
    delivery_id: str | None


@dataclass(frozen=True, slots=True)
class ToCompare:
    """A batch whose images have ended, and that is now compared with the version before."""

    batch_id: str


async def end_images(
    session: AsyncSession, batch_id: str, counters: Counters, *, retention: Retention, now: datetime
) -> EndedBatch | ToCompare | None:
    """Finish a locked batch without open assets, or begin to compare it if it is a version of a catalogue."""
    if await versions.begin(session, batch_id):
        return ToCompare(batch_id)
    return await finish_batch(session, batch_id, counters, retention=retention, now=now)


async def finish_batch(
    session: AsyncSession,
    batch_id: str,
    counters: Counters,
    *,
    retention: Retention,
    now: datetime,
    changes: dict[str, Any] | None = None,
) -> EndedBatch | None:
    """Move a locked batch without open assets to its final status and add its delivery; None if already ended."""
    status = final_status(succeeded=counters.succeeded, failed=counters.failed, cancelled=counters.cancelled)
    dates = {"finished_at": now, "expires_at": retention.expiry(now), "tidy_at": now + retention.clean_up_after}
    if not await batch_queries.move(session, batch_id, status, change=None, changes=changes, **dates):
        return None
    batch = await batch_queries.get(session, batch_id)
    if batch is None:
        raise LookupError(f"{batch_id} disappeared while its row was locked")
    delivery = None
    if batch.webhook_url:
        secret = await link_secret(session, batch_id)
        delivery = _new_delivery(batch, links=retention.links, secret=secret, now=now)
        session.add(delivery)
    seconds = (now - batch.created_at).total_seconds()
    return EndedBatch(batch_id, status, counters, seconds, delivery.id if delivery else None)


async def announce(ended: EndedBatch | ToCompare, *, queue: JobQueue) -> None:
    """Log the end of a batch and wake its delivery, or its comparison. Call it after the commit."""
    if isinstance(ended, ToCompare):
        await wake_change(ended.batch_id, queue=queue)
        return
    log.info(
        "batch_ended",
        batch_id=ended.batch_id,
        status=str(ended.status),
        succeeded=ended.counters.succeeded,
        failed=ended.counters.failed,
        errors=ended.counters.errors,
        input_bytes=ended.counters.input_bytes,
        output_bytes=ended.counters.output_bytes,
        seconds=round(ended.seconds, 1),
    )
    if ended.delivery_id:
        await wake_delivery(ended.delivery_id, attempts=0, queue=queue)


def _new_delivery(batch: Batch, *, links: Links, secret: str, now: datetime) -> Delivery:
    """Build the webhook message that announces the end of the batch; every attempt sends its id as the event's."""
    event_type = f"batch.{batch.status}"
    reports = {
        "output_csv_url": links.signed_report(batch.id, "output.csv", secret=secret, now=now),
        "failures_csv_url": links.signed_report(batch.id, "failures.csv", secret=secret, now=now),
    }
    if batch.changes:
        reports["changes_csv_url"] = links.signed_report(batch.id, "changes.csv", secret=secret, now=now)
    return Delivery(
        id=new_id("evt", now),
        batch_id=batch.id,
        round=batch.round,
        event_type=event_type,
        body=event_body(event_type, at=now, data=event_data(batch, reports)),
        url=batch.webhook_url or "",
        host=host_of(batch.webhook_url or ""),
        status=DeliveryStatus.PENDING,
        due_at=now,
        created_at=now,
    )
