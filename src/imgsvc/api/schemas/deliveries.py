"""The JSON of webhook deliveries. Its names are part of the public API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from imgsvc.db.queries.deliveries import DeliveryLog
from imgsvc.db.tables import DeliveryAttempt
from imgsvc.domain.status import DeliveryStatus
from imgsvc.services.webhooks.send import AttemptResult


class AttemptOut(BaseModel):
    """One POST of a delivery."""

    number: int
    at: datetime
    duration: float = Field(description="Seconds until the response, or until the attempt failed.", examples=[0.084])
    http_status: int | None = Field(description="Only 2xx counts as delivered.", examples=[500])
    error: str | None = Field(description="Why there was no response.", examples=["connect_timeout"])
    answer: str | None = Field(description="The first 2 kB of the response body.")


class DeliveryOut(BaseModel):
    """The webhook event for one end of a batch, and its attempts."""

    id: str = Field(description="The event's `webhook-id`, the same at every attempt.")
    object: Literal["delivery"] = "delivery"
    batch_id: str
    round: int = Field(description="1 for the upload, plus 1 for each retry of the batch.")
    event_type: str = Field(examples=["batch.completed"])
    url: str
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="null once the delivery is delivered or exhausted.")
    log: list[AttemptOut]


class DeliveryList(BaseModel):
    data: list[DeliveryOut] = Field(description="Newest first.")


class WebhookTest(BaseModel):
    """The result of a test event."""

    id: str = Field(description="The `webhook-id` of the event.")
    delivered: bool = Field(description="True if a real event would have counted as delivered.")
    duration: float
    http_status: int | None
    error: str | None
    answer: str | None


def delivery_out(logged: DeliveryLog) -> DeliveryOut:
    """Convert a delivery to its JSON."""
    delivery = logged.delivery
    status = DeliveryStatus(delivery.status)
    return DeliveryOut(
        id=delivery.id,
        batch_id=delivery.batch_id,
        round=delivery.round,
        event_type=delivery.event_type,
        url=delivery.url,
        status=status,
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        next_attempt_at=delivery.due_at if status is DeliveryStatus.PENDING else None,
        log=[_attempt(attempt) for attempt in logged.attempts],
    )


def _attempt(attempt: DeliveryAttempt) -> AttemptOut:
    return AttemptOut(
        number=attempt.number,
        at=attempt.at,
        duration=round(attempt.duration, 3),
        http_status=attempt.http_status,
        error=attempt.error,
        answer=attempt.answer,
    )


def webhook_test_out(event_id: str, result: AttemptResult) -> WebhookTest:
    return WebhookTest(
        id=event_id,
        delivered=result.delivered,
        duration=round(result.duration, 3),
        http_status=result.answer.status if result.answer else None,
        error=result.error.code if result.error else None,
        answer=result.excerpt,
    )
