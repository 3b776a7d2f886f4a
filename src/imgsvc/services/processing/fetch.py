"""Fetches the bytes of an image within three limits: per host, fetches in flight, and memory for bodies."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.hosts import host_of
from imgsvc.errors import AssetError, BudgetExhausted, NotModified
from imgsvc.services.ports import Fetched, Hops, Origin, Validators
from imgsvc.services.throttling.blame import Says, meaning
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_visit import HostReservation, HostVisit
from imgsvc.services.throttling.reservation import Reservation

MAX_FIRST_RESERVATION = 2**20
"""Bytes; the rest of a larger body is reserved as it arrives."""
CONDITIONAL_RESERVATION = 2**16
"""Bytes for a conditional fetch, which is expected to return no body."""


def first_reservation(share: int, body_size: int, *, conditional: bool) -> int:
    """Return the bytes to reserve first: the fetch's `share` of the memory, so that all allowed fetches fit in it.

    If the host's bodies are larger (`body_size`; 0: unknown), return that size, up to `MAX_FIRST_RESERVATION`: when the
    memory is full, a body that outgrows its reservation is fetched again. With the share alone, 400 images of 639 KiB
    took 500 to 560 requests.
    """
    if conditional:
        return max(1, min(share, CONDITIONAL_RESERVATION))
    return max(1, min(max(share, body_size), MAX_FIRST_RESERVATION))


@dataclass(frozen=True, slots=True)
class Fetching:
    """The origins and the limits on fetching from them, shared by all lanes of a worker process."""

    origin: Origin
    hosts: HostLimiter
    fetches: FairSemaphore
    """Fetches in flight."""
    memory: FairSemaphore
    """Bytes of fetched bodies."""

    async def fetch(
        self,
        url: str,
        flow: Flow,
        previous: PreviousResult | None,
        room: HostReservation | None = None,
    ) -> tuple[Fetched | None, Reservation]:
        """Return the body and the reservation of its memory; no body if the `previous` result is still current.

        While this waits for memory, it holds no slot of the host: the memory may be held for long by images that are
        being compressed, and other fetches can use the slot. `room` is for the first slot.

        Raises:
            FetchError: see `services.ports.Origin`.
            HostPaused, HostGivenUp: see `HostLimiter.slot`.
        """
        host, needed, conditional = host_of(url), 0, previous is not None
        reservation: Reservation | None = None
        while True:
            try:
                async with self.hosts.slot(host, flow, room, conditional=conditional) as visit:
                    with await self.fetches.acquire(flow):
                        visit.send()
                        needed = needed or self._first_size(host, previous)
                        reservation = reservation or self._reserve_now(flow, needed)
                        hops = _PacedHops(self.hosts, host, flow, visit, conditional=conditional)
                        fetched = await self._fetch(url, host, reservation, previous, hops, visit)
            except BaseException as error:
                if reservation is not None:
                    reservation.release()
                if not isinstance(error, BudgetExhausted):
                    raise
                needed = error.size
            else:
                reservation.shrink(len(fetched.body) if fetched else 0)
                return fetched, reservation
            reservation = await self.memory.acquire(flow, needed)

    def _first_size(self, host: str, previous: PreviousResult | None) -> int:
        share = self.memory.single_batch_share // self.fetches.capacity
        return first_reservation(share, self.hosts.body_size(host), conditional=previous is not None)

    def _reserve_now(self, flow: Flow, size: int) -> Reservation:
        reservation = self.memory.try_acquire(flow, size)
        if reservation is None:
            raise BudgetExhausted(size)
        return reservation

    async def _fetch(
        self,
        url: str,
        host: str,
        reservation: Reservation,
        previous: PreviousResult | None,
        hops: Hops,
        visit: HostVisit,
    ) -> Fetched | None:
        validators = None
        if previous:
            validators = Validators(previous.etag, previous.last_modified, previous.final_url_hash or "")
        try:
            fetched = await self.origin.fetch(url, reservation, validators, hops)
        except NotModified:
            self.hosts.note_changes(host, changes=False)
            return None
        except BudgetExhausted as more:
            self.hosts.note_changes(host, changes=previous is not None)
            self.hosts.note_body(host, more.size, url)
            raise
        except AssetError as error:
            if known := visit.url_to_compare(error):
                await self._compare(known, reservation, hops, visit)
            raise
        if previous:
            self.hosts.note_changes(host, changes=True)
        self.hosts.note_body(host, len(fetched.body), url)
        return fetched

    async def _compare(self, url: str, reservation: Reservation, hops: Hops, visit: HostVisit) -> None:
        """Ask a host that seems to be away for an image that it has sent: the other images may be to blame."""
        try:
            await self.origin.fetch(url, reservation, None, hops)
        except AssetError as error:
            answers = meaning(error, headers_arrived=False) is Says.ANSWERED
        except BudgetExhausted:  # its body is larger than the memory reserved
            answers = True
        else:
            answers = True
        if answers:
            visit.note_known()


class _PacedHops:
    """The port `Hops`: redirects to another host wait for a slot there, after that of the first host is left."""

    def __init__(self, hosts: HostLimiter, host: str, flow: Flow, visit: HostVisit, *, conditional: bool) -> None:
        self._hosts = hosts
        self._host = host
        self._flow = flow
        self._visit = visit
        self._conditional = conditional

    @asynccontextmanager
    async def request(self, url: str) -> AsyncIterator[Callable[[], None]]:
        target = host_of(url)
        if target == self._host:
            self._visit.send()
            yield self._visit.answer
            return
        self._visit.succeed()
        self._hosts.note_redirect(self._host, target)
        async with self._hosts.slot(target, self._flow, conditional=self._conditional) as visit:
            yield visit.answer
