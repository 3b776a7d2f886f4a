"""Notices pictures that take too long, by the time the processor spent on them rather than by the clock on the wall."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

TICK = 0.5
MOST_OF_A_TICK = 2.0
"""Seconds that a tick counts at most: a process that was stopped for minutes (SIGSTOP) did not work meanwhile."""
PATIENCE = 4
"""Seconds on the wall allowed for each of the processor's: others want it too, and one that is asleep must end as well.
With two others at work, 6 s of the processor took 23 s."""


class Watch:
    """One piece of work under the watchdog's eyes; time counts from `begin` to `end`."""

    __slots__ = ("_awake", "_clock", "_watchdog", "began", "on_overrun")

    def __init__(self, watchdog: "Watchdog", on_overrun: Callable[[], None]) -> None:
        self.on_overrun = on_overrun
        self.began = False
        self._watchdog = watchdog
        self._awake = 0.0
        self._clock: Callable[[], float] = _standing_still

    def begin(self, clock: "Callable[[], float] | None" = None) -> None:
        """May be called in any thread; `clock` tells the seconds that the processor has spent on the work."""
        self._awake, self._clock = self._watchdog.awake, clock or _standing_still
        self.began = True  # last: the watchdog may look at any moment

    def end(self) -> None:
        self._watchdog.forget(self)
        self.on_overrun = (
            _nothing  # it knows whoever waits for the work, whose error knows the work: a ring with a picture
        )

    def is_over(self, seconds: float) -> bool:
        if not self.began:
            return False
        with suppress(OSError):  # the thread has just ended
            return self._clock() > seconds or self._watchdog.awake - self._awake > PATIENCE * seconds
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
        self.awake += min(seconds, MOST_OF_A_TICK)
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


def _nothing() -> None:
    """The work has ended."""


def _standing_still() -> float:
    return 0.0
