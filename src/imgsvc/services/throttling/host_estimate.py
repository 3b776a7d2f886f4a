"""The shared knowledge about a host, and the use that each worker makes of it."""

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from annotated_types import Ge, Gt
from pydantic import FiniteFloat

SAME_TIME = 0.05
"""Seconds by which the same time may differ between two workers, whose clocks are compared with that of the board."""


LONGEST_PAUSE = 86_400.0
"""Seconds of a pause that is believed."""


@dataclass(frozen=True, slots=True)
class HostEstimate:
    """The limit, the rate and the pause of a host, for all workers; times are in seconds, of one clock."""

    limit: Annotated[FiniteFloat, Ge(1)]
    idle_latency: Annotated[FiniteFloat, Ge(0)] | None
    doubling: bool
    ceiling: Annotated[FiniteFloat, Ge(1)] | None
    """None while no number in flight has been refused."""
    refused_at: FiniteFloat | None
    rate: Annotated[FiniteFloat, Gt(0)] | None
    """The refused rate, in fetches per second; None while none has been refused."""
    rate_since: FiniteFloat
    rate_plateau: Annotated[FiniteFloat, Gt(0)]
    """Seconds after which the rate is back at the refused one."""
    rate_refused_at: FiniteFloat | None
    paused_until: FiniteFloat
    away_since: FiniteFloat | None
    """The beginning of its outage; None while it answers."""

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

    def not_after(self, now: float) -> "HostEstimate":
        """Return the estimate without times in the future, which come from a clock that was set back."""

        def past(time: float | None) -> float | None:
            return None if time is None else min(time, now)

        return replace(
            self,
            refused_at=past(self.refused_at),
            rate_since=min(self.rate_since, now),
            rate_refused_at=past(self.rate_refused_at),
            paused_until=min(self.paused_until, now + LONGEST_PAUSE),
            away_since=past(self.away_since),
        )

    def says_the_same(self, other: "HostEstimate") -> bool:
        """Return whether the two differ in nothing that must be published.

        The idle latency moves a little with every sample, and an outage begins and ends with other changes.
        """
        return replace(self, idle_latency=other.idle_latency, away_since=other.away_since) == other


class HostUse(NamedTuple):
    """The use that one worker makes of a host."""

    wanted: FiniteFloat
    """Fetches in flight, and those that it would like to begin."""
    in_flight: FiniteFloat
    answers: FiniteFloat
    """Answers per second."""
    held: FiniteFloat
    """Fetches that it may have in flight, as far as it wants them."""
