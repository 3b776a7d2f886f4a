"""A process that is started while other threads are at work."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvloop

from imgsvc.adapters.piped_process import PipedProcess

ECHO = (sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.exit(3)")
Loop = Callable[[], asyncio.AbstractEventLoop]


class Tells:
    """Writes where it is cleared away."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def __del__(self) -> None:
        os.write(self._pipe, b"cleared away")


@contextmanager
def at_work(pipe: int) -> Iterator[None]:
    """A thread that has something of its own."""
    mine, begun, done = threading.local(), threading.Event(), threading.Event()

    def work() -> None:
        mine.file = Tells(pipe)
        begun.set()
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    yield
    done.set()
    thread.join()


async def echoed() -> tuple[bytes, int]:
    process = await PipedProcess.start(ECHO, read_ahead=2**16)
    assert process.returncode is None
    process.stdin.write(b"hello")
    ending = process.leave()
    said = await process.stdout.read()
    return said, await ending


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_other_threads_have_is_not_cleared_away_in_the_new_process(loop: Loop) -> None:
    listening, pipe = os.pipe()
    os.set_blocking(listening, False)
    with at_work(pipe):
        with asyncio.Runner(loop_factory=loop) as runner:
            assert runner.run(echoed()) == (b"hello", 3)
        with pytest.raises(BlockingIOError):
            os.read(listening, 100)
    assert os.read(listening, 100) == b"cleared away"  # once, here
    os.close(listening)
    os.close(pipe)
