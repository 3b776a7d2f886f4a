"""The ports: Protocols of one to three methods that services call and adapters/ implements."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from imgsvc.domain.imaging.compress import Compressed
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.manifest.formats.convert import Conversion, Converted
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.rate_limit import RateLimit


class MemoryBudget(Protocol):
    """Memory reserved for one body, out of the bytes that a worker may hold at once."""

    def grow(self, size: int) -> bool:
        """Grow the reservation to `size` bytes; return False when they are not free now."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body of an image URL, and the validators for a conditional fetch later (RFC 9110 §8.8)."""

    body: bytes
    etag: str | None
    last_modified: str | None
    final_url_hash: str  # of the URL that sent the body, after any redirects


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a body fetched earlier from the URL of `final_url_hash`: enough for a conditional fetch."""

    etag: str | None
    last_modified: str | None
    final_url_hash: str


class Hops(Protocol):
    """The requests of one fetch: the first, and one for each redirect."""

    def request(self, url: str) -> AbstractAsyncContextManager[Callable[[], None]]:
        """Enclose the request of `url`, once its host has room; call the value when the headers of its response arrive.

        Its own exceptions pass through `Origin.fetch`.
        """


class Origin(Protocol):
    """The servers that image URLs point to."""

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        """GET `url`, following redirects; `validators` are sent only to the URL they came from.

        Raises:
            FetchError: the fetch failed; there is one type for each error code.
            BudgetExhausted: `budget` could not grow to the size of the body.
            NotModified: `url` still leads to that URL, whose body has not changed; it was not sent again.
        """


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A catalogue that was fetched: the name and the media type that its server gives it, and its validators."""

    filename: str | None
    media_type: str
    validators: Validators


class FileOrigin(Protocol):
    """The servers that catalogues are fetched from."""

    async def download(
        self, url: str, write: Callable[[bytes], Awaitable[object]], validators: Validators | None = None
    ) -> FetchedFile:
        """GET `url` as `Origin.fetch` does, and `write` its body as it arrives; errors of `write` pass through.

        Raises:
            FetchError: the fetch failed; part of the body may have been written.
            NotModified: as in `Origin.fetch`; nothing was written.
        """


@dataclass(frozen=True, slots=True)
class EndpointResponse:
    """The response of a webhook endpoint: `excerpt` is the first 2 kB of the body, `retry_after` is in seconds."""

    status: int
    excerpt: bytes
    retry_after: float | None


class Endpoint(Protocol):
    """The servers that webhooks are posted to."""

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        """POST once, without following redirects; a response with any status is returned.

        Raises:
            FetchError: no response came.
        """


class RateLimiter(Protocol):
    """Limits on the actions of each API key per minute."""

    async def take(self, action: str, api_key_id: str, *, per_minute: int) -> RateLimit | None:
        """Count one more action if the limit allows it; None: it cannot be counted now, and is allowed."""


class Storage(Protocol):
    """The storage of renditions."""

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Store all of `data` or nothing. A key is only ever written with the same bytes.

        Raises:
            StorageError: the disk is full or read-only, or the store refused or timed out.
        """

    async def exists(self, key: str) -> bool:
        """Return whether there is an object `key`.

        Raises:
            StorageError: the store does not respond.
        """

    async def check(self) -> None:
        """Raise StorageError when nothing can be stored."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of an object from `start` up to, but without, `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object, or a part of it, that can be read even if it is removed now. `size` is that of the whole object.

    The `chunks` raise StorageError when the store does not respond any more. Close them if they are not all read.
    """

    size: int
    chunks: AsyncGenerator[bytes, None]


class ObjectReader(Protocol):
    """The storage of renditions, for reading."""

    async def open(self, key: str, part: Part | None = None) -> OpenObject:
        """Open the object `key`, or a part of it.

        Raises:
            ObjectNotFound: the key does not exist.
            StorageError: the store does not respond.
        """


class ReadableStorage(Storage, ObjectReader, Protocol):
    """The storage of renditions, for writing and reading."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in the storage: `size` in bytes, `modified` in UTC."""

    key: str
    size: int
    modified: datetime


class Inventory(Protocol):
    """All objects in the storage, including what a killed `put` left behind."""

    def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        """Yield pages of at most 1,000 objects, in no order.

        `prefix` consists of whole folder names, such as a batch id; "" lists everything. Objects that are put or
        removed during the listing may be listed or not.

        Raises:
            StorageError: the store is unavailable, or does not respond in time.
        """

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove the objects `keys`. Keys that do not exist are ignored, so repeating it is harmless.

        Raises:
            StorageError: some of the objects may be removed, others not.
        """


class TableConverter(Protocol):
    """Child processes for catalogues in formats other than CSV."""

    async def read(self, data: bytes, conversion: Conversion, target: Path) -> Converted:
        """Call `domain.manifest.formats.convert` in a separate process, and write its result to `target`.

        Raises:
            InvalidManifest, LimitExceeded: from `convert`, or because the file took too much time or memory.
            SandboxUnavailable: no process can be started, or it was killed.
            StorageError: the disk is full or fails.
        """

    async def write(
        self, name: str, shape: ReportShape, pages: AsyncIterator[Sequence[Sequence[str]]], target: Path
    ) -> None:
        """Write a report in the format `name` to `target`, page by page; raises as `read` does."""


class Sandbox(Protocol):
    """Child processes for images that may crash or block the process that compresses them."""

    async def compress(self, data: bytes, specs: Sequence[Spec], *, reserved_pixels: int) -> Compressed:
        """Call `domain.imaging.compress` in a separate process.

        Raises:
            CodecError, ReservationTooSmall: as `domain.imaging.compress` does.
            WorkerCrash: the image crashed the process, took too long, or took too much memory.
            SandboxKilled: the process was killed from outside; the same call may succeed.
            SandboxUnavailable: no process can be started; nothing is wrong with the image.
            DecodeAbandoned: the caller was cancelled or the sandbox closed after the work had started.
        """
