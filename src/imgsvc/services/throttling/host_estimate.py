"""The shared knowledge about a host, and the use that each worker makes of it."""

from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class HostEstimate:
    """The limit, the rate and the pause of a host, for all workers; times are in seconds, of one clock."""

    limit: float
    idle_latency: float | None
    doubling: bool
    ceiling: float | None
    """None while no number in flight has been refused."""
    refused_at: float | None
    rate: float | None
    """The refused rate, in fetches per second; None while none has been refused."""
    rate_since: float
    paused_until: float

    def shifted(self, seconds: float) -> "HostEstimate":
        """Return the estimate by a clock that is `seconds` ahead."""
        return replace(
            self,
            refused_at=None if self.refused_at is None else self.refused_at + seconds,
            rate_since=self.rate_since + seconds,
            paused_until=self.paused_until + seconds,
        )

    def says_the_same(self, other: "HostEstimate") -> bool:
        """Return whether the two differ in nothing but the idle latency, which moves a little with every sample."""
        return replace(self, idle_latency=other.idle_latency) == other


class HostUse(NamedTuple):
    """The use that one worker makes of a host."""

    wanted: float
    """Fetches in flight, and those that it would like to begin."""
    in_flight: float
    answers: float
    """Answers per second."""
    held: float
    """Fetches that it may have in flight, as far as it wants them."""
