"""The fetches per second that a host allows, once it has refused some."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_estimate import SAME_TIME, HostEstimate

DECREASE = 0.8
"""The factor by which a refused rate is cut. RFC 9438 has 0.7 for networks; what hosts allow varies less."""
PLATEAU, PLATEAU_OF_GUESS = 4.0, 1.0
"""Seconds from a refusal until the rate is back at the refused one; then it grows ever faster."""
UNKNOWN_FOR = 0.25
"""Seconds until all workers know a first guess: two exchanges."""
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
    plateau: float = PLATEAU

    def at(self, now: float) -> float:
        """Return the fetches per second at `now`, at least `MIN_RATE`."""
        distance = (now - self.since - self.plateau) / self.plateau
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
    since: float = -inf
    previous: float = 0
    noted_at: float = -inf

    def note(self, now: float) -> None:
        self.noted_at = now
        if now - self.since >= WINDOW:
            self.previous = self.count / (now - self.since)
            self.count, self.since = 0, now
        self.count += 1

    def rate(self, now: float, min_window: float) -> float:
        """Return the responses per second; the current window counts as at least `min_window` seconds."""
        if now - self.noted_at > 2 * WINDOW:
            return 0.0
        return max(self.previous, self.count / max(now - self.since, min_window))


@dataclass(slots=True)
class HostRate:
    """The rate of one host; unlimited until it refuses a fetch with 429 or 503."""

    cubic: CubicRate | None = None
    share: float = 1.0
    """The part of the host's rate that this worker may use."""
    elsewhere: float = 0.0
    """The answers per second to other workers."""
    responses: ResponseCounts = field(default_factory=ResponseCounts)
    pacer: FairSemaphore = field(default_factory=lambda: FairSemaphore(1))
    """Held by the fetch that starts next."""
    started_at: float = -inf
    """The start of the last fetch."""
    refused_at: float = -inf
    _adopted_at: float = -inf

    @property
    def waiting(self) -> int:
        """The fetches that wait for the rate."""
        return self.pacer.waiting() + self.pacer.used

    def of_all(self, now: float) -> float:
        """Return the fetches per second that all workers may start; a rate that has grown large is lifted."""
        if self.cubic and self.cubic.at(now) >= UNLIMITED_RATE:
            self.cubic = None
        return self.cubic.at(now) if self.cubic else UNLIMITED_RATE

    def at(self, now: float) -> float:
        """Return the fetches per second that this worker may start, if it may start any."""
        rate = self.of_all(now)
        return rate if rate >= UNLIMITED_RATE else rate * (self.share or 1)

    def note_refusal(self, now: float, *, began: float, limit: float, is_shared: bool = False) -> None:
        """Set a rate near the one that proved too many, unless the fetch started before the last refusal was known.

        The first one is a guess: the rate of the answers, or half of the rate of the requests if that is more. Later,
        the answers correct a rate that has grown far beyond them, to half of it at most. A guess is improved quickly;
        of a host that is shared, other workers know it a little later, and may be the reason for refusals until then.
        """
        is_guess = self.cubic is not None and self.cubic.plateau == PLATEAU_OF_GUESS
        unknown_for = UNKNOWN_FOR if is_guess and is_shared else 0.0
        if began < max(self.refused_at + unknown_for, self._adopted_at):
            return
        window = max(MIN_WINDOW, now - began)
        answered = self.responses.rate(now, window) + self.elsewhere
        if self.cubic is None:
            self.cubic = CubicRate(max(answered, limit / 2 / window), now, PLATEAU_OF_GUESS)
        else:
            tried, proven = self.cubic.at(began), answered / DECREASE
            plateau = PLATEAU_OF_GUESS if tried / 2 <= proven < tried else PLATEAU
            self.cubic = CubicRate(min(max(proven, tried / 2), tried), now, plateau)
        self.refused_at = now

    def adopt(self, estimate: HostEstimate, now: float) -> None:
        """Take over the rate that another worker has found."""
        refused_at = -inf if estimate.rate_refused_at is None else estimate.rate_refused_at
        if refused_at > self.refused_at + SAME_TIME:
            self._adopted_at = now  # what began before is refused for the same reason
        self.refused_at = refused_at
        rate, since, plateau = estimate.rate, estimate.rate_since, estimate.rate_plateau
        self.cubic = None if rate is None else CubicRate(rate, since, plateau)

    def forget(self) -> None:
        """Allow any rate again, after an outage that says nothing about one."""
        self.cubic = None

    def resume(self, idle: float) -> None:
        """Continue after `idle` seconds, in which the rate does not grow: only successes make it grow."""
        if self.cubic and idle > 0:
            self.cubic = replace(self.cubic, since=self.cubic.since + idle)

    def defer(self, now: float) -> None:
        """Let the next fetch start after an interval: another worker may have started one just now."""
        self.started_at = now

    def delay(self, now: float) -> float:
        """Return the seconds until the next fetch may start, if none waits for it."""
        rate = self.at(now)
        return max(0.0, self.started_at + 1 / rate - now) if rate < UNLIMITED_RATE else 0.0

    async def wait(self, flow: Flow, clock: Callable[[], float]) -> None:
        """Wait until the rate allows one more fetch; those that wait start one by one, at the rate of that moment."""
        if self.at(clock()) < UNLIMITED_RATE:
            with await self.pacer.acquire(flow):
                if delay := self.delay(clock()):
                    await asyncio.sleep(delay)
        self.started_at = clock()
