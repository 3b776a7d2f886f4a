"""The assets that a lane is processing, and how many more it can take."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from imgsvc.db.queries.leases import Claimed
from imgsvc.services.processing.outcomes import Outcome

CONDITIONAL_COST = 1 / 4
"""The share of a slot that a conditional fetch takes: a 304 has no body, and no image is decoded. If each took a whole
slot, an unchanged catalogue would have to wait for the latency of its origin."""

AssetTask = asyncio.Task[Outcome]


class _Entry(NamedTuple):
    asset: Claimed
    conditional: bool


@dataclass(slots=True)
class InFlight:
    """The running tasks of claimed assets, which share `slots` slots."""

    slots: int
    _entries: dict[AssetTask, _Entry] = field(default_factory=dict)
    _ended: list[AssetTask] = field(default_factory=list)
    _one_ended: asyncio.Event = field(default_factory=asyncio.Event)
    _conditional_share: float = 0
    """The share of conditional fetches in the last claim."""

    @property
    def to_claim(self) -> int:
        """The number of assets to claim, assuming the last claim's share of conditional fetches. May overshoot."""
        conditional = sum(entry.conditional for entry in self._entries.values())
        free = self.slots - (len(self._entries) - (1 - CONDITIONAL_COST) * conditional)
        return max(0, int(free * self._per_slot))

    @property
    def _per_slot(self) -> float:
        """The assets that a slot takes, assuming the last claim's share of conditional fetches."""
        return 1 / (1 - (1 - CONDITIONAL_COST) * self._conditional_share)

    def enough_to_flush(self, slots: int) -> int:
        """Return the finished assets that fill `slots`; of conditional fetches, not more than half of those here."""
        return max(slots, min(int(slots * self._per_slot), len(self._entries) // 2))

    @property
    def positions(self) -> list[int]:
        return [entry.asset.position for entry in self._entries.values()]

    def start(
        self,
        asset: Claimed,
        work: Coroutine[Any, Any, Outcome],
        *,
        conditional: bool,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        """Run `work` as a task; `at_end` is called when it ends in any way, even before its first step."""
        task = asyncio.create_task(work)
        self._entries[task] = _Entry(asset, conditional)
        if at_end:
            task.add_done_callback(lambda _: at_end())
        task.add_done_callback(self._note_end)

    def _note_end(self, work: AssetTask) -> None:
        self._ended.append(work)
        self._one_ended.set()

    def note_claim(self, *, assets: int, conditional: int) -> None:
        if assets:
            self._conditional_share = conditional / assets

    async def ended(self, *, within: float) -> list[Outcome]:
        """Return the outcomes of the tasks that ended since the last call; wait up to `within` seconds for the first.

        This does not use `asyncio.wait`, which adds a callback to every task and removes it for each one that ends.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._one_ended.wait()
        self._one_ended.clear()
        ended, self._ended = self._ended, []
        for work in ended:
            del self._entries[work]
        return [work.result() for work in ended]

    async def cancel(self) -> dict[AssetTask, Claimed]:
        """Cancel all tasks and return them, done or cancelled. If this is cancelled itself, it can be called again."""
        entries = dict(self._entries)
        for work in entries:
            work.cancel()
        await asyncio.gather(*entries, return_exceptions=True)
        self._entries.clear()
        self._ended.clear()
        return {work: entry.asset for work, entry in entries.items()}

    def __bool__(self) -> bool:
        return bool(self._entries)


async def run_to_completion(ending: Coroutine[Any, Any, None]) -> None:
    """Await `ending` even if the caller is cancelled again in the meantime."""
    task = asyncio.create_task(ending)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
