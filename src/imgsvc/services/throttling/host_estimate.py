"""The shared knowledge about a host, and the use that each worker makes of it."""

from dataclasses import dataclass, replace
from typing import NamedTuple

SAME_TIME = 0.05
"""Seconds by which the same time may differ between two workers, whose clocks are compared with that of the board."""


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
    rate_plateau: float
    """Seconds after which the rate is back at the refused one."""
    rate_refused_at: float | None
    paused_until: float
    away_since: float | None
    """The time since which the host has answered nothing; None while it answers."""

    @property
    def last_refusal(self) -> float:
        """The time of the last refusal; 0 if there was none."""
        return max(self.refused_at or 0.0, self.rate_refused_at or 0.0)

    def shifted(self, seconds: float) -> "HostEstimate":
        """Return the estimate by a clock that is `seconds` ahead."""

        def shift(time: float | None) -> float | None:
            return None if time is None else time + seconds

        return replace(
            self,
            refused_at=shift(self.refused_at),
            rate_since=self.rate_since + seconds,
            rate_refused_at=shift(self.rate_refused_at),
            paused_until=self.paused_until + seconds,
            away_since=shift(self.away_since),
        )

    def says_the_same(self, other: "HostEstimate") -> bool:
        """Return whether the two differ in nothing that must be published.

        The idle latency moves a little with every sample, and an outage begins and ends with other changes.
        """
        return replace(self, idle_latency=other.idle_latency, away_since=other.away_since) == other


class HostUse(NamedTuple):
    """The use that one worker makes of a host."""

    wanted: float
    """Fetches in flight, and those that it would like to begin."""
    in_flight: float
    answers: float
    """Answers per second."""
    held: float
    """Fetches that it may have in flight, as far as it wants them."""
