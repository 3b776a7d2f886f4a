"""The busiest hosts of a worker or of all workers, as the metrics show them."""

from collections.abc import Iterable, Mapping
from heapq import nlargest
from typing import NamedTuple

from imgsvc.services.throttling.host_state import HostState

MAX_BUSY_HOSTS = 20
WANTED_FOR = 30.0
"""Seconds for which a host is shown after a lane has asked for it; lanes ask every 12 s for one that is away."""


class BusyHost(NamedTuple):
    """A host at one moment: its limit, its fetches, and the seconds of its pause and of its outage."""

    name: str
    limit: float
    """Fetches that may be in flight."""
    in_flight: float
    """Fetches in flight; a conditional one is a quarter, as it is for the limit."""
    wanted: float
    """Fetches that a lane has last asked for."""
    paused_for: float
    """Seconds until a pause ends that the host asked for."""
    away_for: float
    """Seconds since its outage began."""

    @property
    def demand(self) -> float:
        return self.in_flight + self.wanted

    def joined(self, other: "BusyHost") -> "BusyHost":
        """Return the same host for two workers together: the fetches are added, the limits are the larger ones."""
        return BusyHost(
            self.name,
            max(self.limit, other.limit),
            self.in_flight + other.in_flight,
            self.wanted + other.wanted,
            max(self.paused_for, other.paused_for),
            max(self.away_for, other.away_for),
        )


def busiest(hosts: Mapping[str, HostState], now: float) -> list[BusyHost]:
    """Return the hosts with the most fetches in flight or wanted; those that are idle are left out."""
    return _busiest(_observe(name, state, now) for name, state in hosts.items() if _is_in_demand(state, now))


def busiest_of_all(workers: Iterable[Iterable[BusyHost]]) -> list[BusyHost]:
    """Return the busiest hosts of several workers."""
    joined: dict[str, BusyHost] = {}
    for hosts in workers:
        for host in hosts:
            known = joined.get(host.name)
            joined[host.name] = known.joined(host) if known else host
    return _busiest(joined.values())


def _busiest(hosts: Iterable[BusyHost]) -> list[BusyHost]:
    return nlargest(MAX_BUSY_HOSTS, hosts, key=lambda host: host.demand)


def _is_in_demand(state: HostState, now: float) -> bool:
    availability = state.availability
    lately = max(availability.asked_at, availability.probe_at)  # lanes do not ask for the target of a redirect
    return now - lately <= WANTED_FOR or state.paused_until > now or state.in_use > 0


def _observe(name: str, state: HostState, now: float) -> BusyHost:
    away_since = state.availability.away_since
    return BusyHost(
        name,
        limit=int(state.limit.value),
        in_flight=state.in_flight,
        wanted=state.availability.asked_for,
        paused_for=max(0.0, state.paused_until - now),
        away_for=0.0 if away_since is None else now - away_since,
    )
