"""The end of a batch: its final status and the announcement, in the transaction that brought its open assets to 0."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries.batches import Counters
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.ids import new_id
from imgsvc.domain.status import DeliveryStatus, final_status
from imgsvc.domain.webhooks import event_body
from imgsvc.services.links import Links
from imgsvc.services.summaries import event_data


async def finish(
    session: AsyncSession, batch_id: str, counters: Counters, *, links: Links, now: datetime
) -> str | None:
    """Move a locked batch without open assets to its final status; returns the id of the delivery, if it has one."""
    status = final_status(succeeded=counters.succeeded, failed=counters.failed)
    if not await batch_queries.move(session, batch_id, status, finished_at=now):
        return None
    batch = await batch_queries.get(session, batch_id)
    if batch is None or batch.webhook_url is None:
        return None
    delivery = announcement(batch, links=links, now=now)
    session.add(delivery)
    return delivery.id


def announcement(batch: Batch, *, links: Links, now: datetime) -> Delivery:
    """The webhook message that tells of the batch's end; its id is the event's, whatever happens from here on."""
    event_type = f"batch.{batch.status}"
    return Delivery(
        id=new_id("evt", now),
        batch_id=batch.id,
        round=batch.round,
        event_type=event_type,
        body=event_body(event_type, at=now, data=event_data(batch, links)),
        url=batch.webhook_url or "",
        status=DeliveryStatus.PENDING,
        due_at=now,
        created_at=now,
    )
