"""Every error raised on purpose, as one tree.

    ImgsvcError
    ├── Refusal                        a rejected request; api/problems/responses.py gives it an HTTP status
    │   ├── InvalidManifest            the CSV or product list, with every problem found
    │   ├── InvalidUpload              the upload fields, with every problem found
    │   ├── Unauthorized               an API key is required, and there is none or a wrong one
    │   ├── CrossOriginRefused         another website or a proxy sent the request
    │   ├── TooMany                    a rate limit or quota of the API key is exceeded
    │   ├── UnsupportedMediaType       the body has none of the accepted types
    │   ├── LimitExceeded              more bytes, rows or URLs than the settings allow
    │   ├── NotFound                   no such batch, delivery, rendition or API key
    │   ├── BatchNotFinished           too early for a report, a retry or a deletion
    │   ├── NotCompared                not compared with an earlier version of its catalogue
    │   ├── BatchFinished              too late to cancel
    │   ├── NothingToRetry             no asset failed, or none with the given codes
    │   └── IdempotencyKeyReused       the key belongs to another upload
    ├── AssetError                     why an asset has no rendition; `code` is in the reports
    │   ├── FetchError                 caused by the origin
    │   ├── CodecError                 caused by the image
    │   ├── StorageError               caused by our storage
    │   ├── Cancelled                  the batch was cancelled first
    │   ├── WorkerCrash                processing it repeatedly crashed or timed out
    │   │   └── SandboxKilled          its process was killed from outside
    │   └── InternalError              an unexpected fault of ours
    ├── ObjectNotFound                 the storage has no such object
    ├── BudgetExhausted                the memory budget is full; the asset is fine
    ├── NotModified                    the image has not changed since the earlier response
    ├── DecodeAbandoned                the image is still being compressed, but its run has ended
    │   └── CpuTimeExceeded            it takes more CPU time than an image may
    ├── Unavailable                    a part of imgsvc does not respond
    │   ├── DatabaseUnavailable
    │   ├── QueueUnavailable
    │   ├── EndpointBusy               enough webhooks are being sent to that host
    │   └── SandboxUnavailable         no sandbox process can be started
    └── StartupError                   a process cannot start; the message says why and what to do

`code` is stable: it is stored, counted and returned. `retryable` means that the same call may succeed later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class ImgsvcError(Exception):
    """Base class of every error that imgsvc raises on purpose."""

    code: str = "internal_error"
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in an upload.

    `row` is the line of the file (1 is the first) or None for the upload as a whole; `column` is the header cell or
    field name; `value` is the text found there, cut to a readable length.
    """

    code: str
    detail: str
    row: int | None = None
    column: str | None = None
    value: str | None = None


# -- refusals ---------------------------------------------------------------------------------------------------------


class Refusal(ImgsvcError):
    """A rejected request; the message is shown to the caller."""

    code = "refused"

    def __init__(self, detail: str, problems: tuple[Problem, ...] = (), *, problems_total: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = problems
        self.problems_total = len(problems) if problems_total is None else problems_total


class InvalidManifest(Refusal):
    """A catalogue that is not acceptable; `problems` has at most 100 of the `problems_total`."""

    code = "invalid_manifest"


class InvalidUpload(Refusal):
    """An upload field with an invalid value."""

    code = "invalid_upload"


class Unauthorized(Refusal):
    """A missing or wrong API key where one is required."""

    code = "unauthorized"


class CrossOriginRefused(Refusal):
    """A request without an API key from another website, for another host name, or through a proxy."""

    code = "foreign_page"


class TooMany(Refusal):
    """An exceeded rate limit or quota; `retry_after` is in seconds, `headers` carry the limit and the remainder."""

    code = "too_many"
    retryable = True

    def __init__(self, detail: str, *, retry_after: float, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.headers = headers


class UnsupportedMediaType(Refusal):
    """A body that is not a form, CSV or JSON."""

    code = "unsupported_media_type"


class LimitExceeded(Refusal):
    """An upload over a limit, which the message names."""

    code = "limit_exceeded"


class NotFound(Refusal):
    """A resource that does not exist or belongs to another API key."""

    code = "not_found"


class BatchNotFinished(Refusal):
    """A request that is possible only after the batch has finished."""

    code = "batch_not_finished"


class NotCompared(Refusal):
    """A request for the changes of a batch that was not compared with an earlier version of its catalogue."""

    code = "not_compared"


class BatchFinished(Refusal):
    """A request that is possible only while the batch runs."""

    code = "batch_finished"


class NothingToRetry(Refusal):
    """A retry of a batch in which no asset failed, or none with the given codes."""

    code = "nothing_to_retry"


class IdempotencyKeyReused(Refusal):
    """An idempotency key that the client already used for another upload."""

    code = "idempotency_key_reused"


# -- why an asset failed ----------------------------------------------------------------------------------------------


class AssetError(ImgsvcError):
    """The reason why an asset has no rendition; `detail` is one sentence that a shop manager understands."""

    sentence: ClassVar[str] = "The image could not be processed."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.sentence)
        self.detail = detail or self.sentence


class FetchError(AssetError):
    """A failure of the origin to deliver the image. `retry_after` is in seconds, as the origin requested."""

    http_status: int | None = None
    retry_after: float | None = None


class InvalidUrl(FetchError):
    code = "invalid_url"
    sentence = "The address is not a valid web address."


class BlockedAddress(FetchError):
    code = "blocked_address"
    sentence = "The address is in a private or reserved network, which this service does not access."


class DnsError(FetchError):
    code = "dns_error"
    retryable = True
    sentence = "The server name in the address could not be resolved."


class HostNotFound(DnsError):
    """A name that does not exist, rather than a name server that does not answer."""


class ConnectTimeout(FetchError):
    code = "connect_timeout"
    retryable = True
    sentence = "The server did not accept a connection in time."


class ConnectError(FetchError):
    code = "connect_error"
    retryable = True
    sentence = "The connection to the server failed or was interrupted."


class ReadTimeout(FetchError):
    code = "read_timeout"
    retryable = True
    sentence = "The server stopped sending before the image was complete."


class TotalTimeout(FetchError):
    code = "total_timeout"
    retryable = True
    sentence = "The image took too long to download."


class TlsError(FetchError):
    code = "tls_error"
    sentence = "The server's certificate is not valid, so the connection is not secure."


class TooManyRedirects(FetchError):
    code = "too_many_redirects"
    sentence = "The address redirects too many times."


class BodyTooLarge(FetchError):
    code = "body_too_large"
    sentence = "The file is larger than this service allows."


# Statuses that may change a moment later (RFC 9110 §15, RFC 6585, RFC 8470).
RETRYABLE_STATUSES = frozenset({408, 425, 429, *range(500, 600)})


class HttpStatusError(FetchError):
    """An error status from the origin; `code` contains it, for example `http_404`."""

    def __init__(self, status: int, *, retry_after: float | None = None) -> None:
        meaning = {401: "asks for a login", 403: "forbids access", 404: "has no such image", 410: "has removed it"}
        super().__init__(f"The server {meaning.get(status, 'answered with an error')} (HTTP {status}).")
        self.code = f"http_{status}"
        self.http_status = status
        self.retry_after = retry_after
        self.retryable = status in RETRYABLE_STATUSES


class CodecError(AssetError):
    """A body that arrived but cannot be turned into a rendition."""


class NotAnImage(CodecError):
    code = "not_an_image"
    sentence = "The file at this address is not an image."


class UnsupportedFormat(CodecError):
    code = "unsupported_format"
    sentence = "The image format is not supported."


class TooManyPixels(CodecError):
    code = "too_many_pixels"
    sentence = "The image has more pixels than this service allows."


class TooManyFrames(CodecError):
    code = "too_many_frames"
    sentence = "The animation has more frames than this service allows."


class DecodeError(CodecError):
    code = "decode_error"
    sentence = "The image is damaged or incomplete."


class EncodeError(CodecError):
    code = "encode_error"
    sentence = "The image could not be saved in the requested format."


class StorageError(AssetError):
    code = "storage_error"
    retryable = True
    sentence = "The compressed image could not be stored."


class Cancelled(AssetError):
    code = "cancelled"
    sentence = "The batch was cancelled before this image was processed."


class WorkerCrash(AssetError):
    code = "worker_crash"
    sentence = "Processing this image repeatedly crashed or timed out."


class SandboxKilled(WorkerCrash):
    """A process that compressed the image was killed from outside, possibly not because of the image."""

    retryable = True


class InternalError(AssetError):
    code = "internal_error"
    sentence = "An internal error occurred; the log has the details."


class ObjectNotFound(ImgsvcError):
    """A key for which the storage has no object."""


class BudgetExhausted(ImgsvcError):
    """A full memory budget: `size` bytes (the total needed) do not fit now. Wait, then fetch again."""

    code = "no_room"
    retryable = True

    def __init__(self, size: int) -> None:
        super().__init__(f"no memory for {size} bytes")
        self.size = size


class NotModified(ImgsvcError):
    """A 304: the image has not changed since the earlier response. Not a failure."""

    code = "unchanged"


class DecodeAbandoned(ImgsvcError):
    """An image that its lane handed back while it was being compressed; the next attempt runs in the sandbox."""

    code = "left_at_work"
    retryable = True


class CpuTimeExceeded(DecodeAbandoned):
    """An image that used more CPU time than an image may, in a thread that cannot be stopped."""

    code = "overran"


# -- unavailable parts of imgsvc --------------------------------------------------------------------------------------


class Unavailable(ImgsvcError):
    """A part of imgsvc that does not respond; the same call should succeed soon."""

    code = "unavailable"
    retryable = True


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class QueueUnavailable(Unavailable):
    code = "queue_unavailable"


class EndpointBusy(Unavailable):
    code = "endpoint_busy"


class SandboxUnavailable(Unavailable):
    code = "quarantine_unavailable"


class StartupError(ImgsvcError):
    """A process that cannot start; the message says why and what to do."""

    code = "cannot_start"
