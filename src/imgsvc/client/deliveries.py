"""Webhook deliveries as the server sends them."""

from datetime import datetime

from imgsvc.client.problems import Wire


class Attempt(Wire):
    """One POST of a delivery; `duration` is in seconds, `answer` the first 2 kB of what came back."""

    number: int
    at: datetime
    duration: float
    http_status: int | None
    error: str | None
    answer: str | None


class Delivery(Wire):
    """The announcement of one end of a batch: `pending`, `delivered` or `exhausted`; `log` has every attempt."""

    id: str
    batch_id: str
    round: int
    event_type: str
    url: str
    status: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    log: list[Attempt]


class DeliveryList(Wire):
    data: list[Delivery]
