"""Units that are held for a while, such as the memory of one image."""

from types import TracebackType
from typing import Protocol, Self

from imgsvc.services.throttling.flow import Flow


class Units(Protocol):
    """The semaphore that a reservation is made with."""

    @property
    def capacity(self) -> int: ...

    def try_take(self, amount: int, flow: Flow) -> bool: ...

    def release(self, amount: int, flow: Flow) -> None: ...


class Reservation:
    """Units of a semaphore, held until the block ends; `release` may be called twice."""

    __slots__ = ("_amount", "_flow", "_units")

    def __init__(self, units: Units, flow: Flow, amount: int) -> None:
        self._units = units
        self._flow = flow
        self._amount = amount

    def grow(self, size: int) -> bool:
        """Hold at least `size` units from now on; return False when they are not free. (The port `MemoryBudget`.)"""
        more = min(size, self._units.capacity) - self._amount
        if more > 0:
            if not self._units.try_take(more, self._flow):
                return False
            self._amount += more
        return True

    def shrink(self, size: int) -> None:
        """Hold at most `size` units from now on."""
        if size < self._amount:
            freed, self._amount = self._amount - size, size
            self._units.release(freed, self._flow)

    def release(self) -> None:
        self.shrink(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.release()
