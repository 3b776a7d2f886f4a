"""What is known of one host: how much it takes at one time and in a second."""

from dataclasses import dataclass, field, replace
from time import monotonic

from imgsvc.services.throttling.fair_semaphore import FairSemaphore

DECREASE = 0.7
"""What is left of a rate that was refused (RFC 9438 §4.6)."""
PLATEAU = 4.0
"""Seconds from a refusal until the rate is back where it was refused; then it grows ever faster."""
LEAST = 0.5


@dataclass(frozen=True, slots=True)
class CubicRate:
    """Steep at first, flat near the rate that was refused, then steep again: mostly it is near capacity."""

    refused: float
    """Fetches a second that were too many."""
    since: float
    """When they were, in seconds."""

    def at(self, now: float) -> float:
        """Fetches a second, `LEAST` at least."""
        distance = (now - self.since - PLATEAU) / PLATEAU
        return max(LEAST, self.refused * (1 + (1 - DECREASE) * distance**3))


SHARES = 4
"""Of a fetch: a conditional one, whose answer is a line if nothing changed, counts for one of them."""
FIRST = 16
"""Fetches at one time from a host of which nothing is known."""
SHORTEST_WINDOW = 0.2
"""Seconds; hosts allow bursts, so that what went well in less says little about what they allow in the long run."""
WINDOW = 1.0
UNPACED = 1_000.0
"""Fetches a second above which a rate is none."""
DOWN_AFTER = 10
"""Times in a row that a host was slowed down without an answer in between: it does not limit, it refuses or is gone."""
DOWN_RATE = 20.0
"""Fetches a second of such a host, `FIRST` at one time: they should fail soon, and not at the pace of a strict host."""


@dataclass(slots=True)
class ResponseCounts:
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
class HostState:
    limit: float
    semaphore: FairSemaphore
    """Fetches in flight, in shares."""
    turns: FairSemaphore = field(default_factory=lambda: FairSemaphore(1))
    """Held from the start of one fetch until the rate allows the next."""
    rate: CubicRate | None = None
    answers: ResponseCounts = field(default_factory=ResponseCounts)
    refusals: int = 0
    """Times that it was slowed down since its last answer."""
    changes: bool = False
    """Whether the last answer to a conditional fetch was a whole image."""
    body_size: int = 0
    """Bytes that its bodies had lately, nearer to the largest of them; 0 while none has come."""
    paused_until: float = 0.0
    slowed_at: float = 0.0
    idle_since: float = 0.0
    waiting: int = 0

    def pace(self, now: float) -> float:
        """Fetches a second."""
        if self.rate is None:
            return UNPACED
        return DOWN_RATE if self.refusals >= DOWN_AFTER else self.rate.at(now)

    def wake(self, now: float) -> None:
        """The first fetch after a while: a rate grows with what goes well, not while nobody asks."""
        if self.rate:
            self.rate = replace(self.rate, since=self.rate.since + now - self.idle_since)

    def note_answer(self, now: float) -> None:
        """Whatever its status is: the host copes."""
        self.answers.note(now)
        self.refusals = 0

    def note_body(self, size: int) -> None:
        """The largest counts at once, and is forgotten by half within a dozen smaller ones."""
        self.body_size = max(size, self.body_size - (self.body_size - size) // 16)

    def refused_rate(self, now: float, began: float) -> float:
        """Fetches a second that turned out to be too many, when one that `began` then was refused.

        Without a rate so far it is what went well, or half of what was asked for where that is more.
        """
        if self.rate:
            return self.rate.at(now)
        window = max(SHORTEST_WINDOW, now - began)
        return max(self.answers.rate(now, window), self.limit / 2 / window)
