"""What the client raises.

ClientError
├── ConfigurationError        the URL, the key, a proxy or a certificate cannot be used at all
├── ConnectionLost        the connection broke off, or no answer came in time
│   └── ConnectionRefused   nobody listens under the URL
├── StillRunning      the batch had not ended when the time to wait for it was over
├── RequestRefused           the server says no, and why: `problem`, `status`
│   ├── InvalidUpload 400, 413, 415, 422: what was sent cannot be accepted; `problem.errors` lists everything wrong
│   ├── AuthenticationError    401, 403: it wants an API key, or not this one
│   ├── NotFound      404: there is no such batch, or it belongs to another key
│   ├── Conflict      409: not in the state that the batch is in (still running, ended, nothing to retry)
│   ├── TooManyRequests       429: `retry_after` seconds from now there is room again
│   └── ServerUnavailable    502, 503, 504: a part of it is away for now
└── UnexpectedResponse  what answers is no imgsvc
"""

from imgsvc.client.problems import Problem


class ClientError(Exception):
    """The root: anything that the client raises; the message is one sentence to read."""

    retry_after: float | None = None
    """Seconds that the server asks to wait before the same call is made again, if it says so."""


class ConfigurationError(ClientError):
    """The URL, the API key, a proxy of the environment or the server's certificate cannot be used at all."""


class ConnectionLost(ClientError):
    """The connection broke off, or no answer came in time."""


class ConnectionRefused(ConnectionLost):
    """Nobody listens under the URL, so nothing was sent."""


class StillRunning(ClientError):
    """The time to wait is over; the batch goes on."""


class RequestRefused(ClientError):
    """The server says no; `problem` is why, `status` the HTTP status."""

    def __init__(self, status: int, problem: Problem, *, retry_after: float | None = None) -> None:
        super().__init__(problem.detail or problem.title or f"The server answered HTTP {status}.")
        self.status = status
        self.problem = problem
        self.retry_after = retry_after


class InvalidUpload(RequestRefused):
    """The CSV, the rows, a field or a parameter cannot be accepted; nothing was stored."""


class AuthenticationError(RequestRefused):
    """The server wants an API key, or does not accept this one."""

    def __str__(self) -> str:
        return f"The server refuses the API key (IMGSVC_API_KEY): {super().__str__()}"


class NotFound(RequestRefused):
    """There is no such batch, or it belongs to another API key."""


class Conflict(RequestRefused):
    """The batch is in another state than the call needs."""


class TooManyRequests(RequestRefused):
    """The API key has used up what it may have at one time; after `retry_after` seconds there is room again."""


class ServerUnavailable(RequestRefused):
    """A part of the server, or of what stands before it, is away for now."""


class UnexpectedResponse(ClientError):
    """What answers under the URL is no imgsvc."""


def kind_of_refusal(status: int) -> type[RequestRefused]:
    """The type for an HTTP status from 400 on."""
    return _KINDS.get(status, RequestRefused)


_KINDS: dict[int, type[RequestRefused]] = {
    **dict.fromkeys((400, 413, 415, 422), InvalidUpload),
    **dict.fromkeys((401, 403), AuthenticationError),
    404: NotFound,
    409: Conflict,
    429: TooManyRequests,
    **dict.fromkeys((502, 503, 504), ServerUnavailable),
}
