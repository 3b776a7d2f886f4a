"""A call as steps: a flow yields them and is sent what came of each, so that one flow serves both clients.

A flow is a generator without any input and output of its own. `shells.py` takes its steps, blocking or awaiting.
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
"""More than lead to the longest pause; 2 ** 1024 is more than a float holds."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the answer comes back, with its body unless it is `streamed` and no refusal."""

    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)  # of httpx: params, headers, content, files, data
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of the answer that is streamed; none at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand a value to whoever iterates."""

    value: Any


Step: TypeAlias = Send | Read | Pause | Emit
Call: TypeAlias = Generator[Step, Any, T]
OnWait: TypeAlias = Callable[[ClientError, float], object]


def sent(ask: Send) -> Call[httpx.Response]:
    answer: httpx.Response = yield ask
    return answer


def next_bytes() -> Call[bytes]:
    """The next bytes of the answer that is streamed."""
    data: bytes = yield Read()
    return data


def emitted(flow: Call[object]) -> Call[None]:
    """A flow that gives what the other returns."""
    yield Emit((yield from flow))


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """For how many seconds a call that is safe to repeat is made again; `on_wait` is told of each pause before."""

    seconds: float
    on_wait: OnWait | None = None

    def within(self, seconds: float) -> "RetryBudget":
        """No more of it than that."""
        return replace(self, seconds=max(0.0, min(self.seconds, seconds)))

    def spent_on(self, call: Callable[[], Call[T]]) -> Call[T]:
        """What `call` returns, made again while what is in its way may pass."""
        deadline: float | None = None  # a transfer of an hour that breaks is worth another
        for attempt in count():
            try:
                return (yield from call())
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
