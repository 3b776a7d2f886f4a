"""The port of the job queue, which adapters/redis implements on arq."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class JobQueue(Protocol):
    """Enqueues jobs as wake-up calls. Losing one costs time until the next sweep, never work."""

    async def wake_lane(self, batch_id: str, api_key_id: str, *, lane: int = 0, at: datetime | None = None) -> None:
        """Enqueue a lane of a batch, now or for the time `at`; it is ignored if the live workers have no use for it.

        A lane that is queued stays, or is brought forward; a lane that runs stays.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """

    async def wake_lanes(self, batches: Sequence[tuple[str, str]]) -> None:
        """Enqueue lane 0 of each (batch id, API key id) in one command; one that is queued or scheduled stays as it is.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """

    async def wake_delivery(self, delivery_id: str, *, attempt: int, at: datetime | None = None) -> None:
        """Enqueue one attempt at a delivery, now or for the time `at`.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """

    async def wake_clean_up(self, batch_id: str) -> None:
        """Enqueue the clean-up of a batch that has ended or is deleted.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """

    async def wake_change(self, batch_id: str) -> None:
        """Enqueue the rest of a batch's change: a cancellation or a retry.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """


class LaneQueue(JobQueue, Protocol):
    """A job queue that reports its backlog of lanes."""

    async def waiting(self) -> int:
        """Return the number of lanes that are due and not running.

        Raises:
            QueueUnavailable: Redis is unavailable.
        """
