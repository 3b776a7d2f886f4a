"""Fetch a catalogue from the address that its upload names; a failure is a problem of the upload, in words."""

from collections.abc import Awaitable, Callable

from imgsvc.errors import (
    BlockedAddress,
    BodyTooLarge,
    ConnectError,
    ConnectTimeout,
    DnsError,
    FetchError,
    InvalidUpload,
    InvalidUrl,
    Problem,
    ReadTimeout,
    TlsError,
    TooManyRedirects,
    TotalTimeout,
)
from imgsvc.services.ports import FetchedFile, FileOrigin, Validators
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow

SLOTS = 8
"""Catalogues fetched at once; one API key gets at most six of them. They are on the disk, not in memory."""
_MAX_VALUE = 200

_ADVICE: dict[str, str] = {
    InvalidUrl.code: "The address, or one that it redirects to, is not a valid web address. Open it in a browser.",
    BlockedAddress.code: f"{BlockedAddress.sentence} Use an address reachable from the internet.",
    DnsError.code: "The server name in the address could not be resolved. Check its spelling.",
    ConnectTimeout.code: "The server did not accept a connection in time. Try again later.",
    ConnectError.code: "The connection to the server failed or was interrupted. Try again later.",
    ReadTimeout.code: "The server stopped sending before the file was complete. Try again, or let the shop write "
    "the file in advance.",
    TotalTimeout.code: "The file took too long to download. Let the server send it faster, or packed with gzip.",
    TlsError.code: "The server's certificate is not valid, or the address redirects from https to http.",
    TooManyRedirects.code: "The address redirects too many times. Open it in a browser, and use the last address.",
    BodyTooLarge.code: "The file is larger than an upload may be (setting IMGSVC_MAX_UPLOAD_BYTES). Pack it with gzip, "
    "or split it.",
}
_STATUSES = {
    401: "The server asks for a login (HTTP 401). Use an address that works without one.",
    403: "The server forbids access (HTTP 403). Allow this service, or use another address.",
    404: "There is no file at this address (HTTP 404). Check the address.",
    410: "The file at this address was removed (HTTP 410). Check the address.",
    429: "The server asks for a pause (HTTP 429). Try again later.",
    503: "The server is overloaded or under maintenance (HTTP 503). Try again later.",
}


class CatalogueFetcher:
    """Fetches a few catalogues at once; API keys take turns."""

    def __init__(self, origin: FileOrigin) -> None:
        self._origin = origin
        self._slots = FairSemaphore(SLOTS, max_held_per_free=3)

    async def fetch(
        self,
        url: str,
        write: Callable[[bytes], Awaitable[object]],
        *,
        api_key_id: str,
        validators: Validators | None = None,
    ) -> FetchedFile:
        """Fetch the file at `url`, and `write` it as it arrives; errors of `write` pass through.

        Raises:
            InvalidUpload: it cannot be fetched; has one problem, with the code of the fetch's error.
            NotModified: it is what it was when it had these `validators`.
        """
        with await self._slots.acquire(Flow(api_key_id, batch_id="")):
            try:
                return await self._origin.download(url, write, validators)
            except FetchError as error:
                problem = Problem(error.code, f"source_url: {_sentence(error)}", None, "source_url", url[:_MAX_VALUE])
                raise InvalidUpload(f"The catalogue was not fetched: {_sentence(error)}", (problem,)) from error


def _sentence(error: FetchError) -> str:
    """Return what happened and what to do."""
    if status := error.http_status:
        default = f"The server answered with an error (HTTP {status}). Open the address in a browser, or try later."
        return _STATUSES.get(status, default)
    return _ADVICE.get(error.code, error.detail)
