"""Models of webhook deliveries."""

from datetime import datetime

from imgsvc.client.problems import ApiModel


class Attempt(ApiModel):
    """One POST of a delivery; `duration` is in seconds, `answer` the first 2 kB of the response."""

    number: int
    at: datetime
    duration: float
    http_status: int | None
    error: str | None
    answer: str | None


class Delivery(ApiModel):
    """A webhook message about the end of one round, with all attempts in `log`.

    `status` is `pending`, `delivered` or `exhausted`.
    """

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


class DeliveryList(ApiModel):
    data: list[Delivery]
