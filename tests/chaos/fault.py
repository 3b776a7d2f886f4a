"""A fault: something that goes wrong for a while."""

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from chaos.stage import Database, Stage

NO_ANSWER = frozenset({"connect_error", "connect_timeout", "read_timeout", "total_timeout"})


class Fault(ABC):
    """One fault of a run. Two faults with the same `target` never overlap."""

    name: ClassVar[str]
    target: ClassVar[str]
    databases: ClassVar[tuple[Database, ...]] = ("sqlite", "postgres")
    lasts: ClassVar[bool] = True
    """The fault lasts until `end`; otherwise imgsvc has to recover by itself."""
    excuses: ClassVar[frozenset[str]] = frozenset()
    """Error codes that the fault may cause on good images."""

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.stage = stage
        self.rng = rng

    @abstractmethod
    async def begin(self) -> None:
        """Cause the fault."""

    async def end(self) -> None:  # noqa: B027  # some faults need no repair
        """Repair it."""
