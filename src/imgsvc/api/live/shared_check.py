"""A check that concurrent callers share, so that its cost does not grow with their number."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedCheck(Generic[T]):
    """Runs one check at a time; callers that arrive while it runs, or before its result is too old, share the result.

    A check must have its own timeout and raise nothing but CancelledError.
    """

    def __init__(self, *, max_age: Callable[[T], float]) -> None:
        """Use `max_age` to get the seconds for which a result is valid, counted from the start of its check."""
        self._max_age = max_age
        self._running: asyncio.Task[T] | None = None
        self._result: T | None = None
        self._fresh_until = float("-inf")

    async def result(self, check: Callable[[], Awaitable[T]]) -> T:
        """Return the last result if it is fresh, otherwise that of the running check or of a new one."""
        if self._result is not None and monotonic() < self._fresh_until:
            return self._result
        if self._running is None:
            self._running = asyncio.create_task(self._run(check))
        return await asyncio.shield(self._running)  # one caller's cancellation must not cancel the others' check

    async def _run(self, check: Callable[[], Awaitable[T]]) -> T:
        began = monotonic()
        try:
            result = await check()
            self._result, self._fresh_until = result, began + self._max_age(result)
            return result
        finally:
            self._running = None

    async def aclose(self) -> None:
        """Cancel the check that is running, if any."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
