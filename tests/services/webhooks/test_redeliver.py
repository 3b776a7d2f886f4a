"""Redelivery, the schedule setting, and the limit per host."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.deliveries import DeliveryLog
from imgsvc.db.tables import Delivery
from imgsvc.errors import EndpointBusy, NotFound
from imgsvc.services.ports import EndpointResponse
from imgsvc.services.webhooks.deliver import request_redelivery
from imgsvc.services.webhooks.host_slots import PerHostLimit
from support.batches import ManualClock, RecordingQueue, attempts_of, batch_row, delivery_row, store
from support.deliveries import EventfulEndpoint, attempt, current_delivery, deliver, pending_delivery
from support.lanes import until
from support.origin_server import WebhookListener
from support.verbs import OTHER_KEY, sweep

LAST = 10


async def redeliver(
    resources: Resources, delivery: Delivery, queue: RecordingQueue, *, api_key_id: str = LOCAL_KEY
) -> DeliveryLog:
    return await request_redelivery(
        delivery.id, api_key_id=api_key_id, sessions=resources.sessions, queue=queue, clock=resources.clock
    )


async def exhaust(resources: Resources, delivery: Delivery, queue: RecordingQueue, clock: ManualClock) -> Delivery:
    """Make attempts until the delivery is no longer pending, and return it."""
    while delivery.status == "pending":
        clock.now = max(clock(), delivery.due_at)
        delivery = await deliver(resources, delivery, queue=queue)
    return delivery


# -- redelivery -------------------------------------------------------------------------------------------------------


async def test_a_delivered_event_is_posted_again_under_the_same_id(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    logged = await redeliver(resources, delivery, queue)
    assert (logged.delivery.status, logged.delivery.due_at) == ("pending", resources.clock())
    assert [entry.number for entry in logged.attempts] == [1]
    assert queue.deliveries == [(delivery.id, 2, None)]

    delivery = await deliver(resources, delivery, queue=queue)
    assert (delivery.status, delivery.attempts) == ("delivered", 2)
    first, second = listener.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.id
    assert first.body == second.body
    assert [entry.number for entry in await attempts_of(resources.sessions, delivery.id)] == [1, 2]


async def test_a_receiver_that_was_down_for_days_gets_the_event_by_a_redelivery(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    listener.statuses = [500] * LAST
    delivery = await exhaust(resources, await pending_delivery(resources, listener.url("/hook")), queue, clock)
    assert (delivery.status, delivery.attempts) == ("exhausted", LAST)
    clock.forward(7 * 86_400)
    await redeliver(resources, delivery, queue)
    delivery = await deliver(resources, delivery, queue=queue)
    assert (delivery.status, delivery.attempts) == ("delivered", LAST + 1)


@pytest.mark.parametrize("before", [[200], [410], [500, 500]])
async def test_a_failed_redelivery_restarts_the_schedule(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock, before: list[int]
) -> None:
    listener.statuses = [*before, *[500] * LAST]
    delivery = await pending_delivery(resources, listener.url("/hook"))
    for _ in before:
        clock.now = max(clock(), delivery.due_at)
        delivery = await deliver(resources, delivery, queue=queue)
    await redeliver(resources, delivery, queue)
    delivery = await deliver(resources, delivery, queue=queue)
    assert delivery.status == "pending"
    assert timedelta(seconds=4.5) <= delivery.due_at - clock() <= timedelta(seconds=5.5)
    delivery = await exhaust(resources, delivery, queue, clock)
    assert (delivery.status, delivery.attempts) == ("exhausted", len(before) + LAST)
    numbers = [entry.number for entry in await attempts_of(resources.sessions, delivery.id)]
    assert numbers == [*range(1, len(before) + LAST + 1)]


async def test_a_delivery_awaiting_its_next_attempt_is_posted_at_once(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    listener.statuses = [503]
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    assert delivery.due_at > resources.clock()
    await redeliver(resources, delivery, queue)
    assert queue.deliveries[-1] == (delivery.id, 2, None)
    assert (await deliver(resources, delivery, queue=queue)).status == "delivered"


async def test_a_redelivery_requested_during_the_last_attempt_is_not_lost(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    listener.statuses = [500] * LAST
    delivery = await pending_delivery(resources, listener.url("/hook"))
    while delivery.attempts < LAST - 1:
        clock.now = max(clock(), delivery.due_at)
        delivery = await deliver(resources, delivery, queue=queue)
    clock.now = delivery.due_at
    endpoint = EventfulEndpoint(resources, lambda: redeliver(resources, delivery, queue))
    delivery = await deliver(resources, delivery, queue=queue, endpoint=endpoint)
    assert (delivery.status, delivery.attempts) == ("pending", LAST)
    clock.now = delivery.due_at
    assert (await deliver(resources, delivery, queue=queue)).status == "delivered"


async def test_the_sweep_wakes_a_redelivery_when_the_queue_was_unavailable(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    queue.is_unavailable = True
    await redeliver(resources, delivery, queue)
    queue.is_unavailable = False
    await sweep(resources, queue)
    assert queue.deliveries == [(delivery.id, 2, None)]


async def test_a_delivery_of_another_key_is_not_found(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    with pytest.raises(NotFound):
        await redeliver(resources, delivery, queue, api_key_id=OTHER_KEY)
    with pytest.raises(NotFound):
        await redeliver(resources, delivery_row("evt_none", "bat_none", resources.clock()), queue)
    assert (await current_delivery(resources, delivery)).status == "delivered"


# -- the schedule -----------------------------------------------------------------------------------------------------


async def test_the_schedule_is_a_setting(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    listener.statuses = [500, 500]
    quick = replace(resources, sender=replace(resources.sender, schedule=(0, 70)))
    delivery = await deliver(quick, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    assert timedelta(seconds=63) <= delivery.due_at - clock() <= timedelta(seconds=77)
    clock.now = delivery.due_at
    assert (await deliver(quick, delivery, queue=queue)).status == "exhausted"


# -- the limit per host -----------------------------------------------------------------------------------------------


class HangingEndpoint:
    """An Endpoint where one host does not answer before `may_answer` is set."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.posted: list[str] = []
        self.may_answer = asyncio.Event()

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        self.posted.append(url)
        if self._host in url:
            await self.may_answer.wait()
        return EndpointResponse(200, b"", None)


async def test_a_hanging_host_occupies_two_slots_and_others_continue(
    resources: Resources, queue: RecordingQueue
) -> None:
    slow = [await pending_delivery(resources, f"http://slow.example/{number}") for number in range(3)]
    other = await pending_delivery(resources, "http://quick.example/hook")
    endpoint = HangingEndpoint("slow.example")
    runs = [asyncio.create_task(attempt(resources, each.id, queue=queue, endpoint=endpoint)) for each in slow[:2]]
    await until(lambda: len(endpoint.posted) == 2)

    with pytest.raises(EndpointBusy):
        await attempt(resources, slow[2].id, queue=queue, endpoint=endpoint)
    assert await current_delivery(resources, slow[2]) == slow[2]
    assert (await deliver(resources, other, queue=queue, endpoint=endpoint)).status == "delivered"
    assert len(endpoint.posted) == 3

    endpoint.may_answer.set()
    await asyncio.gather(*runs)
    for each in slow:
        assert (await deliver(resources, each, queue=queue, endpoint=endpoint)).status == "delivered"
    assert len(endpoint.posted) == 4


async def test_a_run_that_fails_frees_its_slot() -> None:
    limit = PerHostLimit(1)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), limit.slot("http://Slow.example/a"):
            with pytest.raises(EndpointBusy), limit.slot("http://slow.example/b"):
                pass
            raise KeyboardInterrupt


async def due(resources: Resources, queue: RecordingQueue) -> Sequence[str]:
    await sweep(resources, queue)
    return [delivery_id for delivery_id, _, _ in queue.deliveries]


async def test_deliveries_waiting_for_one_host_do_not_hide_others_from_the_sweep(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    await store(resources.sessions, batch_row("bat_1", clock(), status="failed"))
    long_due = clock() - timedelta(days=1)
    down = [
        delivery_row(f"evt_down_{n:04}", "bat_1", long_due + timedelta(seconds=n), round=n, host="down.example")
        for n in range(1_200)
    ]
    just_due = clock() - timedelta(minutes=1)
    others = [
        delivery_row(f"evt_{n}", "bat_1", just_due + timedelta(seconds=n), round=2_000 + n, host=f"{n}.example")
        for n in range(2)
    ]
    await store(resources.sessions, *down, *others)
    assert await due(resources, queue) == [*(each.id for each in down[:100]), *(each.id for each in others)]


async def test_a_redelivery_requested_during_a_successful_attempt_is_made(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    delivery = await pending_delivery(resources, listener.url("/hook"))
    delivery = await deliver(
        resources,
        delivery,
        queue=queue,
        endpoint=EventfulEndpoint(resources, lambda: redeliver(resources, delivery, queue)),
    )
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    delivery = await deliver(resources, delivery, queue=queue)
    assert (delivery.status, delivery.attempts) == ("delivered", 2)
    assert len({request.headers["webhook-id"] for request in listener.requests}) == 1
    assert len(listener.requests) == 2
