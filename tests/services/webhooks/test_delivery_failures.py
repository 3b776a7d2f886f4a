"""Failed attempts, and the schedule of further ones in the database."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from imgsvc.adapters.http.fetcher import EgressPolicy, Fetcher
from imgsvc.bootstrap import Resources
from support.batches import ManualClock, RecordingQueue, attempts_of
from support.deliveries import deliver, pending_delivery
from support.origin_server import OriginServer, WebhookListener
from support.polling import LONG_TIMEOUTS


@asynccontextmanager
async def endpoint_with_timeout(seconds: float) -> AsyncIterator[Fetcher]:
    """Yield an endpoint that waits `seconds` for an answer."""
    fetcher = Fetcher(
        limits=replace(LONG_TIMEOUTS, webhook_timeout=seconds),
        egress=EgressPolicy([ip_network("127.0.0.0/8")]),
        user_agent="imgsvc-test",
    )
    yield fetcher
    await fetcher.aclose()


@contextmanager
def closed_port() -> Iterator[str]:
    """Yield a URL on a port that is reserved and refuses connections."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}/hook"


@pytest.mark.parametrize("status", [302, 400, 404, 500])
async def test_any_other_answer_is_a_failure_and_the_next_attempt_is_scheduled(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, status: int
) -> None:
    listener.statuses, listener.headers = [status], {"Location": listener.url("/elsewhere")}
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    assert timedelta(seconds=4.5) <= delivery.due_at - resources.clock() <= timedelta(seconds=5.5)
    assert queue.deliveries == [(delivery.id, 2, delivery.due_at)]
    assert [request.path for request in listener.requests] == ["/hook"]  # redirects are not followed
    [attempt] = await attempts_of(resources.sessions, delivery.id)
    assert (attempt.http_status, attempt.answer) == (status, "thank you")


@pytest.mark.parametrize("error", ["total_timeout", "connect_error", "blocked_address"])
async def test_the_log_has_the_reason_when_there_is_no_answer(
    resources: Resources, origin: OriginServer, queue: RecordingQueue, error: str
) -> None:
    seconds = 0.2 if error == "total_timeout" else 60
    with closed_port() as closed:
        urls = {
            "total_timeout": origin.url("/slow-headers"),
            "connect_error": closed,
            "blocked_address": "http://10.0.0.1/hook",
        }
        async with endpoint_with_timeout(seconds) as endpoint:
            delivery = await deliver(
                resources, await pending_delivery(resources, urls[error]), queue=queue, endpoint=endpoint
            )
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    [attempt] = await attempts_of(resources.sessions, delivery.id)
    assert (attempt.error, attempt.http_status, attempt.answer) == (error, None, None)
    assert queue.deliveries == [(delivery.id, 2, delivery.due_at)]


async def test_retry_after_of_a_busy_endpoint_delays_the_next_attempt(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    listener.statuses, listener.headers = [503], {"Retry-After": "120"}
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    assert delivery.due_at == resources.clock() + timedelta(minutes=2)


async def test_410_exhausts_the_delivery_at_once(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    listener.statuses = [410]
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    assert (delivery.status, delivery.attempts) == ("exhausted", 1)
    assert queue.deliveries == []


async def test_after_ten_attempts_over_days_the_delivery_is_exhausted(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    listener.statuses = [500] * 10
    delivery, started = await pending_delivery(resources, listener.url("/hook")), clock()
    while delivery.status == "pending":
        clock.now = max(clock(), delivery.due_at)
        delivery = await deliver(resources, delivery, queue=queue)
    assert (delivery.status, delivery.attempts, len(listener.requests)) == ("exhausted", 10, 10)
    assert timedelta(days=2.8) < clock() - started < timedelta(days=3.6)
    assert {request.headers["webhook-id"] for request in listener.requests} == {delivery.id}
    assert [attempt.number for attempt in await attempts_of(resources.sessions, delivery.id)] == list(range(1, 11))


async def test_an_endpoint_that_comes_back_gets_the_event(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    listener.statuses = [500, 200]
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    clock.now = delivery.due_at
    delivery = await deliver(resources, delivery, queue=queue)
    assert (delivery.status, delivery.attempts) == ("delivered", 2)


async def test_a_lost_wake_up_call_is_left_to_the_sweep(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    listener.statuses, queue.is_unavailable = [500], True
    delivery = await deliver(resources, await pending_delivery(resources, listener.url("/hook")), queue=queue)
    assert (delivery.status, delivery.attempts) == ("pending", 1)
