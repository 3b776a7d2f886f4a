"""Calls and their actions: each API call is written once, without I/O, and runs in both clients.

- A **call** is a generator. It yields actions and is resumed with their results; its return value is the call's result.
- An **action** is one step: `Send` a request, `Read` a chunk of a streamed response, `Pause`, or `Emit` a value.
- A **driver** performs the actions, in the calling thread or in an event loop (`drivers.py`).

For example, a call that sends a request, and the two ways to run it:

    def status(batch_id: str) -> Call[int]:
        response = yield from send(Send("GET", f"/v1/batches/{batch_id}"))
        return response.status_code

    BlockingDriver(http, url).run(status("bat_1"))
    await AsyncDriver(http, url).run(status("bat_1"))
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from itertools import count
from time import monotonic
from typing import Any, TypeAlias, TypeVar

import httpx

from imgsvc.client.errors import ClientError, ConnectionLost, ServerUnavailable, TooManyRequests

T = TypeVar("T")

_MIN_PAUSE, _MAX_PAUSE = 0.2, 5.0
"""Seconds; the pause doubles with each attempt."""
_MAX_DOUBLINGS = 10
"""More than enough to reach the longest pause; 2 ** 1024 would overflow a float."""


@dataclass(frozen=True, slots=True)
class Send:
    """A request to send; the result is its response, with the body unless `streamed` and successful."""

    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)  # of httpx: params, headers, content, files, data
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A request for the next chunk of the streamed response; the result is empty at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """A value for the caller, who iterates over the call."""

    value: Any


Action: TypeAlias = Send | Read | Pause | Emit
Call: TypeAlias = Generator[Action, Any, T]
OnWait: TypeAlias = Callable[[ClientError, float], object]


def send(request: Send) -> Call[httpx.Response]:
    response: httpx.Response = yield request
    return response


def read_chunk() -> Call[bytes]:
    """Return the next bytes of the streamed response; none at its end."""
    data: bytes = yield Read()
    return data


def emit_result(call: Call[object]) -> Call[None]:
    """Run `call` and emit its return value."""
    yield Emit((yield from call))


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """The time for which a call that is safe to repeat is retried; `on_wait` is called before each pause."""

    seconds: float
    on_wait: OnWait | None = None

    def limited_to(self, seconds: float) -> "RetryBudget":
        """Return this budget, or one of `seconds` if that is shorter."""
        return replace(self, seconds=max(0.0, min(self.seconds, seconds)))

    def run(self, start: Callable[[], Call[T]]) -> Call[T]:
        """Run the call that `start` returns; after a temporary error start it again, until the budget is used up."""
        deadline: float | None = None  # set by the first error: a transfer that broke after an hour is retried too
        for attempt in count():
            try:
                return (yield from start())
            except (ConnectionLost, TooManyRequests, ServerUnavailable) as error:
                backoff = min(_MAX_PAUSE, _MIN_PAUSE * 2 ** min(attempt, _MAX_DOUBLINGS)) * random.uniform(0.5, 1)  # noqa: S311  # jitter
                pause = max(backoff, error.retry_after or 0)
                deadline = deadline or monotonic() + self.seconds
                if monotonic() + pause > deadline:
                    raise
                if self.on_wait:
                    self.on_wait(error, pause)
            yield Pause(pause)
        raise AssertionError  # `count` has no end


NO_RETRIES = RetryBudget(0)
