"""Notices images that take too long, by the time the processor spent on them rather than by the clock on the wall.

A busy machine makes no image overrun: only work that sleeps, and gets nothing of the processor, runs out of time.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

TICK = 0.5
MAX_TICK_SHARE = 2.0
"""Seconds that a tick counts at most: a process that was stopped for minutes (SIGSTOP) did not work meanwhile."""
STALL_TIMEOUT = 4
"""Seconds on the wall, for each that the work may take of the processor, after which work that sleeps is given up."""
PROGRESS = 0.01
"""Share of its seconds of the processor that work has to get in that time. Less than that means asleep: work that waits
for a busy processor gets more, however many others want it (with 100 competitors, four times as much)."""


class Watch:
    """One piece of work under the watchdog's eyes; time counts from `begin` to `end`."""

    __slots__ = ("_awake", "_clock", "_spent", "_watchdog", "began", "on_overrun")

    def __init__(self, watchdog: "Watchdog", on_overrun: Callable[[], None]) -> None:
        self.on_overrun = on_overrun
        self.began = False
        self._watchdog = watchdog
        self._awake = self._spent = 0.0
        self._clock: Callable[[], float] = _standing_still

    def begin(self, clock: "Callable[[], float] | None" = None) -> None:
        """May be called in any thread; `clock` tells the seconds that the processor has spent on the work."""
        self._awake, self._clock = self._watchdog.awake, clock or _standing_still
        self._spent = self._clock()
        self.began = True  # last: the watchdog may look at any moment

    def end(self) -> None:
        self._watchdog.forget(self)
        self.on_overrun = (
            _nothing  # it knows whoever waits for the work, whose error knows the work: a ring with an image
        )

    def is_over(self, seconds: float) -> bool:
        if not self.began:
            return False
        with suppress(OSError):  # the thread, or the process, has just ended
            spent = self._clock()
            if spent - self._spent >= PROGRESS * seconds:
                self._awake, self._spent = self._watchdog.awake, spent
            return spent > seconds or self._watchdog.awake - self._awake > STALL_TIMEOUT * seconds
        return False


class Watchdog:
    """Calls `on_overrun` of each watch that takes more than `seconds` of the processor; runs from enter to exit."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.awake = 0.0
        self._watches: set[Watch] = set()
        self._running: asyncio.Task[None] | None = None

    def watch(self, on_overrun: Callable[[], None]) -> Watch:
        """Call it in the event loop, as `on_overrun` will be: once, or never."""
        watch = Watch(self, on_overrun)
        self._watches.add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        self._watches.discard(watch)

    def tick(self, seconds: float) -> None:
        """`seconds` have passed on the wall since the last one."""
        self.awake += min(seconds, MAX_TICK_SHARE)
        for watch in [watch for watch in self._watches if watch.is_over(self.seconds)]:
            self.forget(watch)
            watch.on_overrun()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            last, before = time.monotonic(), last
            self.tick(last - before)


def processor_clock() -> Callable[[], float]:
    """A clock that any thread may read: the processor's seconds for the calling thread, from now on."""
    if not hasattr(time, "pthread_getcpuclockid"):  # macOS: then the wall decides alone
        return _standing_still
    clock = time.pthread_getcpuclockid(threading.get_ident())
    begun = time.clock_gettime(clock)
    return lambda: time.clock_gettime(clock) - begun


def process_clock(pid: int) -> Callable[[], float]:
    """Return a clock of the processor's seconds for the process `pid`, from now on."""
    if sys.platform != "linux":  # then the wall decides alone
        return _standing_still
    clock = ~pid << 3 | 2  # CPUCLOCK_SCHED of a process: what clock_getcpuclockid(3) returns
    begun = time.clock_gettime(clock)
    return lambda: time.clock_gettime(clock) - begun


def _nothing() -> None:
    """The work has ended."""


def _standing_still() -> float:
    return 0.0
