"""A delivery to test with, and one run of the job that makes an attempt at it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Delivery
from imgsvc.services.ports import Endpoint, EndpointResponse
from imgsvc.services.webhooks.deliver import attempt_delivery
from support.batches import RecordingQueue, deliveries_of, submit_batch


async def announced(parts: Resources, url: str) -> Delivery:
    """The pending delivery of a batch that is finished."""
    batch = await submit_batch(parts, ["ftp://shop.example/1"], on_invalid="skip", webhook_url=url)
    [delivery] = await deliveries_of(parts.sessions, batch.id)
    return delivery


async def now(parts: Resources, delivery: Delivery) -> Delivery:
    """The delivery as it stands now."""
    return (await deliveries_of(parts.sessions, delivery.batch_id))[0]


async def deliver(
    parts: Resources,
    delivery: Delivery,
    *,
    queue: RecordingQueue,
    endpoint: Endpoint | None = None,
    secrets: Sequence[str] | None = None,
) -> Delivery:
    """One run of the job; the delivery as it stands afterwards."""
    await attempt(parts, delivery.id, queue=queue, endpoint=endpoint, secrets=secrets)
    return await now(parts, delivery)


async def attempt(
    parts: Resources,
    delivery_id: str,
    *,
    queue: RecordingQueue,
    endpoint: Endpoint | None = None,
    secrets: Sequence[str] | None = None,
) -> None:
    """One run of the job."""
    await attempt_delivery(
        delivery_id,
        sessions=parts.sessions,
        sender=replace(
            parts.sender,
            endpoint=endpoint or parts.fetcher,
            secrets=parts.sender.secrets if secrets is None else secrets,
        ),
        queue=queue,
        clock=parts.clock,
    )


class Meanwhile:
    """The port Endpoint; something happens after the POST and before its answer is known."""

    def __init__(self, parts: Resources, happens: Callable[[], Awaitable[object]]) -> None:
        self._endpoint, self._happens = parts.fetcher, happens

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        answer = await self._endpoint.post(url, headers=headers, body=body)
        await self._happens()
        return answer
