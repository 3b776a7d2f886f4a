"""The fetches per second that a host allows, once it has refused some."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow

DECREASE = 0.7
"""The factor by which a refused rate is cut (RFC 9438 §4.6)."""
PLATEAU = 4.0
"""Seconds from a refusal until the rate is back at the refused one; then it grows ever faster."""
MIN_RATE = 0.5
"""Fetches per second."""


@dataclass(frozen=True, slots=True)
class CubicRate:
    """A rate that grows steeply at first, is flat near the refused rate, then grows steeply again.

    So it stays close to the host's capacity most of the time.
    """

    refused: float
    """Fetches per second that were too many."""
    since: float
    """The time of the refusal, in seconds."""

    def at(self, now: float) -> float:
        """Return the fetches per second at `now`, at least `MIN_RATE`."""
        distance = (now - self.since - PLATEAU) / PLATEAU
        return max(MIN_RATE, self.refused * (1 + (1 - DECREASE) * distance**3))


MIN_WINDOW = 0.2
"""Seconds. Hosts allow bursts, so what succeeded within less time says little about the rate that they allow."""
WINDOW = 1.0
"""Seconds over which responses are counted."""
UNLIMITED_RATE = 1_000.0
"""Fetches per second; a rate that has grown to this is lifted."""


@dataclass(slots=True)
class ResponseCounts:
    """The responses per second, counted in windows; the previous window is remembered."""

    count: int = 0
    since: float = float("-inf")
    previous: float = 0

    def note(self, now: float) -> None:
        if now - self.since >= WINDOW:
            self.previous = self.count / (now - self.since)
            self.count, self.since = 0, now
        self.count += 1

    def rate(self, now: float, min_window: float) -> float:
        """Return the responses per second; the current window counts as at least `min_window` seconds."""
        return max(self.previous, self.count / max(now - self.since, min_window))


@dataclass(slots=True)
class HostRate:
    """The rate of one host; unlimited until it refuses a fetch with 429 or 503."""

    cubic: CubicRate | None = None
    share: float = UNLIMITED_RATE
    """The part of the host's rate that this process may use."""
    responses: ResponseCounts = field(default_factory=ResponseCounts)
    pacer: FairSemaphore = field(default_factory=lambda: FairSemaphore(1))
    """Held from the start of one fetch until the rate allows the next."""
    next_start: float = 0.0
    """The time at which the next fetch may start."""

    def at(self, now: float) -> float:
        """Return the fetches per second that are allowed at `now`; a rate that has grown large is lifted."""
        if self.cubic and self.cubic.at(now) >= UNLIMITED_RATE:
            self.cubic = None
        return min(self.share, self.cubic.at(now) if self.cubic else UNLIMITED_RATE)

    def note_refusal(self, now: float, *, began: float, limit: float) -> None:
        """Set a rate near the one that proved too many when a fetch that started at `began` was refused.

        Without a rate so far, that is the rate of the responses, or half of the rate of the requests if that is more.
        """
        window = max(MIN_WINDOW, now - began)
        refused = self.cubic.at(now) if self.cubic else max(self.responses.rate(now, window), limit / 2 / window)
        self.cubic = CubicRate(refused, now)

    def resume(self, idle: float) -> None:
        """Continue after `idle` seconds, in which the rate does not grow: only successes make it grow."""
        if self.cubic:
            self.cubic = replace(self.cubic, since=self.cubic.since + idle)

    def delay(self, now: float) -> float:
        """Return the seconds until the next fetch may start, if none waits for it."""
        return max(0.0, self.next_start - now) if self.at(now) < UNLIMITED_RATE else 0.0

    async def wait(self, flow: Flow, clock: Callable[[], float]) -> None:
        """Wait until the rate allows one more fetch; those that wait start one by one, at the rate of that moment."""
        if self.at(clock()) >= UNLIMITED_RATE:
            return
        turn = await self.pacer.acquire(flow)
        interval = 1 / self.at(clock())
        self.next_start = clock() + interval
        asyncio.get_running_loop().call_later(interval, turn.release)
