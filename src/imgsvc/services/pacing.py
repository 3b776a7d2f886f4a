"""Who may go next: a gate that is fair between batches, and a pace for each host that follows how it copes."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Self

from imgsvc.errors import AssetError, ConnectTimeout, HttpStatusError


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
        """Take `amount` units if they are free and nobody waits for them."""
        if self._queues or self._used + amount > self.capacity:
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


class HostPaused(Exception):  # not an error: a reason to come back later
    """The host asked to be left alone for `seconds` more."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"paused for {seconds:.1f} s")
        self.seconds = seconds


@dataclass(slots=True)
class _Host:
    gate: FairGate
    limit: float
    paused_until: float = 0.0
    waiting: int = field(default=0)


class HostPacer:
    """How many fetches each host gets at one time: additive increase, multiplicative decrease.

    A 429, a 503 or a connect time-out halves a host's limit, each success adds one up to the maximum; `Retry-After`
    pauses that host alone. Waits longer than `patience` (seconds) are not waited for: `HostPaused` says so.
    """

    def __init__(self, *, maximum: int, patience: float = 3.0) -> None:
        self._maximum = maximum
        self._patience = patience
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def slot(self, host: str, key: str) -> AsyncIterator[None]:
        """One fetch from `host` on behalf of the batch `key`; learns from the error that leaves the block.

        Raises:
            HostPaused: the host wants a longer rest.
        """
        state = self._hosts.get(host) or self._hosts.setdefault(host, _Host(FairGate(self._maximum), self._maximum))
        state.waiting += 1
        try:
            await self._rest(state)
            with await state.gate.acquire(key):
                await self._rest(state)
                yield
                self._speed_up(state)
        except AssetError as error:
            self._slow_down(state, error)
            raise
        finally:
            state.waiting -= 1
            if not state.waiting and state.limit >= self._maximum and state.paused_until <= monotonic():
                self._hosts.pop(host, None)  # a host that copes needs no memory

    async def _rest(self, state: _Host) -> None:
        rest = state.paused_until - monotonic()
        if rest > self._patience:
            raise HostPaused(rest)
        if rest > 0:
            await asyncio.sleep(rest)

    def _speed_up(self, state: _Host) -> None:
        if state.limit < self._maximum:
            state.limit = min(state.limit + 1, self._maximum)
            state.gate.resize(int(state.limit))

    def _slow_down(self, state: _Host, error: AssetError) -> None:
        overloaded = isinstance(error, HttpStatusError) and error.http_status in (429, 503)
        if not overloaded and not isinstance(error, ConnectTimeout):
            return
        state.limit = max(1.0, state.limit / 2)
        state.gate.resize(int(state.limit))
        if isinstance(error, HttpStatusError) and error.retry_after:
            state.paused_until = max(state.paused_until, monotonic() + error.retry_after)
