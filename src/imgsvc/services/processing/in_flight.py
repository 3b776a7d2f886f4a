"""What a lane works on at one time, and how much more it has room for."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from imgsvc.db.queries.leases import Claimed
from imgsvc.services.processing.outcomes import Outcome

KNOWN_SHARE = 1 / 4
"""The part of a place that an asset takes whose origin is only asked whether it has changed: the answer is a line, and
no image is decoded. With a place for each, an unchanged catalogue would go at the pace of its origin's latency."""

Work = asyncio.Task[Outcome]


class _Entry(NamedTuple):
    asset: Claimed
    known: bool


@dataclass(slots=True)
class InFlight:
    """Work under way on claimed assets, in so many places."""

    places: int
    _entries: dict[Work, _Entry] = field(default_factory=dict)
    _ended: list[Work] = field(default_factory=list)
    _one_ended: asyncio.Event = field(default_factory=asyncio.Event)
    _known_lately: float = 0
    """Which part of what was claimed last has been made into something before."""

    @property
    def room(self) -> int:
        """Assets to claim, if as many are known as of those claimed last; else there is less than none later."""
        saved = 1 - KNOWN_SHARE
        known = sum(entry.known for entry in self._entries.values())
        free = self.places - (len(self._entries) - saved * known)
        return max(0, int(free / (1 - saved * self._known_lately)))

    @property
    def positions(self) -> list[int]:
        return [entry.asset.position for entry in self._entries.values()]

    def start(self, asset: Claimed, work: Coroutine[Any, Any, Outcome], *, known: bool) -> None:
        task = asyncio.create_task(work)
        self._entries[task] = _Entry(asset, known)
        task.add_done_callback(self._note_end)

    def _note_end(self, work: Work) -> None:
        self._ended.append(work)
        self._one_ended.set()

    def note_claim(self, *, assets: int, known: int) -> None:
        if assets:
            self._known_lately = known / assets

    async def ended(self, *, within: float) -> list[Outcome]:
        """The outcomes of what has ended since this was last asked; waits `within` seconds for one.

        Not `asyncio.wait`, which adds a callback to each task and takes it away again for every one that ends.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._one_ended.wait()
        self._one_ended.clear()
        ended, self._ended = self._ended, []
        for work in ended:
            del self._entries[work]
        return [work.result() for work in ended]

    async def cancel(self) -> dict[Work, Claimed]:
        """Stop everything; gives the tasks, all done or cancelled. When cancelled itself, it can be called again."""
        entries = dict(self._entries)
        for work in entries:
            work.cancel()
        await asyncio.gather(*entries, return_exceptions=True)
        self._entries.clear()
        self._ended.clear()
        return {work: entry.asset for work, entry in entries.items()}

    def __bool__(self) -> bool:
        return bool(self._entries)
