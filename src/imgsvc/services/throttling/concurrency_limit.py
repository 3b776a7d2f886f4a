"""The limit of concurrent fetches from a host, found from its latency and lowered by its refusals."""

from dataclasses import dataclass, field
from math import inf
from statistics import median

from imgsvc.services.throttling.host_estimate import SAME_TIME, HostEstimate

INITIAL_LIMIT = 8
"""Concurrent fetches from an unknown host."""
TOLERANCE = 0.1
"""Seconds by which answers may be later than from an idle host before they count as queued: our own event loop may be
busy, and connections must be made."""
QUEUE = 3
"""Fetches that may queue at the host, so that it always has work; an eighth of the limit more."""
MAX_IDLE_LATENCY = 4.0
"""Seconds; a host that takes longer may time out when it has more to do, so it is never asked as if it were idle."""
MIN_SAMPLE = 4
"""Answers that are compared; more if the limit is higher."""
HOLD, HOLD_ANSWERS = 5.0, 20
"""Seconds and answers after a refusal during which the limit stays below the number in flight that was refused."""
SHARED_CUT, SETTLED = 0.75, 0.2
"""The factor by which one refusal lowers a limit at most that several workers share, and the seconds until another one
does: until then, some have not heard of it."""
RESUMED_LIMIT = 8
"""Concurrent fetches from a host that answers again."""


@dataclass(slots=True)
class ConcurrencyLimit:
    """A limit that doubles while a host's answers are as quick as when it is idle, and falls when they queue.

    A host that works on fewer requests than it accepts lets the others wait, so that each further request makes all
    answers later and none sooner. The number that waits follows from the latencies (Little's law): of `value` requests,
    `value × idle latency / latency` are worked on. This is how TCP Vegas (Brakmo and Peterson, 1995) finds its window.
    The latency is the median of a sample, because a few URLs may be slow for reasons of their own; it ends with the
    response's headers, because bodies differ in size; and only fetches begun after the last change are compared.
    """

    maximum: float
    value: float
    idle_latency: float | None = None
    """Seconds until an answer when nothing queues; None before the first sample."""
    doubling: bool = True
    """True until the first shrink: then the limit grows by a quarter at a time."""
    ceiling: float = inf
    """The number in flight at which nothing was refused; exceeded every `HOLD` seconds, by one at first."""
    share: float = 1.0
    """The part of the limit that this worker uses, and so of the answers that it sees."""
    lag: float = 0.0
    """Seconds by which our own event loop is late, and answers seem to be."""
    proven: float = 0
    """The largest number in flight at which the host has answered since its last refusal."""
    changed_at: float = -inf
    refused_at: float = -inf
    _adopted_at: float = -inf
    _is_refusing: bool = False
    """True from a refusal until the next answer."""
    _answers: int = 0
    """Answers since the last refusal, or since the ceiling was raised."""
    _step: int = 1
    """By how much the ceiling is raised next: twice as much each time, until a refusal."""
    _latencies: list[float] = field(default_factory=list)
    _peak: float = 0
    _before: tuple[float, float, float] | None = None
    """The limit, the largest number in flight and the latency before the last shrink, until it has been checked."""
    _sample: tuple[float, float] | None = None
    """The largest number in flight and the latency of the last sample."""

    def note_answer(self, latency: float, *, began: float, peers: float, in_flight: float, now: float) -> None:
        """Note an answer, `latency` seconds after a request; `peers` were in flight when it began, itself included."""
        self._is_refusing = False
        self._answers += 1
        if began < self.changed_at:
            return
        self.proven = max(self.proven, peers)
        self._latencies.append(latency)
        self._peak = max(self._peak, in_flight)
        if len(self._latencies) >= max(MIN_SAMPLE, self.value * self.share / 2):
            self._adjust(now)

    def _adjust(self, now: float) -> None:
        latency, peak = median(self._latencies), self._peak
        self._sample = peak, latency
        if self.idle_latency is None:
            self.idle_latency = min(self._latencies)
        if latency < self.idle_latency:
            self.idle_latency += (latency - self.idle_latency) / 4
        self._latencies.clear()
        self._peak = 0
        if self._before and self._was_in_vain(peak, latency):
            return self._undo(latency, now)
        self._before = None
        idle = self.idle_latency + TOLERANCE + self.lag
        if self.value * (1 - idle / max(idle, latency)) > QUEUE + self.value / 8:
            self._before = self.value, peak, latency
            self.doubling = False
            self._change(max(self.value / 2, self.value * idle / latency + QUEUE / 2), now)
        elif peak >= 0.8 * self.value:
            self._grow(now)
        return None

    def _was_in_vain(self, peak: float, latency: float) -> bool:
        """Return whether fewer fetches in flight made the answers hardly sooner, so that they were not queued.

        If they are much later than before, a queue was still growing: then nothing follows yet.
        """
        assert self._before is not None  # noqa: S101
        _, peak_before, latency_before = self._before
        return 1 - (1 - peak / peak_before) / 4 < latency / latency_before < 1.25

    def _undo(self, latency: float, now: float) -> None:
        """Return to the limit before the shrink: the host itself is as slow as this now."""
        assert self._before is not None  # noqa: S101
        value, _, _ = self._before
        self.idle_latency, self.doubling, self._before = min(latency, MAX_IDLE_LATENCY), True, None
        self._change(value, now)

    def _grow(self, now: float) -> None:
        grown = self.value * 2 if self.doubling else self.value + max(1.0, self.value / 4)
        if grown > self.ceiling:
            if now - self.refused_at < HOLD or self._answers < HOLD_ANSWERS * self.share:
                grown = max(self.value, self.ceiling)
            else:
                self.ceiling, self.refused_at, self._answers = self.ceiling + self._step, now, 0
                self._step *= 2
                grown = self.ceiling
        if min(grown, self.maximum) > self.value:
            self._change(grown, now)

    def may_explain(self, *, began: float, peers: float) -> bool:
        """Return whether a host may have refused a fetch because too many others were in flight.

        It has not if it has answered with as many in flight, or if it refuses fewer as well.
        """
        return peers > self.proven and not (self._is_refusing and began >= self.refused_at)

    def note_refusal(self, *, began: float, peers: float, now: float, factor: float | None) -> None:
        """Lower the limit after a refusal of a fetch that began after the last one.

        It falls by `factor`. Without one, the refusal shows how many were too many; if the next is refused as well, the
        limit is halved.
        """
        is_shared = self.share < 1
        if began < max(self.refused_at + (SETTLED if is_shared else 0), self._adopted_at):
            return
        lowered = self.value * (factor or (0.5 if self._is_refusing and not is_shared else 1))
        if factor is None and peers > 1:
            # The fetches of other workers are known as of the last exchange: there may be more.
            self.ceiling = min(self.value, max(peers - 1, self.value * SHARED_CUT if is_shared else 1))
            lowered = min(lowered, self.ceiling)
        self.doubling, self.refused_at, self._before = False, now, None
        self._is_refusing, self._answers, self._step = True, 0, 1
        self.proven = min(self.proven, lowered)
        self._change(lowered, now)

    def resume(self, now: float, value: float) -> None:
        """Begin again with the limit `value`, after an outage or a long pause."""
        self.doubling, self.ceiling, self._before = True, inf, None
        self._change(value, now)

    def cap(self, maximum: float, now: float) -> None:
        """Set the maximum; a limit above it falls to it."""
        self.maximum = maximum
        if self.value > maximum:
            self._change(maximum, now)

    def adopt(self, estimate: HostEstimate, now: float) -> None:
        """Take over the limit that another worker has found."""
        refused_at = -inf if estimate.refused_at is None else estimate.refused_at
        self._before = None
        if refused_at > self.refused_at + SAME_TIME:
            self._adopted_at = now  # what began before is refused for the same reason
            self.proven = min(self.proven, estimate.limit)
        elif estimate.limit < self.value and self._sample:
            self._before = self.value, *self._sample  # this worker checks as well whether the shrink was in vain
        self.refused_at = refused_at
        self.idle_latency, self.doubling = estimate.idle_latency, estimate.doubling
        self.ceiling = inf if estimate.ceiling is None else estimate.ceiling
        if estimate.limit != self.value:
            self._change(estimate.limit, now)

    def _change(self, value: float, now: float) -> None:
        self.value = min(max(1.0, value), self.maximum)
        self.changed_at = now
        self._latencies.clear()
        self._peak = 0
