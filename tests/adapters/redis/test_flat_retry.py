"""The retry policy: it does not nest, and it takes the arguments of every version of redis-py."""

import inspect

import pytest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from imgsvc.adapters.redis.flat_retry import FlatRetry


async def test_a_retry_within_a_retry_is_a_single_try() -> None:
    retry, tries = FlatRetry(NoBackoff(), 2), []

    async def connect() -> None:
        tries.append("connect")
        raise RedisConnectionError

    async def ignore(_error: Exception) -> None: ...

    for _ in range(2):
        with pytest.raises(RedisConnectionError):
            await retry.call_with_retry(lambda: retry.call_with_retry(connect, ignore), ignore)
    assert tries == 2 * 3 * ["connect"]


def test_the_retry_policy_takes_the_arguments_of_this_redis_py_and_of_8() -> None:
    signature = inspect.signature(FlatRetry.call_with_retry)
    for names in (
        list(inspect.signature(Retry.call_with_retry).parameters)[2:],
        ["is_retryable", "with_failure_count"],
    ):
        signature.bind(object(), object(), **dict.fromkeys(names))
