"""A pace for each host that follows how it copes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from imgsvc.errors import AssetError, ConnectTimeout, HttpStatusError
from imgsvc.services.cubic import CubicRate
from imgsvc.services.fairness import FairGate

SHARES = 4
"""Of a fetch: a conditional one, whose answer is a line if nothing changed, counts for one of them."""
FIRST = 16
"""Fetches at one time from a host of which nothing is known."""
SHORTEST_WINDOW = 0.2
"""Seconds; hosts allow bursts, so that what went well in less says little about what they allow in the long run."""
WINDOW = 1.0
UNPACED = 1_000.0
"""Fetches a second above which a rate is none."""
HOPELESS = 10
"""Times in a row that a host was slowed down without an answer in between: it does not limit, it refuses."""
HOPELESS_RATE = 20.0
"""Fetches a second of such a host: what it refuses should fail soon, and not at the pace of a host that is strict."""
MOST_HOSTS = 10_000
"""Hosts whose pace is remembered, so that the next batch need not find it out again. A catalogue of dead hosts must not
fill the memory."""


class HostPaused(Exception):  # not an error: a reason to come back later
    """The host asked to be left alone for `seconds` more."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"paused for {seconds:.1f} s")
        self.seconds = seconds


@dataclass(slots=True)
class _Answers:
    """How many answers come in a second: counted in windows, of which the one before is remembered."""

    count: int = 0
    since: float = field(default_factory=monotonic)
    before: float = 0

    def note(self, now: float) -> None:
        if now - self.since >= WINDOW:
            self.before = self.count / (now - self.since)
            self.count, self.since = 0, now
        self.count += 1

    def rate(self, now: float, shortest: float) -> float:
        """A second; a window counts as `shortest` seconds at least."""
        return max(self.before, self.count / max(now - self.since, shortest))


@dataclass(slots=True)
class _Host:
    limit: float
    gate: FairGate
    """Fetches in flight, in shares."""
    turns: FairGate = field(default_factory=lambda: FairGate(1))
    """Held from the start of one fetch until the rate allows the next."""
    rate: CubicRate | None = None
    answers: _Answers = field(default_factory=_Answers)
    refusals: int = 0
    """Times that it was slowed down since its last answer."""
    paused_until: float = 0.0
    slowed_at: float = 0.0
    waiting: int = 0

    def pace(self, now: float) -> float:
        """Fetches a second."""
        if self.rate is None:
            return UNPACED
        return HOPELESS_RATE if self.refusals >= HOPELESS else self.rate.at(now)

    def refused_rate(self, now: float, began: float) -> float:
        """Fetches a second that turned out to be too many, when one that `began` then was refused.

        Without a rate so far it is what went well; and if nothing did, half of what was asked for.
        """
        if self.rate:
            return self.rate.at(now)
        window = max(SHORTEST_WINDOW, now - began)
        return max(self.answers.rate(now, window), self.limit / 2 / window)


class HostPacer:
    """How many fetches each host gets at one time, and how many a second once it has refused some.

    At one time: a 429, a 503 or a connect time-out halves a host's limit, each success adds one up to the maximum. A
    second: a 429 or a 503 sets a rate near the one that was refused, which grows back and beyond (`CubicRate`). Answers
    to fetches that were in flight when a host was slowed down do not slow it again: they tell of the old pace.
    `Retry-After` pauses that host alone. Pauses longer than `patience` (seconds) are not waited for: `HostPaused` says
    so.
    """

    def __init__(self, *, maximum: int, patience: float = 3.0, most_hosts: int = MOST_HOSTS) -> None:
        self._maximum = maximum
        self._patience = patience
        self._most_hosts = most_hosts
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def slot(self, host: str, key: str, *, conditional: bool = False) -> AsyncIterator[None]:
        """One fetch from `host` on behalf of the batch `key`; learns from the error that leaves the block.

        Raises:
            HostPaused: the host wants a longer rest.
        """
        state = self._hosts.get(host)
        if state is None:
            first = min(FIRST, self._maximum)
            state = self._hosts[host] = _Host(first, FairGate(first * SHARES))
        state.waiting += 1
        began = monotonic()
        try:
            await self._rest(state)
            with await state.gate.acquire(key, 1 if conditional else SHARES):
                await self._take_turn(state, key)
                await self._rest(state)
                began = monotonic()
                yield
                self._speed_up(state)
        except AssetError as error:
            self._slow_down(state, error, began)
            raise
        finally:
            state.waiting -= 1
            if not state.waiting:
                self._rank_last(host)

    def _rank_last(self, host: str) -> None:
        """`host` is idle; of all that are, the one that is for longest is forgotten where there are too many."""
        self._hosts[host] = self._hosts.pop(host)
        if len(self._hosts) > self._most_hosts:
            del self._hosts[next(name for name, state in self._hosts.items() if not state.waiting)]

    async def _rest(self, state: _Host) -> None:
        rest = state.paused_until - monotonic()
        if rest > self._patience:
            raise HostPaused(rest)
        if rest > 0:
            await asyncio.sleep(rest)

    async def _take_turn(self, state: _Host, key: str) -> None:
        if state.rate is None:
            return
        turn = await state.turns.acquire(key)
        pace = state.pace(monotonic())
        if pace >= UNPACED:
            state.rate = None
        asyncio.get_running_loop().call_later(1 / pace, turn.release)

    def _speed_up(self, state: _Host) -> None:
        state.answers.note(monotonic())
        state.refusals = 0
        if state.limit < self._maximum:
            state.limit = min(state.limit + 1, self._maximum)
            state.gate.resize(int(state.limit) * SHARES)

    def _slow_down(self, state: _Host, error: AssetError, began: float) -> None:
        refused = isinstance(error, HttpStatusError) and error.http_status in (429, 503)
        if not refused and not isinstance(error, ConnectTimeout):
            return
        now = monotonic()
        if began >= state.slowed_at:
            state.slowed_at = now
            if refused:
                state.refusals += 1
            if refused and state.refusals < HOPELESS:
                state.rate = CubicRate(state.refused_rate(now, began), now)
            state.limit = max(1.0, state.limit / 2)
            state.gate.resize(int(state.limit) * SHARES)
        if isinstance(error, HttpStatusError) and error.retry_after:
            state.paused_until = max(state.paused_until, now + error.retry_after)
