"""A limiter for the fetches from each host, which adapts to how the host copes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from imgsvc.errors import AssetError, ConnectTimeout, HttpStatusError
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_rate import (
    DOWN_AFTER,
    INITIAL_LIMIT,
    UNITS_PER_FETCH,
    UNLIMITED_RATE,
    CubicRate,
    HostState,
)

MAX_HOSTS = 10_000
"""Hosts whose limits are remembered, so that the next batch need not learn them again. Bounded, because a catalogue of
dead hosts must not fill the memory."""


MonotonicClock = Callable[[], float]
"""Returns seconds."""


class HostPaused(Exception):  # not an error: a reason to come back later
    """A host that asked for no requests during the next `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"paused for {seconds:.1f} s")
        self.seconds = seconds


class HostLimiter:
    """Limits the concurrent fetches from each host, and its fetches per second once it has refused some.

    Concurrent: a 429, a 503 or a connect timeout halves a host's limit; each success adds one, up to `maximum`. Per
    second: a 429 or a 503 sets a rate near the refused one, which recovers and then grows further (`CubicRate`).
    Failures of fetches that were already in flight when a host was slowed down do not slow it again: the earlier
    limits caused them. `Retry-After` pauses that host alone; a pause longer than `max_pause` (seconds) is not waited
    for, but raises `HostPaused`.
    """

    def __init__(
        self, *, maximum: int, max_pause: float = 3.0, max_hosts: int = MAX_HOSTS, clock: MonotonicClock = monotonic
    ) -> None:
        self._maximum = maximum
        self._max_pause = max_pause
        self._max_hosts = max_hosts
        self._clock = clock
        self.hosts: dict[str, HostState] = {}
        """The hosts remembered, the least recently used first."""

    @asynccontextmanager
    async def slot(self, host: str, flow: Flow, *, conditional: bool = False) -> AsyncIterator[None]:
        """Enclose one fetch from `host` on behalf of `flow`; an error that leaves the block adapts the limits.

        Raises:
            HostPaused: the host asked for a longer pause.
        """
        state = self.hosts.get(host)
        if state is None:
            initial = min(INITIAL_LIMIT, self._maximum)
            state = self.hosts[host] = HostState(initial, FairSemaphore(initial * UNITS_PER_FETCH))
        began = self._clock()
        if not state.in_use:
            state.wake(began)
        state.in_use += 1
        units = 1 if conditional and not state.changes else UNITS_PER_FETCH
        try:
            await self._wait_for_pause(state)
            with await state.semaphore.acquire(flow, units):
                await self._wait_for_rate(state, flow)
                began = self._clock()
                yield
                self._speed_up(state)
        except AssetError as error:
            self._slow_down(state, error, began)
            raise
        finally:
            state.in_use -= 1
            if not state.in_use:
                state.idle_since = self._clock()
                self._rank_last(host)

    def note_changes(self, host: str, *, changes: bool) -> None:
        """Note whether `host` sent an image to a conditional fetch; if so, its next ones cost as much as others."""
        if state := self.hosts.get(host):
            state.changes = changes

    def note_body(self, host: str, size: int) -> None:
        """Note the size in bytes of a body from `host`."""
        if state := self.hosts.get(host):
            state.note_body(size)

    def body_size(self, host: str) -> int:
        """Return the size to expect of a body from `host`; 0 when it is unknown."""
        state = self.hosts.get(host)
        return state.body_size if state else 0

    def _rank_last(self, host: str) -> None:
        """Move `host`, which is idle now, to the end; forget the one idle longest if there are too many."""
        self.hosts[host] = self.hosts.pop(host)
        if len(self.hosts) > self._max_hosts:
            del self.hosts[next(name for name, state in self.hosts.items() if not state.in_use)]

    async def _wait_for_pause(self, state: HostState) -> None:
        pause = state.paused_until - self._clock()
        if pause > self._max_pause:
            raise HostPaused(pause)
        if pause > 0:
            await asyncio.sleep(pause)

    async def _wait_for_rate(self, state: HostState, flow: Flow) -> None:
        """Wait for the end of a pause, then for the rate: fetches that waited for it must not all start at once."""
        await self._wait_for_pause(state)
        if state.rate is None:
            return
        reservation = await state.pacer.acquire(flow)
        try:
            await self._wait_for_pause(state)
        except BaseException:
            reservation.release()
            raise
        rate = state.current_rate(self._clock())
        if rate >= UNLIMITED_RATE:
            state.rate = None
        asyncio.get_running_loop().call_later(1 / rate, reservation.release)

    def _speed_up(self, state: HostState) -> None:
        state.note_response(self._clock())
        if state.limit < self._maximum:
            state.limit = min(state.limit + 1, self._maximum)
            state.semaphore.resize(int(state.limit) * UNITS_PER_FETCH)

    def _slow_down(self, state: HostState, error: AssetError, began: float) -> None:
        now = self._clock()
        refused = isinstance(error, HttpStatusError) and error.http_status in (429, 503)
        if not refused and not isinstance(error, ConnectTimeout):
            if isinstance(error, HttpStatusError):
                state.note_response(now)
            return
        if began >= state.slowed_at:
            state.slowed_at = now
            state.slow_downs += 1
            is_down = state.slow_downs >= DOWN_AFTER
            if refused and not is_down:
                state.rate = CubicRate(state.refused_rate(now, began), now)
            state.limit = float(min(INITIAL_LIMIT, self._maximum)) if is_down else max(1.0, state.limit / 2)
            state.semaphore.resize(int(state.limit) * UNITS_PER_FETCH)
        if isinstance(error, HttpStatusError) and error.retry_after:
            state.paused_until = max(state.paused_until, now + error.retry_after)

    def reserve(self, host: str, flow: Flow, at_most: int) -> "list[HostReservation]":
        return [HostReservation() for _ in range(at_most)]

    def wait(self, host: str) -> float:
        return 1.0


class HostReservation:
    def release(self) -> None:
        pass
