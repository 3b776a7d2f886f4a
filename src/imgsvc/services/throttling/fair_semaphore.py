"""A semaphore that is fair between batches; it limits fetches, bytes of bodies and pixels."""

import asyncio
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from types import TracebackType
from typing import Self


class FairSemaphore:
    """A number of units (fetches, bytes, pixels) shared among keys (batches).

    Waiting requests are granted round-robin between keys and first come, first served within a key, so that the three
    images of a small batch never wait for the thousands of a large one. A request never overtakes the next one in that
    order, even if it would fit, so that large requests are not starved.

    With `max_held_per_free`, a key that holds units may hold at most that many times the number of free ones. With 3, a
    single key gets at most three quarters, two get three sevenths each, and some units are always left for another
    key, however long the others keep theirs (the dynamic thresholds of Choudhury and Hahne, 1998).
    """

    def __init__(self, capacity: int, *, max_held_per_free: float | None = None) -> None:
        self.capacity = capacity
        self._max_held_per_free = max_held_per_free
        self._used = 0
        self._held: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    @property
    def used(self) -> int:
        """The units held now."""
        return self._used

    @property
    def idle(self) -> bool:
        return not self._used and not self._queues

    @property
    def single_key_share(self) -> int:
        """The units that one key can hold while no other key holds any."""
        return (
            self.capacity
            if self._max_held_per_free is None
            else int(self.capacity * self._max_held_per_free / (1 + self._max_held_per_free))
        )

    def waiting(self, key: str | None = None) -> int:
        """Return the number of waiting requests, of `key` alone if it is given."""
        queues = self._queues.values() if key is None else [self._queues.get(key, deque())]
        return sum(len(queue) for queue in queues)

    async def acquire(self, key: str, amount: int = 1) -> "Reservation":
        """Wait for `amount` units, or for all of them if `amount` exceeds the capacity."""
        if reservation := self.try_acquire(key, amount):
            return reservation
        amount = min(amount, self.capacity)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append((amount, granted))
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            self._withdraw(key, amount, granted)
            raise
        return Reservation(self, key, amount)

    def try_acquire(self, key: str, amount: int = 1) -> "Reservation | None":
        """Acquire `amount` units as `acquire` does, or return None if that would have to wait."""
        amount = min(amount, self.capacity)
        return Reservation(self, key, amount) if self._next_key() is None and self.try_take(amount, key) else None

    def _withdraw(self, key: str, amount: int, granted: "asyncio.Future[None]") -> None:
        if granted.done() and not granted.cancelled():  # granted at the moment of the cancellation
            self.release(amount, key)
            return
        queue = self._queues.get(key, deque())
        with suppress(ValueError):  # `_grant` has dropped it, after another cancelled task released its units
            queue.remove((amount, granted))
            if not queue:
                del self._queues[key]
        self._grant()

    def try_take(self, amount: int, key: str = "") -> bool:
        """Take `amount` units if they are free and `key` may have them, ahead of all waiting requests.

        This is for reservations that grow: a body that is half received needs its memory more than one that has not
        started. The waiting requests are granted eventually, because no new ones are admitted before them.
        """
        if self._used + amount > self.capacity or not self._may_have(key, amount):
            return False
        self._take(key, amount)
        return True

    def _may_have(self, key: str, amount: int) -> bool:
        if self._max_held_per_free is None or not self._held[key]:
            return True
        return self._held[key] + amount <= self._max_held_per_free * (self.capacity - self._used)

    def _take(self, key: str, amount: int) -> None:
        self._used += amount
        self._held[key] += amount

    def release(self, amount: int, key: str = "") -> None:
        self._used -= amount
        self._held[key] -= amount
        if not self._held[key]:
            del self._held[key]
        self._grant()

    def resize(self, capacity: int) -> None:
        """Change the number of units. Units held beyond it are not revoked; new requests wait until they are free."""
        self.capacity = capacity
        self._grant()

    def _next_key(self) -> str | None:
        """Return the key whose request is granted next, skipping keys that hold too much."""
        return next((key for key, queue in self._queues.items() if self._may_have(key, queue[0][0])), None)

    def _grant(self) -> None:
        while (key := self._next_key()) is not None:
            queue = self._queues[key]
            amount, granted = queue[0]
            if not granted.cancelled():
                if self._used + min(amount, self.capacity) > self.capacity:
                    return
                self._take(key, amount)
                self._queues.move_to_end(key)
                granted.set_result(None)
            queue.popleft()
            if not queue:
                del self._queues[key]


class Reservation:
    """Units of a semaphore, held until the block ends; `release` may be called twice."""

    __slots__ = ("_amount", "_key", "_semaphore")

    def __init__(self, semaphore: FairSemaphore, key: str, amount: int) -> None:
        self._semaphore = semaphore
        self._key = key
        self._amount = amount

    def grow(self, size: int) -> bool:
        """Hold at least `size` units from now on; return False when they are not free. (The port `MemoryBudget`.)"""
        more = min(size, self._semaphore.capacity) - self._amount
        if more > 0:
            if not self._semaphore.try_take(more, self._key):
                return False
            self._amount += more
        return True

    def shrink(self, size: int) -> None:
        """Hold at most `size` units from now on."""
        if size < self._amount:
            freed, self._amount = self._amount - size, size
            self._semaphore.release(freed, self._key)

    def release(self) -> None:
        self.shrink(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.release()
