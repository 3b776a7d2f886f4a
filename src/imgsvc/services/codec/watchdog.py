"""A watchdog for images that take too long, measured in CPU seconds rather than wall-clock seconds.

A busy machine does not make an image overrun. Only work that sleeps, using almost no CPU, is timed by the wall clock.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

TICK = 0.5
"""Seconds between two checks."""
MAX_TICK = 2.0
"""The most seconds that one tick counts: a process that was stopped for minutes (SIGSTOP) did no work meanwhile."""
STALL_TIMEOUT = 4
"""Wall-clock seconds after which sleeping work is given up, for each CPU second that it may take."""
MIN_CPU_SHARE = 0.01
"""Share of its CPU seconds that the work must use within that time, or it counts as asleep. Work that waits for a busy
CPU gets more: with 100 competing processes, four times as much."""


class Watch:
    """One piece of work that the watchdog times, from `begin` to `end`."""

    __slots__ = ("_awake", "_clock", "_spent", "_watchdog", "began", "on_overrun")

    def __init__(self, watchdog: "Watchdog", on_overrun: Callable[[], None]) -> None:
        self.on_overrun = on_overrun
        self.began = False
        self._watchdog = watchdog
        self._awake = self._spent = 0.0
        self._clock: Callable[[], float] = _stopped_clock

    def begin(self, clock: "Callable[[], float] | None" = None) -> None:
        """Start the time, from any thread; `clock` returns the CPU seconds spent on the work."""
        self._awake, self._clock = self._watchdog.awake, clock or _stopped_clock
        self._spent = self._clock()
        self.began = True  # last: the watchdog may check at any moment

    def end(self) -> None:
        self._watchdog.forget(self)
        # The callback refers to the caller's future, and its exception to the work: a cycle that holds the image.
        self.on_overrun = _do_nothing

    def has_overrun(self, seconds: float) -> bool:
        """Return True when the work used more than `seconds` of CPU, or slept for `STALL_TIMEOUT` times as long."""
        if not self.began:
            return False
        with suppress(OSError):  # the thread, or the process, has just ended
            spent = self._clock()
            if spent - self._spent >= MIN_CPU_SHARE * seconds:
                self._awake, self._spent = self._watchdog.awake, spent
            return spent > seconds or self._watchdog.awake - self._awake > STALL_TIMEOUT * seconds
        return False


class Watchdog:
    """Calls `on_overrun` of each watch that takes more than `seconds` of CPU; runs from enter to exit."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.awake = 0.0
        """Wall-clock seconds so far, without those in which this process was stopped."""
        self.watches: set[Watch] = set()
        self._running: asyncio.Task[None] | None = None

    def watch(self, on_overrun: Callable[[], None]) -> Watch:
        """Return a new watch. Call it in the event loop; `on_overrun` is called there at most once."""
        watch = Watch(self, on_overrun)
        self.watches.add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        self.watches.discard(watch)

    def tick(self, seconds: float) -> None:
        """Count `seconds` that have passed on the wall clock since the last tick, and report overruns."""
        self.awake += min(seconds, MAX_TICK)
        for watch in [watch for watch in self.watches if watch.has_overrun(self.seconds)]:
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


def thread_clock() -> Callable[[], float]:
    """Return a clock of the CPU seconds of the calling thread from now on; any thread may read it."""
    if not hasattr(time, "pthread_getcpuclockid"):  # macOS: the wall clock decides alone
        return _stopped_clock
    clock = time.pthread_getcpuclockid(threading.get_ident())
    begun = time.clock_gettime(clock)
    return lambda: time.clock_gettime(clock) - begun


def process_clock(pid: int) -> Callable[[], float]:
    """Return a clock of the CPU seconds of the process `pid` from now on."""
    if sys.platform != "linux":  # the wall clock decides alone
        return _stopped_clock
    clock = ~pid << 3 | 2  # CPUCLOCK_SCHED of a process: what clock_getcpuclockid(3) returns
    begun = time.clock_gettime(clock)
    return lambda: time.clock_gettime(clock) - begun


def _do_nothing() -> None:
    """Replace `on_overrun` once the work has ended."""


def _stopped_clock() -> float:
    return 0.0
