"""A gate that is fair between batches: fetches, bytes and pixels are handed out through one."""

import asyncio
from collections import OrderedDict, deque
from contextlib import suppress
from types import TracebackType
from typing import Self


class FairGate:
    """A number of units (fetches, bytes, pixels) shared among keys (batches).

    Waiters are served in turn by key and in order within a key, so that the three images of a small batch never wait
    behind the thousands of a large one. The next in turn is waited for even when a smaller request would fit: a large
    one is never starved.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0
        self._queues: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    async def acquire(self, key: str, amount: int = 1) -> "Lease":
        """Wait for `amount` units; more than the gate has is taken for all that it has."""
        amount = min(amount, self.capacity)
        if not self._queues and self._used + amount <= self.capacity:
            self._used += amount
            return Lease(self, amount)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self._forget(key, amount, turn)
            raise
        return Lease(self, amount)

    def _forget(self, key: str, amount: int, turn: "asyncio.Future[None]") -> None:
        if turn.done() and not turn.cancelled():  # the turn came in the moment of the cancellation
            self.give_back(amount)
            return
        queue = self._queues.get(key, deque())
        with suppress(ValueError):  # others were cancelled with it, and one that gave back has passed it over
            queue.remove((amount, turn))
            if not queue:
                del self._queues[key]
        self._serve()

    def try_take(self, amount: int) -> bool:
        """Take `amount` units if they are free, before those who wait.

        It is for leases that grow: a body that is half there needs its memory more than one that has not begun. Those
        who wait are served in the end, because no new ones are let in before them.
        """
        if self._used + amount > self.capacity:
            return False
        self._used += amount
        return True

    def give_back(self, amount: int) -> None:
        self._used -= amount
        self._serve()

    def resize(self, capacity: int) -> None:
        """Change how many units there are; those handed out above it are waited for, not taken back."""
        self.capacity = capacity
        self._serve()

    @property
    def idle(self) -> bool:
        return not self._used and not self._queues

    def _serve(self) -> None:
        while self._queues:
            key, queue = next(iter(self._queues.items()))
            amount, turn = queue[0]
            if not turn.cancelled():
                if self._used + min(amount, self.capacity) > self.capacity:
                    return
                self._used += amount
                self._queues.move_to_end(key)
                turn.set_result(None)
            queue.popleft()
            if not queue:
                del self._queues[key]


class Lease:
    """Units held from a gate until the block ends; `release` may be called twice."""

    __slots__ = ("_amount", "_gate")

    def __init__(self, gate: FairGate, amount: int) -> None:
        self._gate = gate
        self._amount = amount

    def grow(self, size: int) -> bool:
        """Hold at least `size` units in all; False when they are not free now. (This is the port `Room`.)"""
        more = min(size, self._gate.capacity) - self._amount
        if more > 0:
            if not self._gate.try_take(more):
                return False
            self._amount += more
        return True

    def shrink(self, size: int) -> None:
        """Hold at most `size` units from here on."""
        if size < self._amount:
            freed, self._amount = self._amount - size, size
            self._gate.give_back(freed)

    def release(self) -> None:
        self.shrink(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.release()
