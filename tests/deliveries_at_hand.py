"""A delivery to test with, and one run of the job that makes an attempt at it."""

from collections.abc import Sequence

from batches_at_hand import NotedQueue, deliveries_of, submitted
from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Delivery
from imgsvc.services import deliveries
from imgsvc.services.ports import Endpoint


async def announced(parts: Resources, url: str) -> Delivery:
    """The pending delivery of a batch that is finished."""
    batch = await submitted(parts, ["ftp://shop.example/1"], on_invalid="skip", webhook_url=url)
    [delivery] = await deliveries_of(parts.sessions, batch.id)
    return delivery


async def now(parts: Resources, delivery: Delivery) -> Delivery:
    """The delivery as it stands now."""
    return (await deliveries_of(parts.sessions, delivery.batch_id))[0]


async def deliver(
    parts: Resources,
    delivery: Delivery,
    *,
    queue: NotedQueue,
    endpoint: Endpoint | None = None,
    secrets: Sequence[str] | None = None,
) -> Delivery:
    """One run of the job; the delivery as it stands afterwards."""
    await deliveries.deliver(
        delivery.id,
        sessions=parts.sessions,
        endpoint=endpoint or parts.outbound,
        queue=queue,
        clock=parts.clock,
        secrets=parts.webhook_secrets if secrets is None else secrets,
    )
    return await now(parts, delivery)
