"""Webhook deliveries: one attempt at a time, on a schedule that lives in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import deliveries as queries
from imgsvc.db.tables import Delivery, DeliveryAttempt
from imgsvc.domain.status import DeliveryStatus
from imgsvc.domain.webhooks import is_delivered, next_attempt_at, signed_headers, valid_secrets
from imgsvc.errors import FetchError, QueueUnavailable
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.ports import Answer, Endpoint, JobQueue

log = get_logger(__name__)

LEASE = timedelta(seconds=60)
"""How long an attempt may take before the sweep has it made again; far above the endpoint's time-out."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of one POST: an answer, or the error that stood in its way."""

    at: datetime
    duration: float
    answer: Answer | None
    error: FetchError | None

    @property
    def delivered(self) -> bool:
        return self.answer is not None and is_delivered(self.answer.status)


async def deliver(
    delivery_id: str,
    *,
    sessions: Sessions,
    endpoint: Endpoint,
    queue: JobQueue,
    clock: Clock,
    secrets: Sequence[str] = (),
) -> None:
    """Make one attempt at a delivery that is due, and schedule the next if it fails.

    A crash between the POST and its record repeats the attempt under the same id: at least once, never lost.
    `secrets` sign instead of those of the batch's API key when given.

    Raises:
        DatabaseUnavailable: the attempt is made again when its lease ends.
    """
    async with sessions.write() as session:
        now = clock()
        if not await queries.lease(session, delivery_id, now=now, until=now + LEASE):
            return
        delivery = await queries.get(session, delivery_id)
        stored = await queries.signing_secrets(session, delivery.batch_id) if delivery else []
    if delivery is None:
        return
    attempted = await _post(delivery, secrets or valid_secrets(stored, now), endpoint=endpoint, clock=clock)
    await _record(delivery, attempted, sessions=sessions, queue=queue, clock=clock)


async def _post(delivery: Delivery, secrets: Sequence[str], *, endpoint: Endpoint, clock: Clock) -> Attempted:
    at, started = clock(), monotonic()
    headers = signed_headers(delivery.id, delivery.body, secrets=secrets, at=at)
    answer, failure = None, None
    try:
        answer = await endpoint.post(delivery.url, headers=headers, body=delivery.body.encode())
    except FetchError as error:
        failure = error
    return Attempted(at, monotonic() - started, answer, failure)


async def _record(
    delivery: Delivery, attempted: Attempted, *, sessions: Sessions, queue: JobQueue, clock: Clock
) -> None:
    number = delivery.attempts + 1
    status, due_at = _verdict(attempted, number, clock())
    row = DeliveryAttempt(
        delivery_id=delivery.id,
        number=number,
        at=attempted.at,
        duration=attempted.duration,
        http_status=attempted.answer.status if attempted.answer else None,
        error=attempted.error.code if attempted.error else None,
        answer=attempted.answer.excerpt.decode("utf-8", "replace").replace("\0", "�") if attempted.answer else None,
    )
    async with sessions.write() as session:
        recorded = await queries.record(session, row, status, due_at=due_at)
    if not recorded:
        return
    log.info(
        "webhook_attempt",
        delivery_id=delivery.id,
        batch_id=delivery.batch_id,
        attempt=number,
        status=str(status),
        http_status=row.http_status,
        error=row.error,
    )
    if status is DeliveryStatus.PENDING:
        await wake(delivery.id, attempts=number, at=due_at, queue=queue)


def _verdict(attempted: Attempted, attempts: int, now: datetime) -> tuple[DeliveryStatus, datetime]:
    """Where the delivery stands after this attempt, and when it is due again."""
    if attempted.delivered:
        return DeliveryStatus.DELIVERED, now
    answer = attempted.answer
    due_at = next_attempt_at(
        now,
        attempts=attempts,
        status=answer.status if answer else None,
        retry_after=answer.retry_after if answer else None,
    )
    return (DeliveryStatus.EXHAUSTED, now) if due_at is None else (DeliveryStatus.PENDING, due_at)


async def wake(delivery_id: str, *, attempts: int, queue: JobQueue, at: datetime | None = None) -> None:
    """Wake the job that makes the next attempt; when Redis is away the sweep will."""
    try:
        await queue.wake_delivery(delivery_id, attempt=attempts + 1, at=at)
    except QueueUnavailable as error:
        log.warning("wake_up_lost", delivery_id=delivery_id, error=str(error))
