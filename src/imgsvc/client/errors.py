"""What the client raises.

ClientError
├── ServerAway        nobody answers under the URL
├── Refused           the server says no, and why
│   └── KeyRefused    it wants an API key, or not this one
└── UnexpectedAnswer  what answers is no imgsvc
"""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The root: anything that the client raises; the message is one sentence to read."""


class ServerAway(ClientError):
    """Nobody answers under the URL, or the connection broke off."""


class Refused(ClientError):
    """The server says no; `problem` is what it sent (RFC 9457), `status` the HTTP status."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"The server answered HTTP {status}."))
        self.status = status
        self.problem = problem


class KeyRefused(Refused):
    """The server wants an API key, or does not accept this one."""

    def __str__(self) -> str:
        return f"The server refuses the API key (IMGSVC_API_KEY): {super().__str__()}"


class UnexpectedAnswer(ClientError):
    """What answers under the URL is no imgsvc."""
