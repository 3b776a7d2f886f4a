"""A host board in memory, with the rules of the one in Redis, for simulations in virtual time."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgsvc.errors import QueueUnavailable
from imgsvc.services.throttling.host_estimate import SAME_TIME, HostEstimate, HostUse
from imgsvc.services.throttling.shared_host import Entry, Report
from support.virtual_time import virtual_monotonic


@dataclass
class _Stored:
    version: int = 0
    estimate: HostEstimate | None = None
    uses: dict[str, HostUse] = field(default_factory=dict)


@dataclass
class MemoryBoard:
    """Takes `latency` seconds for an exchange; counts them."""

    latency: float = 0.001
    is_away: bool = False
    ahead: float = 12_345.0
    """Seconds by which the clock of the board is ahead."""
    exchanges: int = 0
    hosts: dict[str, _Stored] = field(default_factory=dict)

    async def exchange(self, worker: str, reports: Mapping[str, Report]) -> tuple[float, dict[str, Entry]]:
        self.exchanges += 1
        await asyncio.sleep(self.latency / 2)
        if self.is_away:
            raise QueueUnavailable("away")
        entries = {host: self._exchange(worker, host, report) for host, report in reports.items()}
        time = virtual_monotonic() + self.ahead
        await asyncio.sleep(self.latency / 2)
        return time, entries

    def _exchange(self, worker: str, host: str, report: Report) -> Entry:
        stored = self.hosts.setdefault(host, _Stored())
        if report.estimate and (
            not stored.estimate
            or report.version == stored.version
            or report.estimate.last_refusal > stored.estimate.last_refusal + SAME_TIME
        ):
            stored.estimate, stored.version = report.estimate, stored.version + 1
        if report.use:
            stored.uses[worker] = report.use
        else:
            stored.uses.pop(worker, None)
        return Entry(stored.version, stored.estimate, dict(stored.uses))
