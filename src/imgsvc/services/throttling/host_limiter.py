"""A pace for each host that follows how it copes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from imgsvc.errors import AssetError, ConnectTimeout, HttpStatusError
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_rate import DOWN_AFTER, FIRST, SHARES, UNPACED, CubicRate, HostState

MAX_HOSTS = 10_000
"""Hosts whose pace is remembered, so that the next batch need not find it out again. A catalogue of dead hosts must not
fill the memory."""


Clock = Callable[[], float]
"""Seconds."""


class HostPaused(Exception):  # not an error: a reason to come back later
    """The host asked to be left alone for `seconds` more."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"paused for {seconds:.1f} s")
        self.seconds = seconds


class HostLimiter:
    """How many fetches each host gets at one time, and how many a second once it has refused some.

    At one time: a 429, a 503 or a connect time-out halves a host's limit, each success adds one up to the maximum. A
    second: a 429 or a 503 sets a rate near the one that was refused, which grows back and beyond (`CubicRate`).
    Refusals of fetches that were in flight when a host was slowed down do not slow it again: they tell of the old pace.
    `Retry-After` pauses that host alone. Pauses longer than `patience` (seconds) are not waited for: `HostPaused` says
    so.
    """

    def __init__(
        self, *, maximum: int, patience: float = 3.0, most_hosts: int = MAX_HOSTS, clock: Clock = monotonic
    ) -> None:
        self._maximum = maximum
        self._patience = patience
        self._most_hosts = most_hosts
        self._clock = clock
        self._hosts: dict[str, HostState] = {}

    @asynccontextmanager
    async def slot(self, host: str, key: str, *, conditional: bool = False) -> AsyncIterator[None]:
        """One fetch from `host` on behalf of the batch `key`; learns from the error that leaves the block.

        Raises:
            HostPaused: the host wants a longer rest.
        """
        state = self._hosts.get(host)
        if state is None:
            first = min(FIRST, self._maximum)
            state = self._hosts[host] = HostState(first, FairSemaphore(first * SHARES))
        began = self._clock()
        if not state.waiting:
            state.wake(began)
        state.waiting += 1
        share = 1 if conditional and not state.changes else SHARES
        try:
            await self._rest(state)
            with await state.semaphore.acquire(key, share):
                await self._take_turn(state, key)
                began = self._clock()
                yield
                self._speed_up(state)
        except AssetError as error:
            self._slow_down(state, error, began)
            raise
        finally:
            state.waiting -= 1
            if not state.waiting:
                state.idle_since = self._clock()
                self._rank_last(host)

    def note_changes(self, host: str, *, changes: bool) -> None:
        """Whether `host` answered a conditional fetch with an image: then the next ones count as whole fetches."""
        if state := self._hosts.get(host):
            state.changes = changes

    def note_body(self, host: str, size: int) -> None:
        """Note how large a body of `host` is, in bytes."""
        if state := self._hosts.get(host):
            state.note_body(size)

    def body_size(self, host: str) -> int:
        """Return how large a body of `host` may be expected to be; 0 when nothing is known."""
        state = self._hosts.get(host)
        return state.body_size if state else 0

    def _rank_last(self, host: str) -> None:
        """`host` is idle; of all that are, the one that is for longest is forgotten where there are too many."""
        self._hosts[host] = self._hosts.pop(host)
        if len(self._hosts) > self._most_hosts:
            del self._hosts[next(name for name, state in self._hosts.items() if not state.waiting)]

    async def _rest(self, state: HostState) -> None:
        rest = state.paused_until - self._clock()
        if rest > self._patience:
            raise HostPaused(rest)
        if rest > 0:
            await asyncio.sleep(rest)

    async def _take_turn(self, state: HostState, key: str) -> None:
        """Wait for a pause to end, and then for the rate: all that waited for the former would come at once."""
        await self._rest(state)
        if state.rate is None:
            return
        turn = await state.turns.acquire(key)
        try:
            await self._rest(state)
        except BaseException:
            turn.release()
            raise
        pace = state.pace(self._clock())
        if pace >= UNPACED:
            state.rate = None
        asyncio.get_running_loop().call_later(1 / pace, turn.release)

    def _speed_up(self, state: HostState) -> None:
        state.note_answer(self._clock())
        if state.limit < self._maximum:
            state.limit = min(state.limit + 1, self._maximum)
            state.semaphore.resize(int(state.limit) * SHARES)

    def _slow_down(self, state: HostState, error: AssetError, began: float) -> None:
        now = self._clock()
        refused = isinstance(error, HttpStatusError) and error.http_status in (429, 503)
        if not refused and not isinstance(error, ConnectTimeout):
            if isinstance(error, HttpStatusError):
                state.note_answer(now)
            return
        if began >= state.slowed_at:
            state.slowed_at = now
            state.refusals += 1
            hopeless = state.refusals >= DOWN_AFTER
            if refused and not hopeless:
                state.rate = CubicRate(state.refused_rate(now, began), now)
            state.limit = float(min(FIRST, self._maximum)) if hopeless else max(1.0, state.limit / 2)
            state.semaphore.resize(int(state.limit) * SHARES)
        if isinstance(error, HttpStatusError) and error.retry_after:
            state.paused_until = max(state.paused_until, now + error.retry_after)
