"""The state of one host: its limit, its rate, its pauses and outages, and who uses its room."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imgsvc.errors import AssetError, HttpStatusError
from imgsvc.services.throttling.availability import AWAY_AFTER, AWAY_WITHIN, Availability
from imgsvc.services.throttling.blame import Says, is_limit, is_timeout, sets_rate
from imgsvc.services.throttling.concurrency_limit import INITIAL_LIMIT, RESUMED_LIMIT, ConcurrencyLimit
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_rate import UNLIMITED_RATE, HostRate
from imgsvc.services.throttling.host_turns import HostTurns

UNITS_PER_FETCH = 4
"""Units per fetch. A conditional fetch costs one: a 304 has no body."""
SOON = 1.0
"""Seconds that a fetch may wait for its host; what waits longer goes back to the database."""
AHEAD = 0.5
"""Seconds for which fetches are given out ahead, so that a host need not wait for the next claim."""
MAX_AHEAD = 2
"""Fetches that are given out ahead for each that may be in flight, at most."""
FORGETS_RATE = 5.0
"""Seconds; an outage as long as this says nothing about a rate, unless it said 429."""
LONG_PAUSE = 30.0
"""Seconds; after a pause as long as this, a host is asked once before it is asked for more."""
RATE_CUT, TIMEOUT_CUT = 0.75, 0.5
"""The factors by which a refusal lowers the limit that does not show how many were too many."""
CALM = 8
"""Answers in a row after which a failure is the image's own."""


@dataclass(frozen=True, slots=True)
class FetchFacts:
    """The start of a fetch and the number then in flight, itself included."""

    began: float
    peers: float
    """Fetches of all workers, as they last reported."""
    alone: bool
    """True if it is the only one of this worker."""


@dataclass(slots=True)
class HostState:
    """The limits and observations of one host, and its fetches in flight."""

    limit: ConcurrencyLimit
    availability: Availability
    maximum: int  # fetches in flight of a worker, whatever the limit
    semaphore: FairSemaphore
    """Fetches in flight, in units (`UNITS_PER_FETCH`)."""
    turns: HostTurns
    rate: HostRate = field(default_factory=HostRate)
    share: float = 1.0
    """The part of the host's limit and rate that this worker may use; the others use the rest."""
    caution: float = 1.0
    """The part of its share that a worker uses: halved by each refusal, whole after an answer. What several share falls
    slowly, because one of them may be refused while the others have all the places."""
    others: int = 0
    """The other workers that use the host."""
    elsewhere: float = 0.0
    """The fetches in flight from them."""
    booked: int = 0
    """Units of the fetches that wait or are in flight."""
    changes: bool = False
    """True when the last conditional fetch returned a whole image."""
    is_unchanged: bool = False
    """True when the last fetch was answered with a 304, so that the next is expected to be."""
    body_size: int = 0
    """Size in bytes close to the largest recent body; 0 before the first."""
    paused_until: float = 0.0
    idle_since: float = 0.0
    in_use: int = 0
    """The fetches that wait or are in flight, of which a forgotten host has none."""
    redirects_to: str | None = None
    """The host that the last fetch was redirected to, if it was another."""

    @classmethod
    def of_unknown(cls, *, maximum: int, patience: float, weights: Mapping[str, float]) -> "HostState":
        limit = ConcurrencyLimit(maximum, float(min(INITIAL_LIMIT, maximum)))
        semaphore = FairSemaphore(int(limit.value) * UNITS_PER_FETCH, weights=weights)
        return cls(limit, Availability(patience), maximum, semaphore, HostTurns(weights))

    @property
    def allowed(self) -> int:
        """The fetches that this worker may have in flight."""
        places = max(1, int(self.limit.value * self.share * self.caution + 1e-6)) if self.share else 0
        return min(places, self.maximum)

    @property
    def expected_units(self) -> int:
        return 1 if self.is_unchanged else UNITS_PER_FETCH

    @property
    def in_flight(self) -> float:
        """The fetches in flight from this worker."""
        return max(0.0, (self.semaphore.used - self.rate.waiting * self.expected_units) / UNITS_PER_FETCH)

    @property
    def peers(self) -> float:
        """The fetches in flight from all workers."""
        return self.in_flight + self.elsewhere

    def resize(self) -> None:
        """Apply the limit."""
        self.semaphore.resize(max(1, self.allowed) * UNITS_PER_FETCH)

    def set_share(self, share: float) -> None:
        """Set the part of the limit and of the rate that this worker may use, 0 to 1."""
        self.share = self.rate.share = self.limit.share = share
        self.resize()

    # -- room ---------------------------------------------------------------------------------------------------------

    def delay(self, now: float) -> float:
        """Return the seconds until the next fetch may start: the end of a pause, the next probe, or the rate.

        While it is the turn of other workers, that is not known: come again after `SOON`.
        """
        turn = 0.0 if self.share else SOON
        if self.availability.is_away:
            probe_at = now if self.availability.is_doubtful(now) else self.availability.probe_at
            return max(self.paused_until - now, probe_at - now, turn)
        return max(self.paused_until - now, self.rate.delay(now), turn)

    def room(self, now: float) -> int:
        """Return the fetches that may be given out: those that can start within `SOON`."""
        if self.delay(now) > SOON or not self.allowed:
            return 0
        if self.availability.is_away:
            return int(self.booked == 0 and self.availability.may_probe(now))
        turns = min(AHEAD / self.limit.idle_latency, MAX_AHEAD) if self.limit.idle_latency else 0
        ahead = max(self.rate.responses.rate(now, SOON) * AHEAD, turns * self.allowed)
        if self.limit.doubling and (self.limit.idle_latency or 0) < AHEAD:
            ahead = max(ahead, 3 * self.allowed)  # the limit will have grown by then
        places = int(((self.allowed + ahead) * UNITS_PER_FETCH - self.booked) / self.expected_units)
        rate = self.rate.at(now)
        if rate < UNLIMITED_RATE:
            waiting = (self.booked - self.semaphore.used) / self.expected_units + self.rate.waiting
            places = min(places, 1 + int((SOON - self.delay(now)) * rate - waiting))
        return max(0, places)

    # -- what the ends of fetches say ---------------------------------------------------------------------------------

    def note_answer(self, latency: float, fetch: FetchFacts, now: float) -> None:
        self.rate.responses.note(now)
        self.caution = 1.0
        error, outage = self.availability.error, self.availability.note_answer(now)
        if outage >= AWAY_WITHIN and not self.rate.elsewhere:
            self.limit.resume(now, RESUMED_LIMIT)
            if outage >= FORGETS_RATE and not (error and is_limit(error)):
                self.rate.forget()
            self.rate.resume(outage)
        else:
            in_flight = max(fetch.peers, self.peers + 1)
            self.limit.note_answer(latency, began=fetch.began, peers=fetch.peers, in_flight=in_flight, now=now)
        self.resize()

    def note_failure(self, error: AssetError, says: Says, fetch: FetchFacts, now: float) -> bool:
        """Note a failure, which slows the host down unless others were answered; return whether it is the image's own.

        It is if others are answered while as much is in flight; if the host is away for this image alone; or if it had
        the host for itself and failed in a way that may be its own. A 429 never is.
        """
        alone, doubtful = fetch.alone, self.availability.is_doubtful(now)
        unseen = self.others if sets_rate(error) else 0  # fetches of other workers since the last exchange
        is_calm = fetch.peers + unseen <= self.limit.proven and self.availability.streak >= CALM
        self.availability.streak = self.availability.streak // 2 if is_calm and says is Says.OVERLOADED else 0
        was_away = self.availability.is_away
        if not is_limit(error) and ((is_calm and not was_away) or (doubtful and (is_calm or alone))):
            return True
        self.availability.note_failure(error, now, alone=alone and not sets_rate(error), vague=says is Says.OVERLOADED)
        if not was_away or is_limit(error):  # otherwise the failure of a probe says nothing new
            self._slow_down(error, fetch, now)
        self._pause(error, now)
        self.resize()
        return says is Says.OVERLOADED and alone and not was_away and self.availability.failures < AWAY_AFTER

    def _slow_down(self, error: AssetError, fetch: FetchFacts, now: float) -> None:
        is_rate, limit = sets_rate(error), self.limit.value
        self.caution = max(self.caution / 2, 1 / limit) if self.others else 1.0
        if not is_rate or self.limit.may_explain(began=fetch.began, peers=fetch.peers):
            factor = RATE_CUT if is_rate else TIMEOUT_CUT if is_timeout(error) else None
            self.limit.note_refusal(began=fetch.began, peers=fetch.peers, now=now, factor=factor)
        if is_rate:
            self.rate.note_refusal(now, began=fetch.began, limit=limit, is_shared=self.others > 0)

    def _pause(self, error: AssetError, now: float) -> None:
        """Note the pause that the host asks for, if it does."""
        if isinstance(error, HttpStatusError) and error.retry_after:
            self.paused_until = max(self.paused_until, now + error.retry_after)
            if error.retry_after > SOON:
                self.availability.pause()
            if error.retry_after >= LONG_PAUSE:
                self.limit.resume(now, 1)

    def note_body(self, size: int) -> None:
        """Follow larger bodies at once, and smaller ones slowly: a dozen of them halve the difference."""
        self.is_unchanged = False
        self.body_size = max(size, self.body_size - (self.body_size - size) // 16)
