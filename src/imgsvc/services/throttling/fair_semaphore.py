"""A gate that is fair between batches: fetches, bytes and pixels are handed out through one."""

import asyncio
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from types import TracebackType
from typing import Self


class FairSemaphore:
    """A number of units (fetches, bytes, pixels) shared among keys (batches).

    Waiters are served in turn by key and in order within a key, so that the three images of a small batch never wait
    behind the thousands of a large one. The next in turn is waited for even when a smaller request would fit: a large
    one is never starved.

    With `hoard` a key that holds something gets no more than makes it that many times what is free: of 3, one key gets
    three quarters at most, two get three sevenths each, and something is left for the next to come however long the
    others keep what they have (the dynamic thresholds of Choudhury and Hahne, 1998).
    """

    def __init__(self, capacity: int, *, hoard: float | None = None) -> None:
        self.capacity = capacity
        self._hoard = hoard
        self._used = 0
        self._held: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    @property
    def share_of_one(self) -> int:
        """Units that one key gets while no other has any."""
        return self.capacity if self._hoard is None else int(self.capacity * self._hoard / (1 + self._hoard))

    async def acquire(self, key: str, amount: int = 1) -> "Reservation":
        """Wait for `amount` units; more than the gate has is taken for all that it has."""
        if lease := self.try_acquire(key, amount):
            return lease
        amount = min(amount, self.capacity)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append((amount, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            self._forget(key, amount, turn)
            raise
        return Reservation(self, key, amount)

    def try_acquire(self, key: str, amount: int = 1) -> "Reservation | None":
        """The same without waiting; None where one would have to."""
        amount = min(amount, self.capacity)
        return Reservation(self, key, amount) if self._next() is None and self.try_take(amount, key) else None

    def _forget(self, key: str, amount: int, turn: "asyncio.Future[None]") -> None:
        if turn.done() and not turn.cancelled():  # the turn came in the moment of the cancellation
            self.release(amount, key)
            return
        queue = self._queues.get(key, deque())
        with suppress(ValueError):  # others were cancelled with it, and one that gave back has passed it over
            queue.remove((amount, turn))
            if not queue:
                del self._queues[key]
        self._serve()

    def try_take(self, amount: int, key: str = "") -> bool:
        """Take `amount` units if they are free and `key` may have them, before those who wait.

        It is for leases that grow: a body that is half there needs its memory more than one that has not begun. Those
        who wait are served in the end, because no new ones are let in before them.
        """
        if self._used + amount > self.capacity or not self._may_have(key, amount):
            return False
        self._take(key, amount)
        return True

    def _may_have(self, key: str, amount: int) -> bool:
        if self._hoard is None or not self._held[key]:
            return True
        return self._held[key] + amount <= self._hoard * (self.capacity - self._used)

    def _take(self, key: str, amount: int) -> None:
        self._used += amount
        self._held[key] += amount

    def release(self, amount: int, key: str = "") -> None:
        self._used -= amount
        self._held[key] -= amount
        if not self._held[key]:
            del self._held[key]
        self._serve()

    def resize(self, capacity: int) -> None:
        """Change how many units there are; those handed out above it are waited for, not taken back."""
        self.capacity = capacity
        self._serve()

    @property
    def idle(self) -> bool:
        return not self._used and not self._queues

    def _next(self) -> str | None:
        """The key whose turn it is: those that hold too much are passed over."""
        return next((key for key, queue in self._queues.items() if self._may_have(key, queue[0][0])), None)

    def _serve(self) -> None:
        while (key := self._next()) is not None:
            queue = self._queues[key]
            amount, turn = queue[0]
            if not turn.cancelled():
                if self._used + min(amount, self.capacity) > self.capacity:
                    return
                self._take(key, amount)
                self._queues.move_to_end(key)
                turn.set_result(None)
            queue.popleft()
            if not queue:
                del self._queues[key]


class Reservation:
    """Units held from a gate until the block ends; `release` may be called twice."""

    __slots__ = ("_amount", "_key", "_semaphore")

    def __init__(self, semaphore: FairSemaphore, key: str, amount: int) -> None:
        self._semaphore = semaphore
        self._key = key
        self._amount = amount

    def grow(self, size: int) -> bool:
        """Hold at least `size` units in all; False when they are not free now. (This is the port `Room`.)"""
        more = min(size, self._semaphore.capacity) - self._amount
        if more > 0:
            if not self._semaphore.try_take(more, self._key):
                return False
            self._amount += more
        return True

    def shrink(self, size: int) -> None:
        """Hold at most `size` units from here on."""
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
