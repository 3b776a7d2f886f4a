"""One host as a worker shares it with the others: what it publishes, and what it adopts."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from imgsvc.services.throttling.host_division import share_of
from imgsvc.services.throttling.host_estimate import SAME_TIME, HostEstimate, HostUse
from imgsvc.services.throttling.host_rate import PLATEAU
from imgsvc.services.throttling.host_state import SOON, UNITS_PER_FETCH, HostState
from imgsvc.services.throttling.host_turns import FRESH, REMEMBERED


class Report(NamedTuple):
    """A report on a host: the estimate of a worker, if it has changed since `version`, and its use of the host."""

    version: int
    estimate: HostEstimate | None
    use: HostUse | None
    """None when it has no more fetches."""


class Entry(NamedTuple):
    """The shared knowledge about a host, and its use by each worker. Without an estimate, none was published lately."""

    version: int
    estimate: HostEstimate | None
    uses: Mapping[str, HostUse]


@dataclass(slots=True)
class SharedHost:
    """The state of a host in this worker, and the part of it that the others know."""

    state: HostState
    version: int = 0
    met: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the first exchange, or if the board is away."""
    is_known: bool = False
    """True after the first answer of the board: until then, others may know more than this worker."""
    published: HostEstimate | None = None
    """The estimate that the others know."""

    def estimate(self) -> HostEstimate:
        """Return what this worker has found out."""
        state, limit, rate = self.state, self.state.limit, self.state.rate
        cubic = rate.cubic
        return HostEstimate(
            limit.value,
            limit.idle_latency,
            limit.doubling,
            ceiling=None if limit.ceiling == inf else limit.ceiling,
            refused_at=None if limit.refused_at == -inf else limit.refused_at,
            rate=cubic.refused if cubic else None,
            rate_since=cubic.since if cubic else 0.0,
            rate_plateau=cubic.plateau if cubic else PLATEAU,
            rate_refused_at=None if rate.refused_at == -inf else rate.refused_at,
            paused_until=state.paused_until,
            away_since=state.availability.away_since,
        )

    def news(self) -> HostEstimate | None:
        """Return the estimate if the others do not know it."""
        estimate = self.estimate()
        return None if not self.is_known or (self.published and estimate.says_the_same(self.published)) else estimate

    def use(self, now: float) -> HostUse | None:
        """Return how this worker uses the host; None if it does not, or cannot now. One that meets it will want one."""
        state = self.state
        unmet = 0
        if state.delay(now) <= SOON:
            unmet = state.turns.unmet(now, within=REMEMBERED if state.booked else FRESH)
        wanted = max(float(not self.met.is_set()), state.booked / UNITS_PER_FETCH + unmet)
        if not wanted:
            return None
        held = max(state.in_flight, min(state.limit.value * state.share, wanted))
        return HostUse(wanted, state.in_flight, state.rate.responses.rate(now, SOON), held)

    def read(self, entry: Entry, published: HostEstimate | None, now: float) -> None:
        """Adopt what others have found out; `published` is the estimate of this worker in its report, if any."""
        if entry.estimate is not None and entry.estimate == published:
            self.published = published
        elif entry.estimate is not None and entry.version != self.version:
            self.published = entry.estimate
            self._adopt(entry.estimate, now)
        if entry.estimate is not None and entry.estimate.away_since is not None:
            self.state.availability.adopt(entry.estimate.away_since, now)
        self.version, self.is_known = entry.version, True

    def _adopt(self, estimate: HostEstimate, now: float) -> None:
        state = self.state
        state.paused_until = max(state.paused_until, estimate.paused_until)
        if estimate.last_refusal > self.estimate().last_refusal - SAME_TIME:
            state.limit.adopt(estimate, now)
            state.rate.adopt(estimate, now)

    def divide(self, worker: str, uses: Mapping[str, HostUse], *, time: float, now: float) -> bool:
        """Take the share of `worker`; return whether it has become smaller, so that others can take more."""
        state = self.state
        share = share_of(worker, uses, limit=state.limit.value, rate=state.rate.of_all(now), at=time)
        has_shrunk = share < state.share
        if not state.share:
            state.rate.defer(now)
        self._note_others([use for name, use in uses.items() if name != worker], now)
        state.set_share(share)
        return has_shrunk

    def _note_others(self, uses: Sequence[HostUse], now: float) -> None:
        state = self.state
        state.others = len(uses)
        state.elsewhere = sum(use.in_flight for use in uses)
        state.rate.elsewhere = sum(use.answers for use in uses)
        state.limit.cap(state.maximum * (1 + state.others), now)
        if state.rate.elsewhere and state.availability.is_away:
            state.availability.hurry(now)

    def keep_share(self) -> None:
        """Go on without news of the others, with one place at least."""
        self.state.set_share(max(self.state.share, 1 / self.state.limit.value))
