"""One limit of a host for all workers: they publish what they find out, and divide the limit."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from imgsvc.errors import QueueUnavailable
from imgsvc.services.throttling.host_estimate import HostEstimate
from imgsvc.services.throttling.host_state import HostState
from imgsvc.services.throttling.shared_host import Entry, Report, SharedHost

INTERVAL, INTERVAL_WITHOUT_BOARD = 0.1, 1.0
"""Seconds between two exchanges, while there are fetches."""
INTERVAL_PER_HOST = 0.0025
"""Seconds between two exchanges for each host, so that they take at most a fiftieth of the worker's time."""


class HostBoard(Protocol):
    """The shared memory of the workers about hosts."""

    async def exchange(self, worker: str, reports: Mapping[str, Report]) -> tuple[float, dict[str, Entry]]:
        """Store the reports of a worker; return the time in seconds, and the entries of the same hosts.

        An estimate is stored if it is based on the latest version, or if its refusal is later than the stored one.

        Raises:
            QueueUnavailable: the board is unavailable.
        """


@dataclass(slots=True)
class HostSharing:
    """Keeps the limits of the hosts in use the same in all workers.

    Each worker runs the whole control of a host as if it were alone, with the fetches of all workers in mind
    (`HostState.peers`), and publishes its estimate when it changes; the others adopt it. While the board is
    away, each keeps the share that it had.
    """

    board: HostBoard
    worker: str
    clock: Callable[[], float] = monotonic
    _hosts: dict[str, SharedHost] = field(default_factory=dict)
    _ahead: float = 0.0
    """Seconds by which the clock of the board is ahead of ours."""
    _is_away: bool = False
    _in_use: asyncio.Event = field(default_factory=asyncio.Event)
    _has_shrunk: asyncio.Event = field(default_factory=asyncio.Event)

    async def meet(self, states: Mapping[str, HostState]) -> None:
        """Get a share of the hosts that this worker has not used lately."""
        new = [name for name in states if name not in self._hosts]
        if not new:
            return
        self._hosts |= {name: SharedHost(states[name]) for name in new}
        if not self._is_away:
            await self._exchange(new)
        self._in_use.set()

    async def run(self) -> None:
        """Exchange reports at intervals, for as long as there are fetches; runs until it is cancelled."""
        while True:
            await self._in_use.wait()
            self._has_shrunk.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval()):
                    await self._has_shrunk.wait()
            await self._exchange(list(self._hosts))
            if not self._hosts:
                self._in_use.clear()

    def _interval(self) -> float:
        shortest = INTERVAL_WITHOUT_BOARD if self._is_away else INTERVAL
        return min(max(shortest, INTERVAL_PER_HOST * len(self._hosts)), INTERVAL_WITHOUT_BOARD)

    async def _exchange(self, names: Iterable[str]) -> None:
        """Publish what is known of these hosts, and adopt what others know; the board has a clock of its own."""
        now, hosts = self.clock(), {name: self._hosts[name] for name in names}
        news = {name: host.news() for name, host in hosts.items()}
        reports = {
            name: Report(hosts[name].version, published and published.shifted(self._ahead), hosts[name].use(now))
            for name, published in news.items()
        }
        try:
            time, entries = await self.board.exchange(self.worker, reports)
        except QueueUnavailable:
            self._is_away = True
            for host in hosts.values():
                host.keep_share()
            return
        self._is_away, self._ahead = False, time - self.clock()
        for name, entry in entries.items():
            if reports[name].use is None and hosts[name].use(now) is None:
                self._hosts.pop(name, None)
            else:
                self._read(hosts[name], entry, reports[name], news[name], time)

    def _read(
        self, host: SharedHost, entry: Entry, report: Report, published: HostEstimate | None, time: float
    ) -> None:
        now = self.clock()
        if entry.estimate and entry.estimate != report.estimate:
            entry = entry._replace(estimate=entry.estimate.shifted(-self._ahead))
        else:
            entry = entry._replace(estimate=published)
        host.read(entry, published, now)
        if report.use and host.divide(self.worker, {**entry.uses, self.worker: report.use}, time=time, now=now):
            self._has_shrunk.set()


@asynccontextmanager
async def open_sharing(board: HostBoard) -> AsyncIterator[HostSharing]:
    """Share the limits of hosts with the other workers until the block ends."""
    sharing = HostSharing(board, worker=secrets.token_hex(8))
    task = asyncio.create_task(sharing.run())
    try:
        yield sharing
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
