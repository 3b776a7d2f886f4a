"""What the client raises.

ClientError
├── WrongSetup        the URL, the key or a proxy cannot be used at all
├── ServerAway        nobody answers under the URL
├── Refused           the server says no, and why
│   └── KeyRefused    it wants an API key, or not this one
└── UnexpectedAnswer  what answers is no imgsvc
"""

from imgsvc.client.wire import Problem


class ClientError(Exception):
    """The root: anything that the client raises; the message is one sentence to read."""


class WrongSetup(ClientError):
    """The URL, the API key or a proxy of the environment cannot be used at all."""


class ServerAway(ClientError):
    """Nobody answers under the URL, or the connection broke off."""


class Refused(ClientError):
    """The server says no; `problem` is why, `status` the HTTP status."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title or f"The server answered HTTP {status}.")
        self.status = status
        self.problem = problem


class KeyRefused(Refused):
    """The server wants an API key, or does not accept this one."""

    def __str__(self) -> str:
        return f"The server refuses the API key (IMGSVC_API_KEY): {super().__str__()}"


class UnexpectedAnswer(ClientError):
    """What answers under the URL is no imgsvc."""
