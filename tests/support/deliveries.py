"""Deliveries for tests, and runs of the delivery job."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Delivery
from imgsvc.services.ports import Endpoint, EndpointResponse
from imgsvc.services.webhooks.deliver import attempt_delivery
from support.batches import RecordingQueue, deliveries_of, submit_batch


async def pending_delivery(resources: Resources, url: str) -> Delivery:
    """Create a finished batch with a webhook, and return its pending delivery."""
    batch = await submit_batch(resources, ["ftp://shop.example/1"], on_invalid="skip", webhook_url=url)
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    return delivery


async def current_delivery(resources: Resources, delivery: Delivery) -> Delivery:
    """Return the current state of the delivery."""
    return (await deliveries_of(resources.sessions, delivery.batch_id))[0]


async def deliver(
    resources: Resources,
    delivery: Delivery,
    *,
    queue: RecordingQueue,
    endpoint: Endpoint | None = None,
    secrets: Sequence[str] | None = None,
) -> Delivery:
    """Run the job once, and return the delivery's state afterwards."""
    await attempt(resources, delivery.id, queue=queue, endpoint=endpoint, secrets=secrets)
    return await current_delivery(resources, delivery)


async def attempt(
    resources: Resources,
    delivery_id: str,
    *,
    queue: RecordingQueue,
    endpoint: Endpoint | None = None,
    secrets: Sequence[str] | None = None,
) -> None:
    """Run the job once."""
    await attempt_delivery(
        delivery_id,
        sessions=resources.sessions,
        sender=replace(
            resources.sender,
            endpoint=endpoint or resources.fetcher,
            secrets=resources.sender.secrets if secrets is None else secrets,
        ),
        queue=queue,
        clock=resources.clock,
    )


class EventfulEndpoint:
    """An Endpoint that runs `event` after the POST and before it returns the answer."""

    def __init__(self, resources: Resources, event: Callable[[], Awaitable[object]]) -> None:
        self._endpoint, self._event = resources.fetcher, event

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        answer = await self._endpoint.post(url, headers=headers, body=body)
        await self._event()
        return answer
