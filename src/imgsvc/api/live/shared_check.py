"""A check that many ask for and that runs once: what it costs does not grow with those who ask."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedCheck(Generic[T]):
    """Runs one check at a time; those who ask meanwhile, or within `max_age` seconds of its begin, share the result.

    A check must have a time-out of its own and raise nothing but CancelledError.
    """

    def __init__(self, *, max_age: Callable[[T], float]) -> None:
        """`max_age`: for how many seconds a result may be given out, counted from when its check began."""
        self._max_age = max_age
        self._running: asyncio.Task[T] | None = None
        self._result: T | None = None
        self._fresh_until = float("-inf")

    async def result(self, check: Callable[[], Awaitable[T]]) -> T:
        """The result of the last check if it is fresh, of the one that runs, or of a new one."""
        if self._result is not None and monotonic() < self._fresh_until:
            return self._result
        if self._running is None:
            self._running = asyncio.create_task(self._run(check))
        return await asyncio.shield(self._running)  # one who hangs up does not take the others' result away

    async def _run(self, check: Callable[[], Awaitable[T]]) -> T:
        began = monotonic()
        try:
            result = await check()
            self._result, self._fresh_until = result, began + self._max_age(result)
            return result
        finally:
            self._running = None

    async def aclose(self) -> None:
        """End a check that still runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
