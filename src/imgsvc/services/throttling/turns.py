"""Turns between contenders, by virtual time (start-time fair queueing: Goyal, Vin and Cheng, 1996)."""

from bisect import bisect_left, insort
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

OUT, QUEUED, PARKED = range(3)
"""The places of a contender. Plain numbers, because members of an enumeration are slow to look up."""


class Contender:
    """Takes turns with others; one of weight 2 gets twice as many units as one of weight 1."""

    __slots__ = ("need", "order", "place", "start", "weight")

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.place = OUT
        self.start = 0.0
        """The virtual time of its next turn."""
        self.need = 0.0
        """The room for which it waits while it is parked."""
        self.order = 0
        """Breaks ties: the contender that came first is the first."""


C = TypeVar("C", bound=Contender)


class Turns(Generic[C]):
    """Contenders in the order of their turns; each operation costs the logarithm of their number.

    A turn moves a contender back by the units that it took, divided by its weight. One that was away joins at the
    present virtual time: it gets no credit for the past. One that needs more room than there is can be parked; it is
    back as soon as the room suffices, or when it joins again because it needs less.
    """

    __slots__ = ("_now", "_order", "_parked", "_queue")

    def __init__(self) -> None:
        self._now = 0.0
        self._order = 0
        self._queue: list[tuple[float, int, C]] = []
        """A heap, by the start of the next turn."""
        self._parked: list[tuple[float, int, C]] = []
        """Sorted by need."""

    @property
    def least_need(self) -> float:
        """The least room for which a parked contender waits; there must be one."""
        return self._parked[0][0]

    def join(self, contender: C) -> None:
        """Queue `contender` unless it is queued already."""
        if contender.place == QUEUED:
            return
        if contender.place == PARKED:
            del self._parked[bisect_left(self._parked, (contender.need, contender.order))]
        contender.place = QUEUED
        contender.start = max(contender.start, self._now)
        contender.order = self._order = self._order + 1
        heappush(self._queue, (contender.start, contender.order, contender))

    def first(self, room: float) -> C | None:
        """Return the contender whose turn it is, once the parked one with the least need is back if `room` suffices.

        It brings back one at a time, so that the cost does not depend on how many could come.
        """
        if self._parked and self._parked[0][0] <= room:
            self.join(self._parked[0][2])
        return self._queue[0][2] if self._queue else None

    def charge(self, units: float) -> None:
        """End the turn of the first contender, which took `units`."""
        self._now, _, first = self._queue[0]
        first.start = self._now + units / first.weight
        first.order = self._order = self._order + 1
        heapreplace(self._queue, (first.start, first.order, first))

    def park(self, need: float) -> None:
        """Set the first contender aside until there is `need` room."""
        _, order, first = heappop(self._queue)
        first.place, first.need = PARKED, need
        insort(self._parked, (need, order, first))

    def drop(self) -> None:
        """Remove the first contender, which does not use its turn."""
        self._now, _, first = heappop(self._queue)
        first.place = OUT
