"""Every error raised on purpose, as one tree.

    ImgsvcError
    ├── Refusal                   a request that is turned down; api/problems/responses.py gives it an HTTP status
    │   ├── InvalidManifest       the CSV, with every problem found
    │   ├── InvalidUpload         the upload fields, with every problem found
    │   ├── Unauthorized          no API key where one is needed, or a wrong one
    │   ├── CrossOriginRefused           a web page of somebody else's sent the request
    │   ├── TooMany               uploads, open batches or waiting images, for now
    │   ├── UnsupportedMediaType  a body that is none of the accepted types
    │   ├── LimitExceeded         more bytes, rows, or URLs than the settings allow
    │   ├── NotFound              no such batch, product page, rendition
    │   ├── BatchNotFinished      a report asked for too early, a retry or a removal too
    │   ├── BatchFinished         too late to cancel
    │   ├── NothingToRetry        no asset failed, or none with these codes
    │   └── IdempotencyKeyReused  for another upload
    ├── AssetError                why an asset has no rendition; `code` stands in the report
    │   ├── FetchError            the origin's side
    │   ├── CodecError            the image's side
    │   ├── StorageError          our own side
    │   ├── Cancelled             the batch was cancelled before
    │   ├── WorkerCrash           the workers that tried it died
    │   │   └── KilledInQuarantine  perhaps not because of it
    │   └── InternalError         a fault of ours that nobody foresaw
    ├── ObjectNotFound                 what was stored is gone
    ├── BudgetExhausted                    the memory budget is used up for the moment; nothing is wrong with the asset
    ├── NotModified                 the origin still has the image that was asked about
    ├── DecodeAbandoned                the image is still being worked on, and nobody waits for it any more
    │   └── CpuTimeExceeded               it takes more of the processor than an image may
    ├── Unavailable               a part of ours is away for now
    │   ├── DatabaseUnavailable
    │   ├── QueueUnavailable
    │   ├── EndpointBusy          enough webhooks are being posted to that host
    │   └── QuarantineUnavailable no process for images that a worker died with
    └── StartupError               a process of ours cannot start; the message says why and what to do

`code` is stable: it is stored, counted and returned. `retryable` says whether the same call may succeed later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class ImgsvcError(Exception):
    """The root: anything that imgsvc raises on purpose."""

    code: str = "internal_error"
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an upload.

    `row` is the line of the file (1 is its first line) or None for the upload as a whole; `column` is the header
    cell or field name; `value` is what was found there, cut to a readable length.
    """

    code: str
    detail: str
    row: int | None = None
    column: str | None = None
    value: str | None = None


# -- refusals ---------------------------------------------------------------------------------------------------------


class Refusal(ImgsvcError):
    """A request that is turned down; the message is for the caller to read."""

    code = "refused"

    def __init__(self, detail: str, problems: tuple[Problem, ...] = (), *, problems_total: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = problems
        self.problems_total = len(problems) if problems_total is None else problems_total


class InvalidManifest(Refusal):
    """The catalogue cannot be accepted; `problems` has at most 100 of the `problems_total`."""

    code = "invalid_manifest"


class InvalidUpload(Refusal):
    """An upload field has a value that cannot be accepted."""

    code = "invalid_upload"


class Unauthorized(Refusal):
    """An API key is needed, and there is none or a wrong one."""

    code = "unauthorized"


class CrossOriginRefused(Refusal):
    """A request that a browser made for a web page of somebody else's, or under a name that is not ours."""

    code = "foreign_page"


class TooMany(Refusal):
    """The API key has used up what it may have at one time; `retry_after` is in seconds, `headers` say what is left."""

    code = "too_many"
    retryable = True

    def __init__(self, detail: str, *, retry_after: float, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.headers = headers


class UnsupportedMediaType(Refusal):
    """The body is no form, no CSV and no JSON."""

    code = "unsupported_media_type"


class LimitExceeded(Refusal):
    """The upload is larger than a limit, which the message names."""

    code = "limit_exceeded"


class NotFound(Refusal):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"


class BatchNotFinished(Refusal):
    """What is asked for is possible only when the batch is finished."""

    code = "batch_not_finished"


class BatchFinished(Refusal):
    """What is asked for is possible only while the batch runs."""

    code = "batch_finished"


class NothingToRetry(Refusal):
    """No asset of the batch failed in a way that a retry is for."""

    code = "nothing_to_retry"


class IdempotencyKeyReused(Refusal):
    """The client's key names another upload."""

    code = "idempotency_key_reused"


# -- why an asset failed ----------------------------------------------------------------------------------------------


class AssetError(ImgsvcError):
    """Why an asset has no rendition; `detail` is one sentence that a shop manager understands."""

    sentence: ClassVar[str] = "The image could not be processed."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.sentence)
        self.detail = detail or self.sentence


class FetchError(AssetError):
    """The origin did not hand over the image. `retry_after` is in seconds, as the origin asked."""

    http_status: int | None = None
    retry_after: float | None = None


class InvalidUrl(FetchError):
    code = "invalid_url"
    sentence = "This is not a web address that an image can be fetched from."


class BlockedAddress(FetchError):
    code = "blocked_address"
    sentence = "The address points into a private or reserved network, which this service does not call."


class DnsError(FetchError):
    code = "dns_error"
    retryable = True
    sentence = "The name of the server in the address could not be found."


class ConnectTimeout(FetchError):
    code = "connect_timeout"
    retryable = True
    sentence = "The server did not accept a connection in time."


class ConnectError(FetchError):
    code = "connect_error"
    retryable = True
    sentence = "The connection to the server could not be made or broke off."


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
    sentence = "The server's certificate is not valid, so the connection is not safe."


class TooManyRedirects(FetchError):
    code = "too_many_redirects"
    sentence = "The address leads from one redirect to the next without end."


class BodyTooLarge(FetchError):
    code = "body_too_large"
    sentence = "The file is larger than this service accepts."


# Statuses that may be different a moment later (RFC 9110 §15, RFC 6585, RFC 8470).
RETRYABLE_STATUSES = frozenset({408, 425, 429, *range(500, 600)})


class HttpStatusError(FetchError):
    """The origin answered with a status other than success; `code` carries it, for example `http_404`."""

    def __init__(self, status: int, *, retry_after: float | None = None) -> None:
        meaning = {401: "asks for a login", 403: "forbids access", 404: "has no such image", 410: "has removed it"}
        super().__init__(f"The server {meaning.get(status, 'answered with an error')} (HTTP {status}).")
        self.code = f"http_{status}"
        self.http_status = status
        self.retry_after = retry_after
        self.retryable = status in RETRYABLE_STATUSES


class CodecError(AssetError):
    """The bytes arrived but cannot become a rendition."""


class NotAnImage(CodecError):
    code = "not_an_image"
    sentence = "The address does not lead to an image."


class UnsupportedFormat(CodecError):
    code = "unsupported_format"
    sentence = "The image's format is not one of those accepted."


class TooManyPixels(CodecError):
    code = "too_many_pixels"
    sentence = "The image has more pixels than this service accepts."


class TooManyFrames(CodecError):
    code = "too_many_frames"
    sentence = "The animation has more frames than this service accepts."


class DecodeError(CodecError):
    code = "decode_error"
    sentence = "The image is damaged or incomplete."


class EncodeError(CodecError):
    code = "encode_error"
    sentence = "The image could not be written in the wanted format."


class StorageError(AssetError):
    code = "storage_error"
    retryable = True
    sentence = "The compressed image could not be stored."


class Cancelled(AssetError):
    code = "cancelled"
    sentence = "The batch was cancelled before this image was done."


class WorkerCrash(AssetError):
    code = "worker_crash"
    sentence = "Processing this image crashed or was not finished in time again and again, so it was given up."


class KilledInQuarantine(WorkerCrash):
    """The process at work on the image was killed from outside, perhaps for a reason other than the image."""

    retryable = True


class InternalError(AssetError):
    code = "internal_error"
    sentence = "Something went wrong on our side; the log has the details."


class ObjectNotFound(ImgsvcError):
    """Nothing lies under the key."""


class BudgetExhausted(ImgsvcError):
    """The bytes in memory are bounded, and `size` (bytes wanted in all) does not fit now: wait, then fetch again."""

    code = "no_room"
    retryable = True

    def __init__(self, size: int) -> None:
        super().__init__(f"no room for {size} bytes")
        self.size = size


class NotModified(ImgsvcError):
    """Not an error: the origin says that its image is still the one that was asked about."""

    code = "unchanged"


class DecodeAbandoned(ImgsvcError):
    """The image was being compressed when its run had to hand it back: the next run is to be careful."""

    code = "left_at_work"
    retryable = True


class CpuTimeExceeded(DecodeAbandoned):
    """The image has taken more of the processor than an image may, in a thread that cannot be stopped."""

    code = "overran"


# -- parts of ours that are away --------------------------------------------------------------------------------------


class Unavailable(ImgsvcError):
    """A part of imgsvc is away; the same call is expected to succeed soon."""

    code = "unavailable"
    retryable = True


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class QueueUnavailable(Unavailable):
    code = "queue_unavailable"


class EndpointBusy(Unavailable):
    code = "endpoint_busy"


class QuarantineUnavailable(Unavailable):
    code = "quarantine_unavailable"


class StartupError(ImgsvcError):
    """Something is in the way of a process of ours; the message says what, and what to do."""

    code = "cannot_start"
