"""A retry policy for redis-py, from version 5 to 8."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio.retry import Retry

T = TypeVar("T")


class FlatRetry(Retry):
    """Retries a command, without redis-py's nested retries of the connection in each try.

    With both, a command made 81 tries in 200 s while Redis was hanging. Every connection has its own copy. Arguments
    that only some versions of redis-py give are passed on.
    """

    _is_retrying = False

    async def call_with_retry(self, do: Callable[[], Awaitable[T]], *arguments: Any, **options: Any) -> T:
        if self._is_retrying:
            return await do()
        self._is_retrying = True
        try:
            return await super().call_with_retry(do, *arguments, **options)
        finally:
            self._is_retrying = False
