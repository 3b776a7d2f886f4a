"""A limiter for the fetches from each host, which adapts to how the host copes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

from imgsvc.errors import AssetError
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_sharing import HostSharing
from imgsvc.services.throttling.host_state import SOON, UNITS_PER_FETCH, HostState
from imgsvc.services.throttling.host_visit import HostGivenUp, HostPaused, HostReservation, HostVisit
from imgsvc.services.throttling.reservation import Reservation

MAX_HOSTS = 10_000
"""Hosts whose limits are remembered, so that the next batch need not learn them again. Bounded, because a catalogue of
dead hosts must not fill the memory."""
LONGEST_WAIT = 4.0
"""Seconds after which a lane without room looks again, if many others wait for the same host."""
PATIENCE = 600.0
"""Seconds; see `Availability`."""


class HostLimiter:
    """Limits the fetches from each host: how many at once, how many per second, and none while it is away.

    A lane reserves fetches before it claims assets (`reserve`), and each asset enters the `slot` of its host with one.
    Nothing here waits longer than about a second: a host that is paused, away or slow has no room.
    """

    def __init__(
        self,
        *,
        maximum: int,
        patience: float = PATIENCE,
        max_hosts: int = MAX_HOSTS,
        clock: Callable[[], float] = monotonic,
        weights: Mapping[str, float] | None = None,
        sharing: HostSharing | None = None,
    ) -> None:
        self._new_state = partial(HostState.of_unknown, maximum=maximum, patience=patience, weights=weights or {})
        self._max_hosts = max_hosts
        self._clock = clock
        self._sharing = sharing
        self.hosts: dict[str, HostState] = {}
        """The hosts remembered, the least recently used first."""

    # -- room ---------------------------------------------------------------------------------------------------------

    def reserve(self, host: str, flow: Flow, at_most: int, *, overdue: bool = False) -> list[HostReservation]:
        """Return up to `at_most` fetches that may begin within about a second, in turn between the flows that ask.

        For a host that has been given up, as many are returned as asked for: their `slot` raises `HostGivenUp`. The
        same goes for images that are `overdue`, while the host takes no requests.
        """
        state, now = self._state(host), self._clock()
        state.availability.note_demand(at_most, now)
        given_up = state.availability.is_given_up(now) or (overdue and state.delay(now) > SOON)
        room = self._room(state, now)
        places = min(room, at_most) if given_up else state.turns.take(flow, at_most, room, now)
        without_room = at_most - places if given_up else 0
        units = [state.expected_units] * places + [0] * without_room
        return [HostReservation(flow, state, each) for each in units]

    def wait(self, host: str, flow: Flow) -> float:
        """Return the seconds until `reserve` may return something again for `flow`."""
        state, now = self._state(host), self._clock()
        target = self.hosts.get(state.redirects_to or "", state)
        delay = max(state.delay(now), target.delay(now))
        if self._room(state, now):
            return delay
        crowd = state.turns.before(flow, now) / max(1, state.allowed)  # lanes that come back for nothing are costly
        return max(delay, min(SOON / 4 * max(1.0, crowd), LONGEST_WAIT))

    async def meet(self, hosts: Iterable[str]) -> None:
        """Learn what other workers know of hosts that this one has not used lately."""
        if self._sharing:
            await self._sharing.meet({host: self._state(host) for host in hosts})

    def _room(self, state: HostState, now: float) -> int:
        """Return the room of a host, and of the one that it redirects to."""
        room = state.room(now)
        if target := self.hosts.get(state.redirects_to or ""):
            room = min(room, max(0, target.room(now) - state.booked // UNITS_PER_FETCH))
        return room

    def _state(self, host: str) -> HostState:
        state = self.hosts.get(host)
        if state is None:
            self._forget_idle(more=1)
            state = self.hosts[host] = self._new_state()
        return state

    # -- fetches ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def slot(
        self,
        host: str,
        flow: Flow,
        reservation: HostReservation | None = None,
        *,
        conditional: bool = False,
    ) -> AsyncIterator[HostVisit]:
        """Enclose one fetch from `host`; an `AssetError` adapts the limits, and is replaced if it is the host's.

        Raises:
            HostPaused: the host takes no request now; come back later. No attempt counts.
            HostGivenUp: the host has been away for longer than the patience with it.
        """
        if not (reservation and reservation.is_open):
            await self.meet([host])
        state = self._state(host)
        if not (reservation and reservation.is_open and reservation.is_for(state)):
            reservation = HostReservation(flow, state, state.expected_units)
        if not state.in_use and not state.others:
            state.rate.resume(self._clock() - state.idle_since)
        state.in_use += 1
        try:
            reservation.set_conditional(conditional)
            visit = HostVisit(state, await self._enter(state, reservation), self._clock)
            try:
                yield visit
            except AssetError as error:
                visit.fail(error)
                raise
            except BaseException:
                visit.leave()
                raise
            visit.succeed()
        finally:
            reservation.release()
            state.in_use -= 1
            if not state.in_use:
                state.idle_since = self._clock() + state.delay(self._clock()) + SOON
                self.hosts[host] = self.hosts.pop(host)
                self._forget_idle()

    async def _enter(self, state: HostState, reservation: HostReservation) -> Reservation:
        """Wait for the host's room and rate.

        Raises:
            HostPaused: that takes longer than half as long again as `SOON`.
            HostGivenUp: see `slot`.
        """
        place, flow = None, reservation.flow
        self._check(state)
        try:
            async with asyncio.timeout(SOON * 1.5):
                place = await state.semaphore.acquire(flow, reservation.units)
                if (pause := state.paused_until - self._clock()) > 0:
                    await asyncio.sleep(pause)
                await state.rate.wait(flow, self._clock)
            self._check(state)
        except BaseException as exc:
            if place:
                place.release()
            if isinstance(exc, TimeoutError):
                raise HostPaused(SOON / 2, state.availability.error) from None
            raise
        return place

    def _check(self, state: HostState) -> None:
        """Let only a probe pass while the host is away, and nothing in a long pause or the turn of other workers."""
        now = self._clock()
        is_probe = state.availability.may_probe(now) and state.booked <= UNITS_PER_FETCH
        if not state.share or state.paused_until - now > SOON or (state.availability.is_away and not is_probe):
            error = state.availability.error
            if state.availability.is_given_up(now) and error:
                raise HostGivenUp(error)
            raise HostPaused(max(state.delay(now), SOON / 2), error)

    def note_changes(self, host: str, *, changes: bool) -> None:
        """Note whether `host` sent an image to a conditional fetch; if so, its next ones cost as much as others."""
        if state := self.hosts.get(host):
            state.changes = changes
            state.is_unchanged = not changes

    def note_body(self, host: str, size: int, url: str) -> None:
        """Note the size in bytes of the body that `host` sent for `url`."""
        if state := self.hosts.get(host):
            state.note_body(size)
            state.availability.known_url = url

    def note_redirect(self, host: str, target: str | None) -> None:
        """Note the other host that `host` redirected the last fetch to; None if it redirected to none."""
        if state := self.hosts.get(host):
            state.redirects_to = target

    def body_size(self, host: str) -> int:
        """Return the size to expect of a body from `host`; 0 when it is unknown."""
        return self.hosts[host].body_size if host in self.hosts else 0

    def _forget_idle(self, *, more: int = 0) -> None:
        """Forget the host that has been idle longest if there are too many, with `more` to come."""
        if len(self.hosts) + more > self._max_hosts:
            idle = next((name for name, state in self.hosts.items() if not state.in_use and not state.booked), None)
            if idle is not None:
                del self.hosts[idle]
