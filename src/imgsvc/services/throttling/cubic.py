"""How fast to ask a host that has refused: CUBIC (RFC 9438) over fetches a second instead of windows."""

from dataclasses import dataclass

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
