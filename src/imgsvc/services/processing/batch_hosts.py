"""The hosts of a batch in turn: a lane reserves fetches from each before it claims assets."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

import stamina
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import plan_on_indexes
from imgsvc.db.engine import Sessions
from imgsvc.db.queries import leases as queries
from imgsvc.db.queries.leases import HostDue
from imgsvc.domain.hosts import host_of
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.clock import Clock
from imgsvc.services.processing.rendition_plan import RenditionPlan
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_visit import HostReservation

PAGE = 256
"""Hosts read at a time."""
MET_AT_ONCE = 64
"""Hosts about which other workers are asked at a time."""
MAX_PAGES = 2
"""Pages read at a time when something was reserved; otherwise the search continues through the whole batch."""

Reservations = Mapping[int, list[HostReservation]]
"""Reserved fetches, by the number of their host in the batch."""


@dataclass(slots=True)
class _Host:
    name: str
    due_at: datetime
    """Time from which its first open asset may be claimed."""


async def hosts_page(session: AsyncSession, batch_id: str, *, after: int = -1) -> list[HostDue]:
    """Return a page of the hosts of a batch that have open assets, in order, following the host number `after`."""
    await plan_on_indexes(session)
    return await queries.hosts(session, batch_id, after=after, limit=PAGE)


class BatchHosts:
    """The hosts of a batch that have open assets, a page of them at a time, the one served longest ago first."""

    def __init__(self, plan: RenditionPlan, *, limiter: HostLimiter, sessions: Sessions, clock: Clock) -> None:
        self._plan = plan
        self._limiter = limiter
        self._sessions = sessions
        self._clock = clock
        self._page: dict[int, _Host] = {}
        self._last_number = -1
        self._is_only_page = False
        self._is_stale = True
        self._next_look: datetime | None = None
        """The earliest time at which the pages read before this one may have something to claim."""

    async def reserve(self, wanted: int) -> Reservations:
        """Reserve up to `wanted` fetches in total, evenly from the hosts that have due assets and room.

        Raises:
            DatabaseUnavailable: the hosts could not be read for half a minute.
        """
        reserved: defaultdict[int, list[HostReservation]] = defaultdict(list)
        missing = wanted
        if not self._is_stale:
            missing -= await self._reserve(missing, reserved)
        pages = 0
        while missing > 0 and (self._is_stale or not self._is_only_page) and not (reserved and pages >= MAX_PAGES):
            is_last = await self._read_page()
            pages += 1
            missing -= await self._reserve(missing, reserved)
            if is_last:
                break
        return reserved

    def note_claimed(self, number: int, *, reserved: int, claimed: int) -> None:
        """Note how many assets of a host were claimed; if fewer than reserved, it has no due ones for now."""
        if claimed < reserved:
            self._page.pop(number, None)
            self._is_stale = True

    def note_postponed(self) -> None:
        """Note that assets have been postponed, so that their hosts are read again."""
        self._is_stale = True

    async def refresh(self) -> None:
        """Read the hosts again if they may have changed.

        Raises:
            DatabaseUnavailable: the hosts could not be read for half a minute.
        """
        if self._is_stale:
            await self._read_page()

    def next_look(self) -> datetime | None:
        """Return the time at which `reserve` may give something again, as far as is known; None: no asset is open."""
        return self._earlier(self._next_look, self._look_at_page())

    async def _reserve(self, wanted: int, reserved: dict[int, list[HostReservation]]) -> int:
        """Reserve from the hosts of this page: first an even share of each, then the rest; return the number."""
        now, total = self._clock(), 0
        overdue = now >= self._plan.give_up_at
        due = [number for number, host in self._page.items() if host.due_at <= now]
        for at_most in (ceil(wanted / max(1, len(due))), wanted):
            for position, number in enumerate(due):
                if total == wanted:
                    return total
                if position % MET_AT_ONCE == 0:
                    await self._limiter.meet(self._page[each].name for each in due[position : position + MET_AT_ONCE])
                host = self._page[number]
                fetches = self._limiter.reserve(
                    host.name, self._plan.flow, min(at_most, wanted - total), overdue=overdue
                )
                if fetches:
                    reserved[number] += fetches
                    total += len(fetches)
                    self._page[number] = self._page.pop(number)  # its turn comes again after the others
            due = [number for number in due if len(reserved.get(number, ())) >= at_most]
        return total

    async def _read_page(self) -> bool:
        """Read the next page of hosts, or the first one after the last; return whether it was the last."""
        is_first = (self._is_stale and self._is_only_page) or self._last_number == -1
        after = -1 if is_first else self._last_number
        self._next_look = None if is_first else self._earlier(self._next_look, self._look_at_page())
        tries = stamina.retry_context(on=DatabaseUnavailable, attempts=None, wait_initial=0.2, wait_max=3, timeout=30)
        async for attempt in tries:
            with attempt:
                async with self._sessions.read() as session:
                    rows = await hosts_page(session, self._plan.batch_id, after=after)
        return self._take(rows, is_first=is_first)

    def begin(self, rows: Sequence[HostDue]) -> None:
        """Begin with the first page, which the caller has read together with the batch."""
        self._take(rows, is_first=True)

    def _take(self, rows: Sequence[HostDue], *, is_first: bool) -> bool:
        """Replace the page; return whether it was the last."""
        self._page = {row.number: _Host(host_of(row.origin_url), row.due_at) for row in rows}
        is_last = len(rows) < PAGE
        self._last_number = -1 if is_last else rows[-1].number
        self._is_only_page = is_first and is_last
        self._is_stale = False
        return is_last

    def _look_at_page(self) -> datetime | None:
        now = self._clock()
        looks = (
            host.due_at
            if host.due_at > now
            else now + timedelta(seconds=self._limiter.wait(host.name, self._plan.flow))
            for host in self._page.values()
        )
        return min(looks, default=None)

    @staticmethod
    def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
        return min((each for each in (one, other) if each), default=None)
