"""One POST of a webhook: through which door, signed with what, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import ApiKey, Delivery
from imgsvc.domain.webhooks import is_delivered, signed_headers, valid_secrets
from imgsvc.errors import FetchError
from imgsvc.services.clock import Clock
from imgsvc.services.ports import Endpoint, EndpointResponse
from imgsvc.services.webhooks.host_slots import PerHostLimit


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """How webhooks are posted: through which door, how many to one host at a time, and when again.

    `schedule` are the seconds before each attempt; `secrets` sign what is made without API keys, instead of the stored
    ones, when given.
    """

    endpoint: Endpoint
    host_limit: PerHostLimit
    schedule: Sequence[float]
    secrets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of one POST: an answer, or the error that stood in its way."""

    at: datetime
    duration: float
    answer: EndpointResponse | None
    error: FetchError | None

    @property
    def delivered(self) -> bool:
        return self.answer is not None and is_delivered(self.answer.status)

    @property
    def excerpt(self) -> str | None:
        """The beginning of the answer as text that every database takes."""
        return self.answer.excerpt.decode("utf-8", "replace").replace("\0", "�") if self.answer else None


def signing_secrets(sender: WebhookSender, owner: ApiKey, now: datetime) -> Sequence[str]:
    """Two while the owner's is being rotated."""
    given = sender.secrets if owner.id == LOCAL_KEY else ()
    return given or valid_secrets(owner.webhook_secrets, now)


async def post(delivery: Delivery, secrets: Sequence[str], *, sender: WebhookSender, clock: Clock) -> AttemptResult:
    at, started = clock(), monotonic()
    headers = signed_headers(delivery.id, delivery.body, secrets=secrets, at=at)
    answer, failure = None, None
    try:
        answer = await sender.endpoint.post(delivery.url, headers=headers, body=delivery.body.encode())
    except FetchError as error:
        failure = error
    return AttemptResult(at, monotonic() - started, answer, failure)
