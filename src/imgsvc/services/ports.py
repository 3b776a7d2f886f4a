"""What the verbs call: the outside world as Protocols of one to three methods, each implemented in adapters/."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from imgsvc.domain.imaging.compress import Compressed
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.rate_limit import RateLimit


class MemoryBudget(Protocol):
    """A share of the bytes that may be in memory at one time."""

    def grow(self, size: int) -> bool:
        """Make room for `size` bytes in all; False when there is none now."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body of an image URL, and the validators for a conditional fetch later (RFC 9110 §8.8)."""

    body: bytes
    etag: str | None
    last_modified: str | None
    final_url_hash: str  # of the URL that sent this, behind any redirects


@dataclass(frozen=True, slots=True)
class Validators:
    """What the URL of `final_url_hash` said about the body that we know: enough to ask whether it has changed."""

    etag: str | None
    last_modified: str | None
    final_url_hash: str


class Origin(Protocol):
    """The servers that image URLs point to."""

    async def fetch(self, url: str, budget: MemoryBudget, known: Validators | None = None) -> Fetched:
        """GET `url`, following redirects; the `known` validators are sent to the URL that they came from alone.

        Raises:
            FetchError: one type for each error code of the fetching side.
            BudgetExhausted: `room` could not grow to the size of the body.
            Unchanged: `url` still leads there, and the body is still the `known` one, which was not sent.
        """


@dataclass(frozen=True, slots=True)
class EndpointResponse:
    """What a webhook endpoint answered: `excerpt` is the first 2 kB of the body, `retry_after` is in seconds."""

    status: int
    excerpt: bytes
    retry_after: float | None


class Endpoint(Protocol):
    """The servers that webhooks are posted to."""

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        """POST once, without following redirects; any status is an answer.

        Raises:
            FetchError: no answer came.
        """


class RateLimiter(Protocol):
    """Who did how much of something lately."""

    async def take(self, what: str, whose: str, *, per_minute: int) -> RateLimit | None:
        """Count one more, if it is within the limit; None when it cannot be counted now, and is then allowed."""


class Storage(Protocol):
    """Where renditions lie."""

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Store all of `data` or nothing; the same key is only ever written with the same bytes.

        Raises:
            StorageError: disk full, read-only, time-out, refused.
        """

    async def copy(self, source: str, key: str) -> bool:
        """Store under `key` what lies under `source`, all of it or nothing; False when nothing lies there.

        It counts as stored now, and stays when `source` is removed.

        Raises:
            StorageError: as `put` does.
        """

    async def locate(self, key: str, *, method: Literal["GET", "HEAD"] = "GET") -> Path | str | None:
        """Return a local path to read, or a link presigned for `method` alone; None when there is no such key.

        Raises:
            StorageError: the store does not answer.
        """

    async def check(self) -> None:
        """Raises StorageError when nothing can be stored."""


class ObjectReader(Protocol):
    """Where renditions are read again."""

    def read(self, key: str) -> AsyncGenerator[bytes, None]:
        """What lies under `key`, a piece at a time.

        Raises:
            NotStored: nothing lies there.
            StorageError: the store does not answer.
        """


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies under a key: `size` in bytes, `modified` in UTC."""

    key: str
    size: int
    modified: datetime


class Inventory(Protocol):
    """Everything that lies in the storage, also what a put that was killed left behind."""

    def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        """Pages of at most 1,000, in no order; `prefix` is whole folder names, such as a batch id, and "" lists all.

        What is put or removed meanwhile may be listed or not.

        Raises:
            StorageError: the store is away, or does not answer in time.
        """

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove what lies under these keys; one that is not there is fine, so that repeating it is harmless.

        Raises:
            StorageError: some of them may be removed, others not.
        """


class Quarantine(Protocol):
    """Where images are compressed that may bring down whoever does it."""

    async def compress(self, data: bytes, specs: Sequence[Spec], *, max_pixels_now: int) -> Compressed:
        """`domain.images.compress`, in a place where nobody else works.

        Raises:
            CodecError, ReservationTooSmall: as `domain.images.compress` does.
            WorkerCrash: the image brought the place down, took too long, or too much memory.
            KilledInQuarantine: the place was brought down from outside; the same call may succeed.
            QuarantineUnavailable: no such place is to be had; nothing is wrong with the image.
            DecodeAbandoned: the caller was cancelled or the sandbox closed after the work had begun.
        """


class JobQueue(Protocol):
    """Wake-up calls. Losing one costs time until the next sweep, never work."""

    async def wake_lanes(self, batch_id: str) -> None:
        """Enqueue the lanes of a batch, as many as the live workers can use; those queued or running already stay.

        Raises:
            QueueUnavailable: Redis is away.
        """

    async def wake_delivery(self, delivery_id: str, *, attempt: int, at: datetime | None = None) -> None:
        """Enqueue one attempt of a delivery, now or `at` a time.

        Raises:
            QueueUnavailable: Redis is away.
        """

    async def wake_clean_up(self, batch_id: str) -> None:
        """Enqueue the tidying of a batch that has ended or is deleted.

        Raises:
            QueueUnavailable: Redis is away.
        """


class LaneQueue(JobQueue, Protocol):
    """What a lane asks beside it."""

    async def waiting(self) -> int:
        """How many lanes are due and not running anywhere.

        Raises:
            QueueUnavailable: Redis is away.
        """
