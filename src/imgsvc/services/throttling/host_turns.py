"""Turns at one host: its room is divided among the flows that want it."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import TypeVar

from imgsvc.services.throttling.flow import Flow

T = TypeVar("T")

FRESH = 1.2
"""Seconds within which a lane asks again that has no fetch in flight, unless it has ended."""
REMEMBERED = 3.0
"""Seconds for which a flow's share is kept for it after it has asked; a lane asks again within this time."""


@dataclass(slots=True)
class _Demand:
    asked_at: float
    wanted: int


class HostTurns:
    """Divides room between API keys, by weight, and within a key between batches: who has had least is next.

    Those who were given less than they wanted are remembered, and room that is theirs in turn is kept for them.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """`weights` of API keys; 1 for those not named there."""
        self._weights = weights
        self._demands: dict[Flow, _Demand] = {}
        self._given: Counter[Flow] = Counter()
        self._had_by_key: dict[str, float] = {}
        """The places given to each key, divided by its weight."""

    def take(self, flow: Flow, wanted: int, room: int, now: float) -> int:
        """Return how many of `room` places `flow` gets, which wants `wanted`."""
        self._forget(now)
        self._admit(flow)
        self._demands[flow] = _Demand(now, wanted)
        given = min(wanted, room) if len(self._demands) == 1 else self._divide(flow, room)
        self._given[flow] += given
        self._had_by_key[flow.api_key_id] += given / self._weight(flow.api_key_id)
        self._demands[flow].wanted -= given
        return given

    def before(self, flow: Flow, now: float) -> int:
        """Return the flows that wait for a turn until that of `flow`: keys take turns, and those of a key."""
        waiting = [
            each.api_key_id
            for each, demand in self._demands.items()
            if demand.wanted > 0 and now - demand.asked_at <= REMEMBERED
        ]
        return len(set(waiting)) * waiting.count(flow.api_key_id)

    def unmet(self, now: float, *, within: float) -> int:
        """Return the places that flows have asked for `within` these seconds and not been given."""
        return sum(demand.wanted for demand in self._demands.values() if now - demand.asked_at <= within)

    def _forget(self, now: float) -> None:
        for flow in [flow for flow, demand in self._demands.items() if now - demand.asked_at > REMEMBERED]:
            del self._demands[flow], self._given[flow]
        keys = {flow.api_key_id for flow in self._demands}
        for key in [key for key in self._had_by_key if key not in keys]:
            del self._had_by_key[key]

    def _admit(self, flow: Flow) -> None:
        """Let a new flow begin with the least that another has had, so that it need not make up for the past."""
        if flow.api_key_id not in self._had_by_key:
            self._had_by_key[flow.api_key_id] = min(self._had_by_key.values(), default=0.0)
        if flow not in self._given:
            others = [given for other, given in self._given.items() if other.api_key_id == flow.api_key_id]
            self._given[flow] = min(others, default=0)

    def _divide(self, flow: Flow, room: int) -> int:
        """Deal `room` places one by one to all who want some; return the number that `flow` gets."""
        wanted = {each: demand.wanted for each, demand in self._demands.items() if demand.wanted > 0}
        batches: defaultdict[str, list[tuple[float, Flow]]] = defaultdict(list)
        for each in wanted:
            batches[each.api_key_id].append((self._given[each], each))
        keys = [(self._had_by_key[key], key) for key in batches]
        heapify(keys)
        for heap in batches.values():
            heapify(heap)
        given = 0
        while room and given < self._demands[flow].wanted:
            had_by_key, key = keys[0]
            had, turn = batches[key][0]
            given += turn == flow
            wanted[turn] -= 1
            _replace_first(batches[key], (had + 1, turn) if wanted[turn] else None)
            _replace_first(keys, (had_by_key + 1 / self._weight(key), key) if batches[key] else None)
            room -= 1
        return given

    def _weight(self, api_key_id: str) -> float:
        return self._weights.get(api_key_id, 1.0)


def _replace_first(heap: list[tuple[float, T]], item: tuple[float, T] | None) -> None:
    if item is None:
        heappop(heap)
    else:
        heapreplace(heap, item)
