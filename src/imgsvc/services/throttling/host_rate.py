"""The state of one host: how many fetches it can take at once and per second."""

from dataclasses import dataclass, field, replace
from time import monotonic

from imgsvc.services.throttling.fair_semaphore import FairSemaphore

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


UNITS_PER_FETCH = 4
"""Units per fetch. A conditional fetch costs one: a 304 has no body."""
INITIAL_LIMIT = 16
"""Concurrent fetches from an unknown host."""
MIN_WINDOW = 0.2
"""Seconds. Hosts allow bursts, so what succeeded within less time says little about the rate that they allow."""
WINDOW = 1.0
"""Seconds over which responses are counted."""
UNLIMITED_RATE = 1_000.0
"""Fetches per second; a rate that has grown to this is lifted."""
DOWN_AFTER = 10
"""Slow-downs in a row without a response in between, after which a host counts as down rather than as limiting."""
DOWN_RATE = 20.0
"""Fetches per second from a host that is down, at most `INITIAL_LIMIT` at once: they should fail soon, so the rate is
higher than for a host that limits."""


@dataclass(slots=True)
class ResponseCounts:
    """The responses per second, counted in windows; the previous window is remembered."""

    count: int = 0
    since: float = field(default_factory=monotonic)
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
class HostState:
    """The limits of one host, and the observations that set them."""

    limit: float
    """Concurrent fetches."""
    semaphore: FairSemaphore
    """Fetches in flight, in units (`UNITS_PER_FETCH`)."""
    pacer: FairSemaphore = field(default_factory=lambda: FairSemaphore(1))
    """Held from the start of one fetch until the rate allows the next."""
    rate: CubicRate | None = None
    responses: ResponseCounts = field(default_factory=ResponseCounts)
    slow_downs: int = 0
    """The number of slow-downs since the last response."""
    changes: bool = False
    """True when the last conditional fetch returned a whole image."""
    body_size: int = 0
    """Size in bytes close to the largest recent body; 0 before the first."""
    paused_until: float = 0.0
    slowed_at: float = 0.0
    idle_since: float = 0.0
    in_use: int = 0
    """The number of fetches that wait or are in flight."""

    def current_rate(self, now: float) -> float:
        """Return the fetches per second that are allowed at `now`."""
        if self.rate is None:
            return UNLIMITED_RATE
        return DOWN_RATE if self.slow_downs >= DOWN_AFTER else self.rate.at(now)

    def wake(self, now: float) -> None:
        """Resume after idle time, which does not make the rate grow: only successes do."""
        if self.rate:
            self.rate = replace(self.rate, since=self.rate.since + now - self.idle_since)

    def note_response(self, now: float) -> None:
        """Note that the host responded, with any status, so it is not down."""
        self.responses.note(now)
        self.slow_downs = 0

    def note_body(self, size: int) -> None:
        """Follow larger bodies at once, and smaller ones slowly: a dozen of them halve the difference."""
        self.body_size = max(size, self.body_size - (self.body_size - size) // 16)

    def refused_rate(self, now: float, began: float) -> float:
        """Return the fetches per second that proved too many when a fetch that started at `began` was refused.

        Without a rate so far, this is the rate of the responses, or half of the rate of the requests if that is more.
        """
        if self.rate:
            return self.rate.at(now)
        window = max(MIN_WINDOW, now - began)
        return max(self.responses.rate(now, window), self.limit / 2 / window)
