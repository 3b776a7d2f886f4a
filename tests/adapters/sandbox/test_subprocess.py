"""Processes that are started while other threads are running."""

import asyncio
import sys
from collections.abc import Callable

import pytest
import uvloop

from imgsvc.adapters.sandbox.subprocess import PipedProcess
from support.threads import thread_at_work

ECHO = (sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.exit(3)")
Loop = Callable[[], asyncio.AbstractEventLoop]


async def echoed() -> tuple[bytes, int]:
    process = await PipedProcess.start(ECHO, read_ahead=2**16)
    assert process.returncode is None
    process.stdin.write(b"hello")
    exit_code = process.finish()
    output = await process.stdout.read()
    return output, await exit_code


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_objects_of_other_threads_are_not_destroyed_in_the_new_process(loop: Loop) -> None:
    with thread_at_work() as cleared:
        with asyncio.Runner(loop_factory=loop) as runner:
            assert runner.run(echoed()) == (b"hello", 3)
        assert cleared() == b""
    assert cleared() == b"cleared away"  # once, in this process
