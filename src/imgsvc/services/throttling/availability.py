"""The availability of a host: its answers and failures, and the probes while it is away."""

import random
from dataclasses import dataclass

from imgsvc.errors import AssetError

AWAY_AFTER = 5
"""Failures in a row, over at least `AWAY_WITHIN`, after which a host is away."""
AWAY_WITHIN = 1.0
"""Seconds; a host may refuse many fetches at once while it works on others."""
SHORT_PATIENCE = 60.0
"""Seconds of patience with a host that has never sent an image, if its failures may be those of its URLs."""
FIRST_PROBE = 1.0
LONGEST_PROBE = 10.0
"""Seconds between two probes of a host that is away, at first and at most; each wait is half as long again."""
FORGOTTEN_AFTER = 90.0
"""Seconds without a demand after which the patience with a host starts again."""


@dataclass(slots=True)
class Availability:
    """The answers and failures of one host.

    While a host is away, its images wait and one probe asks now and then. When it has been away for `patience` seconds
    it is given up: then its images fail at once with its last error, while the probes continue.

    Each probe that fails is followed by one for an image that the host has sent before. If the host answers that, the
    other images are to blame.
    """

    patience: float
    streak: int = 0
    """Answers since the last failure; see `HostState.is_own_failure`."""
    error: AssetError | None = None
    """The last failure; None after an answer."""
    probe_at: float = 0.0
    away_since: float | None = None
    failures: int = 0
    """Failures since the last answer."""
    asked_at: float = float("-inf")
    """The time at which a lane last wanted fetches from the host."""
    asked_for: int = 0
    """The fetches that it wanted."""
    known_url: str | None = None
    """An image that the host has sent."""
    _known_at: float = float("-inf")
    """The time of the last answer to a request for it during an outage."""
    _answered_at: float = float("-inf")
    _failing_since: float = 0.0
    _probe_wait: float = FIRST_PROBE
    _is_vague: bool = False

    @property
    def is_away(self) -> bool:
        return self.away_since is not None

    def is_given_up(self, now: float) -> bool:
        """Return whether the patience with the host is over."""
        return self._away_for(now) >= self.patience

    def is_doubtful(self, now: float) -> bool:
        """Return whether the images may be the cause: then they are asked for one by one, and fail on their own."""
        if not self.is_away:
            return False
        if self.known_url:
            return now - self._known_at < LONGEST_PROBE
        return self._is_vague and self._away_for(now) >= SHORT_PATIENCE

    def note_known(self, now: float) -> None:
        """Note that the host still sends `known_url`."""
        self._known_at = now

    def may_probe(self, now: float) -> bool:
        return now >= self.probe_at or self.is_doubtful(now)

    def _away_for(self, now: float) -> float:
        return -1.0 if self.away_since is None else now - self.away_since

    def note_demand(self, wanted: int, now: float) -> None:
        """Note that a lane wants fetches from the host; after a time without demand, the patience starts again."""
        if self.is_away and now - self.asked_at > FORGOTTEN_AFTER:
            self.away_since = now
        self.asked_at, self.asked_for = now, wanted

    def note_answer(self, now: float) -> float:
        """Note an answer; return the seconds of the outage that it ends, if any."""
        ended = 0.0 if self.away_since is None else now - self.away_since
        self.away_since, self.error, self.failures = None, None, 0
        self._answered_at = now
        self.streak += 1
        return ended

    def note_failure(self, error: AssetError, now: float, *, alone: bool, vague: bool) -> None:
        """Note a failure; `alone`: of the only request in flight; `vague`: the URL may be the cause."""
        if not self.failures:
            self._failing_since = now
        self.failures += 1
        self.error, self._is_vague = error, vague
        if self.away_since is not None:
            if now >= self.probe_at:
                self._probe_wait = min(self._probe_wait * 1.5, LONGEST_PROBE)
                self._plan_probe(now)
        elif self._is_outage(now, alone=alone):
            self.away_since, self._probe_wait = self._failing_since, FIRST_PROBE
            self._plan_probe(now)

    def _is_outage(self, now: float, *, alone: bool) -> bool:
        silent_for = now - self._answered_at
        if self.failures >= AWAY_AFTER:
            return alone or min(silent_for, now - self._failing_since) >= AWAY_WITHIN
        return alone and not self._is_vague and silent_for >= AWAY_WITHIN

    def _plan_probe(self, now: float) -> None:
        self.probe_at = now + self._probe_wait * random.uniform(0.8, 1.2)  # noqa: S311  # jitter

    def adopt(self, away_since: float, now: float) -> None:
        """Take over an outage that another worker has found, unless this one has been answered lately."""
        if not self.is_away and now - self._answered_at >= AWAY_WITHIN and away_since > self._answered_at:
            self.away_since, self._probe_wait = away_since, FIRST_PROBE
            self._plan_probe(now)

    def hurry(self, now: float) -> None:
        """Probe within a second: the host answers others."""
        self.probe_at = min(self.probe_at, now + FIRST_PROBE)

    def pause(self) -> None:
        """Start again after a pause that the host asked for: it is not away."""
        self.away_since, self.failures = None, 0
