"""Webhook deliveries: at least once, with each attempt recorded once."""

import pytest
from standardwebhooks import Webhook

from imgsvc.bootstrap import Resources
from imgsvc.services.access.api_keys import webhook_secret
from imgsvc.services.webhooks.deliver import LEASE, attempt_delivery
from support.batches import ManualClock, RecordingQueue, attempts_of
from support.deliveries import EventfulEndpoint, deliver, pending_delivery
from support.origin_server import WebhookListener


async def test_2xx_delivers_the_signed_event_and_logs_the_answer(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    listener.statuses = [204]
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook?shop=1")), queue=queue)
    assert (delivery.status, delivery.attempts) == ("delivered", 1)
    assert queue.deliveries == []  # no further attempt

    [post] = listener.requests
    assert post.path == "/hook?shop=1"
    assert post.body.decode() == delivery.body
    assert post.headers["webhook-id"] == delivery.id
    event = Webhook(*resources.sender.secrets).verify(post.body, dict(post.headers))
    assert (event["type"], event["data"]["id"]) == ("batch.failed", delivery.batch_id)
    [attempt] = await attempts_of(resources.sessions, delivery.id)
    assert (attempt.number, attempt.at, attempt.http_status, attempt.error) == (1, resources.clock(), 204, None)


async def test_the_secret_of_the_key_signs_when_the_settings_have_none(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue, secrets=())
    [post] = listener.requests
    secret = await webhook_secret(sessions=resources.sessions)
    assert Webhook(secret).verify(post.body, dict(post.headers))


async def test_the_log_keeps_the_first_2_kb_of_any_answer(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    listener.body = b"caf\xc3\xa9 \xff\x00 " + b"x" * 5_000
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    [attempt] = await attempts_of(resources.sessions, delivery.id)
    assert attempt.answer is not None
    assert attempt.answer.startswith("café �� xxx")
    assert len(attempt.answer.encode("utf-8")) <= 2_048 + 4  # a replacement character is larger than its byte


# -- runs that are early, repeated or interrupted ---------------------------------------------------------------------


async def test_a_delivery_that_is_not_due_or_has_ended_is_not_posted(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    delivery = await pending_delivery(resources, listener.url("/hook"))
    clock.forward(-1)
    await deliver(resources, delivery, queue=queue)
    assert listener.requests == []
    clock.forward(1)
    for _ in range(2):
        await deliver(resources, delivery, queue=queue)
    assert len(listener.requests) == 1


async def crash() -> None:
    raise KeyboardInterrupt


async def test_a_crash_between_the_post_and_its_record_repeats_it_under_the_same_id(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    delivery = await pending_delivery(resources, listener.url("/hook"))
    with pytest.raises(KeyboardInterrupt):
        await deliver(resources, delivery, queue=queue, endpoint=EventfulEndpoint(resources, crash))
    await deliver(resources, delivery, queue=queue)
    assert len(listener.requests) == 1  # the first attempt may still be in progress
    clock.forward(LEASE.total_seconds())
    delivery = await deliver(resources, delivery, queue=queue)

    assert (delivery.status, delivery.attempts) == ("delivered", 1)
    assert [request.headers["webhook-id"] for request in listener.requests] == [delivery.id] * 2
    assert len(await attempts_of(resources.sessions, delivery.id)) == 1


@pytest.mark.parametrize(("late", "early", "status"), [(200, 500, "pending"), (500, 200, "delivered")])
async def test_an_attempt_made_by_two_runs_is_recorded_once(
    resources: Resources,
    listener: WebhookListener,
    queue: RecordingQueue,
    clock: ManualClock,
    late: int,
    early: int,
    status: str,
) -> None:
    delivery = await pending_delivery(resources, listener.url("/hook"))
    listener.statuses = [late, early]

    async def second_run() -> None:
        clock.forward(LEASE.total_seconds())
        await deliver(resources, delivery, queue=queue)

    after = await deliver(resources, delivery, queue=queue, endpoint=EventfulEndpoint(resources, second_run))
    assert len(listener.requests) == 2
    assert (after.status, after.attempts) == (status, 1)
    [attempt] = await attempts_of(resources.sessions, delivery.id)
    assert attempt.http_status == early
    assert queue.deliveries == ([(delivery.id, 2, after.due_at)] if status == "pending" else [])


async def test_a_nonexistent_delivery_is_ignored(resources: Resources, queue: RecordingQueue) -> None:
    await attempt_delivery(
        "evt_none", sessions=resources.sessions, sender=resources.sender, queue=queue, clock=resources.clock
    )
    assert queue.deliveries == []
