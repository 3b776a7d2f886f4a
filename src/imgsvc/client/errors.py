"""The client's exceptions.

ClientError
├── ConfigurationError        the URL, the API key, a proxy or a certificate cannot be used
├── ConnectionLost            the connection broke, or no response arrived in time
│   └── ConnectionRefused     no server could be reached at the URL
├── StillRunning              the batch had not ended when the timeout expired
├── RequestRefused            the server answered with an error: `problem`, `status`
│   ├── InvalidUpload         400, 413, 415, 422: the upload was rejected; `problem.errors` lists every error
│   ├── AuthenticationError   401, 403: an API key is missing or was not accepted
│   ├── NotFound              404: there is no such batch, or it belongs to another API key
│   ├── Conflict              409: the batch's status does not allow the call (running, ended, nothing to retry)
│   ├── TooManyRequests       429: a limit of the API key is reached; retry after `retry_after` seconds
│   └── ServerUnavailable     502, 503, 504: the server, or one of its components, is temporarily unavailable
└── UnexpectedResponse        the response is not from an imgsvc
"""

from imgsvc.client.problems import Problem


class ClientError(Exception):
    """The base class of all client errors; the message is one sentence for people."""

    retry_after: float | None = None
    """Seconds to wait before the call is repeated, if the server says so."""


class ConfigurationError(ClientError):
    """A URL, an API key, a proxy of the environment or a server certificate that cannot be used."""


class ConnectionLost(ClientError):
    """A connection that broke, or a response that did not arrive in time."""


class ConnectionRefused(ConnectionLost):
    """A URL at which no server could be reached; nothing was sent."""


class StillRunning(ClientError):
    """A timeout that expired before the batch ended; the batch keeps running."""


class RequestRefused(ClientError):
    """An error response of the server: its HTTP `status`, and `problem` with the reason."""

    def __init__(self, status: int, problem: Problem, *, retry_after: float | None = None) -> None:
        super().__init__(problem.detail or problem.title or f"The server answered HTTP {status}.")
        self.status = status
        self.problem = problem
        self.retry_after = retry_after


class InvalidUpload(RequestRefused):
    """A CSV, a row, a field or a parameter that was rejected; nothing was stored."""


class AuthenticationError(RequestRefused):
    """An API key that is missing or was not accepted."""

    def __str__(self) -> str:
        return f"The server refuses the API key (IMGSVC_API_KEY): {super().__str__()}"


class NotFound(RequestRefused):
    """A batch that does not exist or belongs to another API key."""


class Conflict(RequestRefused):
    """A batch whose status does not allow the call."""


class TooManyRequests(RequestRefused):
    """A limit of the API key that is reached; `retry_after` is the number of seconds until the next attempt."""


class ServerUnavailable(RequestRefused):
    """A server, a component of it, or a proxy in front of it that is temporarily unavailable."""


class UnexpectedResponse(ClientError):
    """A response that is not from an imgsvc."""


def refusal_type(status: int) -> type[RequestRefused]:
    """Return the exception class for an HTTP status of 400 or above."""
    return _TYPES.get(status, RequestRefused)


_TYPES: dict[int, type[RequestRefused]] = {
    **dict.fromkeys((400, 413, 415, 422), InvalidUpload),
    **dict.fromkeys((401, 403), AuthenticationError),
    404: NotFound,
    409: Conflict,
    429: TooManyRequests,
    **dict.fromkeys((502, 503, 504), ServerUnavailable),
}
