"""An event loop in which waiting takes no time: its clock jumps to the next timer when nothing else is to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop without sockets of its own, whose `time` is that of the timers that have run."""

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing will ever happen")
        if not (ready := super().select(0)):
            self._loop.now += max(0.0, timeout)
        return ready


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def virtual_now() -> datetime:
    """Return the time of the running loop, as a `Clock`."""
    return BEGINNING + timedelta(seconds=asyncio.get_running_loop().time())


def virtual_monotonic() -> float:
    """Return the seconds of the running loop."""
    return asyncio.get_running_loop().time()
