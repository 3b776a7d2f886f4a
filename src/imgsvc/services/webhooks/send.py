"""One POST of a webhook: how it is sent and signed, and its result."""

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
    """The dependencies of a POST: the endpoint port, the limit per host, the schedule of attempts.

    `schedule`: seconds before each attempt. `secrets`: if given, they replace the stored secrets of `key_local`.
    """

    endpoint: Endpoint
    host_limit: PerHostLimit
    schedule: Sequence[float]
    secrets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of one POST: the answer of the endpoint, or the error that prevented one."""

    at: datetime
    duration: float
    answer: EndpointResponse | None
    error: FetchError | None

    @property
    def delivered(self) -> bool:
        return self.answer is not None and is_delivered(self.answer.status)

    @property
    def excerpt(self) -> str | None:
        """The beginning of the answer, as text that every database accepts."""
        return self.answer.excerpt.decode("utf-8", "replace").replace("\0", "�") if self.answer else None


def signing_secrets(sender: WebhookSender, owner: ApiKey, now: datetime) -> Sequence[str]:
    """Return the secrets to sign with; two while the owner's secret is being rotated."""
    configured = sender.secrets if owner.id == LOCAL_KEY else ()
    return configured or valid_secrets(owner.webhook_secrets, now)


async def post(delivery: Delivery, secrets: Sequence[str], *, sender: WebhookSender, clock: Clock) -> AttemptResult:
    at, started = clock(), monotonic()
    headers = signed_headers(delivery.id, delivery.body, secrets=secrets, at=at)
    answer, failure = None, None
    try:
        answer = await sender.endpoint.post(delivery.url, headers=headers, body=delivery.body.encode())
    except FetchError as error:
        failure = error
    return AttemptResult(at, monotonic() - started, answer, failure)
