"""The units of a semaphore that each API key and each batch holds, and how many more they may take."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from math import inf

from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.turns import OUT, Contender, Turns

Request = tuple[int, "asyncio.Future[None]"]
"""A number of units, and the future that is set when they are granted."""


class BatchShare(Contender):
    """The units that a batch holds, and its waiting requests."""

    __slots__ = ("batch_id", "held", "key", "requests")

    def __init__(self, batch_id: str, key: "KeyShare") -> None:
        super().__init__()
        self.batch_id = batch_id
        self.key = key
        self.held = 0
        self.requests: deque[Request] = deque()


class KeyShare(Contender):
    """The units that an API key holds, the number of its waiting requests, and the turns of its batches."""

    __slots__ = ("api_key_id", "batches", "held", "turns", "waiting")

    def __init__(self, api_key_id: str, weight: float) -> None:
        super().__init__(weight)
        self.api_key_id = api_key_id
        self.held = 0
        self.waiting = 0
        self.batches: dict[str, BatchShare] = {}
        self.turns: Turns[BatchShare] = Turns()


class Shares:
    """The parts of `capacity` units that keys and batches hold.

    With `max_held_per_free`, here r, a key of weight 1 may hold (r + 1) times the free units, and a batch that holds
    some may hold r times what its key can still take afterwards. So a single batch gets r / (r + 1) of the capacity.
    The first request of a key may take everything, and the first one of a batch everything that its key may have.

    The limits of the other keys are smaller than that of the heaviest one present, in proportion to the weights.
    """

    __slots__ = ("_batch_ratio", "_key_weights", "_weights", "capacity", "keys", "used")

    def __init__(self, capacity: int, max_held_per_free: float | None, weights: Mapping[str, float]) -> None:
        self.capacity = capacity
        self.used = 0
        self.keys: dict[str, KeyShare] = {}
        """The keys that hold units, wait for some, or have had a turn that other keys have not caught up with."""
        self._key_weights: Counter[float] = Counter()
        self._batch_ratio = max_held_per_free
        self._weights = weights

    @property
    def of_single_batch(self) -> int:
        """The units that one batch can hold while no other holds any."""
        ratio = self._batch_ratio
        return self.capacity if ratio is None else int(self.capacity * ratio / (1 + ratio))

    def get(self, flow: Flow) -> BatchShare:
        """Return the share of `flow`; a new one must be forgotten if it stays empty."""
        key = self.keys.get(flow.api_key_id)
        if key is None:
            key = self.keys[flow.api_key_id] = KeyShare(flow.api_key_id, self._weights.get(flow.api_key_id, 1.0))
            if self._weights:
                self._key_weights[key.weight] += 1
        batch = key.batches.get(flow.batch_id)
        if batch is None:
            batch = key.batches[flow.batch_id] = BatchShare(flow.batch_id, key)
        return batch

    def forget(self, batch: BatchShare) -> None:
        """Forget `batch`, and its key, if they hold nothing and take no turns."""
        if batch.place == OUT and not batch.held:
            batch.key.batches.pop(batch.batch_id, None)
            self.forget_key(batch.key)

    def forget_key(self, key: KeyShare) -> None:
        if key.batches or key.place != OUT:
            return
        del self.keys[key.api_key_id]
        if self._weights:
            self._key_weights[key.weight] -= 1
            if not self._key_weights[key.weight]:
                del self._key_weights[key.weight]

    def take(self, batch: BatchShare, amount: int) -> None:
        """Give `amount` units to `batch`, or take back a negative amount."""
        self.used += amount
        batch.held += amount
        batch.key.held += amount

    def need(self, batch: BatchShare, amount: int) -> float:
        """Return the room that its key must have before `batch` may take `amount` units more."""
        if self._batch_ratio is None or not batch.held:
            return amount
        return amount + (batch.held + amount) / self._batch_ratio

    def room_of(self, key: KeyShare) -> float:
        """Return the units that `key` may take beyond those that it holds."""
        return self.key_room() * key.weight - key.held if key.held else inf

    def key_room(self) -> float:
        """Return the units that a key may hold for each unit of its weight."""
        if self._batch_ratio is None:
            return inf
        return (self._batch_ratio + 1) * (self.capacity - self.used) / max(self._key_weights, default=1)

    def key_need(self, key: KeyShare) -> float:
        """Return the `key_room` for which `key` waits, all of whose waiting batches are parked."""
        return (key.turns.least_need + key.held) / key.weight
