"""One limit of a host for all workers: they publish what they find out, and divide the limit."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
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
HOSTS_AT_ONCE = 500
"""Hosts in one exchange."""
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
    _lag: float = 0.0
    _is_away: bool = False
    _has_ended: bool = False
    _in_use: asyncio.Event = field(default_factory=asyncio.Event)
    _has_shrunk: asyncio.Event = field(default_factory=asyncio.Event)

    async def meet(self, states: Mapping[str, HostState]) -> None:
        """Get a share of the hosts that this worker has not used lately."""
        new = {name: SharedHost(state) for name, state in states.items() if name not in self._hosts}
        others_meet = [self._hosts[name].met for name in states if name not in new]
        self._hosts |= new
        self._in_use.set()
        try:
            if new and not self._is_away:
                await self._exchange(new)
        finally:
            for host in new.values():
                host.met.set()
        for met in others_meet:
            await met.wait()

    async def run(self) -> None:
        """Exchange reports at intervals, for as long as there are fetches; runs until it is cancelled after `end`."""
        while not self._has_ended:
            await self._in_use.wait()
            until = self.clock() + self._interval()
            with suppress(TimeoutError):
                async with asyncio.timeout(until - self.clock()):
                    await self._has_shrunk.wait()
            self._has_shrunk.clear()
            self._note_lag(max(0.0, self.clock() - until))
            names = list(self._hosts)
            for start in range(0, len(names), HOSTS_AT_ONCE):
                await self._exchange({name: self._hosts[name] for name in names[start : start + HOSTS_AT_ONCE]})
            if not self._hosts:
                self._in_use.clear()

    def end(self) -> None:
        """Let `run` end although its cancellation is lost.

        Python 3.11's `wait_for`, which clients of Redis use, drops a cancellation that comes together with a result.
        """
        self._has_ended = True

    def _note_lag(self, lag: float) -> None:
        """Follow a longer lag of the event loop at once, and a shorter one slowly."""
        self._lag = max(lag, self._lag * 0.9)
        for host in self._hosts.values():
            host.state.limit.lag = self._lag

    def _interval(self) -> float:
        shortest = INTERVAL_WITHOUT_BOARD if self._is_away else INTERVAL
        return min(max(shortest, INTERVAL_PER_HOST * len(self._hosts)), INTERVAL_WITHOUT_BOARD)

    async def _exchange(self, hosts: Mapping[str, SharedHost]) -> None:
        """Publish what is known of these hosts, and adopt what others know; the board has a clock of its own."""
        began = self.clock()
        news = {name: host.news() for name, host in hosts.items()}
        reports = {
            name: Report(hosts[name].version, published and published.shifted(self._ahead), hosts[name].use(began))
            for name, published in news.items()
        }
        try:
            time, entries = await self.board.exchange(self.worker, reports)
        except QueueUnavailable:
            self._is_away = True
            for name, host in hosts.items():
                host.keep_share()
                self._forget_unused(name, host, reports[name])
            return
        self._is_away = False
        self._ahead = min(max(self._ahead, time - self.clock()), time - began)
        for name, entry in entries.items():
            if not self._forget_unused(name, hosts[name], reports[name]):
                self._read(hosts[name], entry, reports[name], news[name], time)

    def _forget_unused(self, name: str, host: SharedHost, report: Report) -> bool:
        """Forget a host that has had no fetches since its last report; return whether it is forgotten."""
        if report.use is None and host.use(self.clock()) is None:
            self._hosts.pop(name, None)
            return True
        return False

    def _read(
        self, host: SharedHost, entry: Entry, report: Report, published: HostEstimate | None, time: float
    ) -> None:
        now = self.clock()
        if entry.estimate and entry.estimate != report.estimate:
            entry = entry._replace(estimate=entry.estimate.shifted(-self._ahead).not_after(now))
        else:
            entry = entry._replace(estimate=published)
        host.read(entry, published, now)
        if report.use and host.divide(self.worker, {**entry.uses, self.worker: report.use}, time=time, now=now):
            self._has_shrunk.set()


@asynccontextmanager
async def open_sharing(board: HostBoard) -> AsyncIterator[HostSharing]:
    """Share the limits of hosts with the other workers until the block ends; an error of an exchange ends it."""
    sharing = HostSharing(board, worker=secrets.token_hex(8))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sharing.run())
        try:
            yield sharing
        finally:
            sharing.end()
            task.cancel()
