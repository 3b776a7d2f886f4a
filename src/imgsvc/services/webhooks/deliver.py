"""Webhook deliveries: one attempt at a time, on a schedule kept in the database."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import api_keys, batches, counters
from imgsvc.db.queries import deliveries as queries
from imgsvc.db.queries.deliveries import DeliveryLog
from imgsvc.db.tables import Delivery, DeliveryAttempt
from imgsvc.domain.ids import new_id
from imgsvc.domain.status import DeliveryStatus
from imgsvc.domain.webhooks import event_body, next_attempt_at
from imgsvc.errors import NotFound
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue
from imgsvc.services.wakeups import wake_delivery
from imgsvc.services.webhooks.send import AttemptResult, WebhookSender, post, signing_secrets

log = get_logger(__name__)

TEST_EVENT = "webhook.test"
LEASE = timedelta(seconds=60)
"""Time after which the sweep repeats an attempt; far longer than the endpoint's timeout."""


async def attempt_delivery(
    delivery_id: str, *, sessions: Sessions, sender: WebhookSender, queue: JobQueue, clock: Clock
) -> None:
    """Make one attempt at a due delivery, and schedule the next if it fails.

    A crash between the POST and its record repeats the attempt under the same id: delivery is at least once.

    Raises:
        EndpointBusy: nothing was posted, because the limit of posts to this host is reached.
        DatabaseUnavailable: the attempt is repeated when its lease ends.
    """
    async with sessions.read() as session:
        pending = await queries.get(session, delivery_id)
    if pending is None or pending.status != DeliveryStatus.PENDING:
        return
    with sender.host_limit.slot(pending.url):
        async with sessions.write() as session:
            now = clock()
            if not await queries.lease(session, delivery_id, now=now, until=now + LEASE):
                return
            delivery = await queries.get(session, delivery_id)
            owner = await api_keys.owner_of(session, delivery.batch_id) if delivery else None
        if delivery is None or owner is None:
            return
        result = await post(delivery, signing_secrets(sender, owner, now), sender=sender, clock=clock)
    await _record(delivery, result, sender=sender, sessions=sessions, queue=queue, clock=clock)


async def request_redelivery(
    delivery_id: str, *, api_key_id: str, sessions: Sessions, queue: JobQueue, clock: Clock
) -> DeliveryLog:
    """Make a delivery due at once, in any status; it keeps its id, and its schedule starts again.

    Raises:
        NotFound: no such delivery, or it belongs to another API key.
    """
    async with sessions.write() as session:
        delivery = await queries.get(session, delivery_id)
        if delivery is None or not await counters.lock(session, delivery.batch_id, api_key_id=api_key_id):
            raise NotFound(f"There is no delivery {delivery_id}.")
        await queries.redeliver(session, delivery_id, clock())
        log_entry = await queries.get_log(session, delivery_id)
    await wake_delivery(delivery_id, attempts=log_entry.delivery.attempts, queue=queue)
    return log_entry


async def list_deliveries(batch_id: str, *, api_key_id: str, sessions: Sessions) -> list[DeliveryLog]:
    """Return every delivery of a batch, newest first, each with its attempts in order.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
    """
    async with sessions.read() as session:
        if await batches.get(session, batch_id, api_key_id=api_key_id) is None:
            raise NotFound(f"There is no batch {batch_id}.")
        return await queries.logs_of_batch(session, batch_id)


async def send_test(
    url: str, *, api_key_id: str, sessions: Sessions, sender: WebhookSender, clock: Clock
) -> tuple[Delivery, AttemptResult]:
    """Post a `webhook.test` event to `url` once, signed like any other event; nothing is stored.

    Raises:
        NotFound: there is no such API key.
        EndpointBusy: the limit of posts to this host is reached.
    """
    async with sessions.read() as session:
        key = await api_keys.get(session, api_key_id)
    now = clock()
    body = event_body(TEST_EVENT, at=now, data={})
    event = Delivery(
        id=new_id("evt", now), batch_id="", round=0, event_type=TEST_EVENT, body=body, url=url,
        status=DeliveryStatus.PENDING, due_at=now, created_at=now,
    )  # fmt: skip
    if key is None:
        raise NotFound(f"There is no API key {api_key_id}.")
    with sender.host_limit.slot(url):
        return event, await post(event, signing_secrets(sender, key, now), sender=sender, clock=clock)


async def _record(
    delivery: Delivery,
    result: AttemptResult,
    *,
    sender: WebhookSender,
    sessions: Sessions,
    queue: JobQueue,
    clock: Clock,
) -> None:
    row = _attempt_row(delivery, result)
    async with sessions.write() as session:
        current = await queries.lock(session, delivery.id)
        if current is None:
            return
        if current.due_at == delivery.due_at:
            status, due_at = _next_state(result, row.number - current.schedule_from, sender.schedule, clock())
        else:  # a redelivery was requested during the attempt
            status, due_at = DeliveryStatus.PENDING, current.due_at
        recorded = await queries.record(session, row, status, due_at=due_at)
    if not recorded:
        return
    log.info(
        "webhook_attempt",
        delivery_id=delivery.id,
        batch_id=delivery.batch_id,
        attempt=row.number,
        status=str(status),
        http_status=row.http_status,
        error=row.error,
    )
    if status is DeliveryStatus.PENDING:
        await wake_delivery(delivery.id, attempts=row.number, at=due_at, queue=queue)


def _attempt_row(delivery: Delivery, result: AttemptResult) -> DeliveryAttempt:
    return DeliveryAttempt(
        delivery_id=delivery.id,
        number=delivery.attempts + 1,
        at=result.at,
        duration=result.duration,
        http_status=result.answer.status if result.answer else None,
        error=result.error.code if result.error else None,
        answer=result.excerpt,
    )


def _next_state(
    result: AttemptResult, attempts: int, schedule: Sequence[float], now: datetime
) -> tuple[DeliveryStatus, datetime]:
    """Return the delivery's status after this attempt, and when it is due again."""
    if result.delivered:
        return DeliveryStatus.DELIVERED, now
    answer = result.answer
    due_at = next_attempt_at(
        now,
        attempts=attempts,
        status=answer.status if answer else None,
        retry_after=answer.retry_after if answer else None,
        schedule=schedule,
    )
    return (DeliveryStatus.EXHAUSTED, now) if due_at is None else (DeliveryStatus.PENDING, due_at)
