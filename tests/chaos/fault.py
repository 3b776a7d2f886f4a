"""A fault: something that goes wrong for a while."""

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from chaos.stage import Database, Stage

NO_ANSWER = frozenset({"connect_error", "connect_timeout", "read_timeout", "total_timeout"})


class Fault(ABC):
    """One fault of a run. Two with the same `part` are never there at the same time."""

    name: ClassVar[str]
    part: ClassVar[str]
    databases: ClassVar[tuple[Database, ...]] = ("sqlite", "postgres")
    lasts: ClassVar[bool] = True
    """Whether there is something to mend; else imgsvc has to help itself."""
    excuses: ClassVar[frozenset[str]] = frozenset()
    """Error codes that a good image may end with because of it."""

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.stage = stage
        self.rng = rng

    @abstractmethod
    async def begin(self) -> None:
        """Break it."""

    async def end(self) -> None:  # noqa: B027  # not every fault has to be mended
        """Mend it."""
